# SPDX-License-Identifier: Apache-2.0
"""Which volume is which image: finding, listing, publishing, replacing and taking away."""

import collections
import logging
import threading
import time
import uuid
from collections.abc import Iterator, Mapping

from storefs import exceptions
from storefs.drivers.base import ImageInfo
from storefs.drivers.cinder.api import Api
from storefs.drivers.cinder.attachment import Notes
from storefs.drivers.cinder.journal import remove
from storefs.drivers.cinder.location import NAME_PREFIX, CinderLocation
from storefs.drivers.cinder.sharing import Shares
from storefs.drivers.cinder.volume import (
    IMAGE_ID,
    OWNER,
    PUBLISHED,
    UPLOAD,
    UPLOAD_NAME,
    Volume,
    newest,
)
from storefs.drivers.name_locks import NameLocks

LOG = logging.getLogger(__name__)

#: The longest name of a volume, characters.
_LONGEST_NAME = 255

#: How many names' volumes are remembered, for their URIs alone.
_REMEMBERED = 10_000


class Known:
    """Name -> id of the volume seen last under it; good for a URI, not for a decision."""

    def __init__(self) -> None:
        self._ids: collections.OrderedDict[str, str] = collections.OrderedDict()
        self._lock = threading.Lock()

    def learn(self, volume: Volume) -> None:
        with self._lock:
            self._ids[volume.image_id] = volume.id
            self._ids.move_to_end(volume.image_id)
            while len(self._ids) > _REMEMBERED:
                self._ids.popitem(last=False)

    def of(self, image_id: str) -> str:
        """Empty if there was none."""
        return self._ids.get(image_id, "")

    def forget(self, image_id: str) -> None:
        with self._lock:
            self._ids.pop(image_id, None)


class Catalog:
    """The images of one account."""

    def __init__(
        self,
        api: Api,
        notes: Notes,
        shares: Shares,
        known: Known,
        names: NameLocks[str],
        owner: str = "",
    ) -> None:
        self._api = api
        self._notes = notes
        self._shares = shares
        self._known = known
        self._names = names
        self._owner = owner

    def find(self, location: CinderLocation) -> Volume:
        """The volume of the image, whose id *location* learns; `NotFound`."""
        if location.image_id:
            volume = newest(self._published(location.image_id))
        else:
            volume = self._by_id(location)
        if volume is None:
            raise exceptions.NotFound(image=location.image_id or location.volume_id)
        location.volume_id = volume.id
        self._known.learn(volume)
        return volume

    def exists(self, image_id: str) -> bool:
        return bool(self._published(image_id))

    def images(self) -> Iterator[ImageInfo]:
        """Every image once; Cinder gives the volumes that were made last first."""
        seen = set()
        for volume in self._api.volumes():
            if volume.published and volume.image_id not in seen:
                seen.add(volume.image_id)
                self._known.learn(volume)
                yield volume.info

    def publish(
        self,
        volume_id: str,
        location: CinderLocation,
        metadata: Mapping[str, str],
        *,
        replace: bool,
    ) -> None:
        """Make the volume the image of *location*, by one request; `Duplicate`.

        What it replaces is an image until then, and not afterwards: of two, the one
        published last counts.
        """
        image_id = location.image_id
        with self._names.hold(image_id):
            old = newest(self._published(image_id))
            if old is not None and not replace:
                raise exceptions.Duplicate(image=image_id)
            owner = {OWNER: self._owner or self._api.project_id}
            self._name(volume_id, image_id, {**owner, **metadata}, old)
            if old is None and not replace:
                self._yield_to_earlier(volume_id, image_id)
            location.volume_id = volume_id
            self._retire(old, volume_id)
        self._known.learn(self._api.volume(volume_id))

    def rename(self, source: CinderLocation, target: CinderLocation) -> None:
        """One request; what *target* was is taken away afterwards. `NotFound`."""
        volume = self.find(source)
        if source.image_id == target.image_id:
            return
        with self._names.hold(target.image_id):
            old = newest(self._published(target.image_id))
            self._name(volume.id, target.image_id, volume.kept, old)
            target.volume_id = volume.id
            self._retire(old, volume.id)
        self._known.forget(volume.image_id)

    def take_away(self, location: CinderLocation) -> None:
        """Delete the image: at once, or when the last of our own readers is gone.

        `NotFound`, `InUseByStore`, `HasSnapshot`.
        """
        volume = self.find(location)
        with self._names.hold(volume.image_id):
            if not self._shares.at_last(volume.id, lambda: self._remove_later(volume)):
                self._delete(volume)
            else:
                self._withdraw(volume)
        self._known.forget(volume.image_id)

    def _published(self, image_id: str) -> list[Volume]:
        """The volumes of the image; Glance's metadata tell, or else the name."""
        told = [v for v in self._api.volumes(metadata={IMAGE_ID: image_id}) if v.published]
        if told:
            return told
        named = self._api.volumes(name=_volume_name(image_id))
        return [v for v in named if v.published and v.image_id == image_id]

    def _by_id(self, location: CinderLocation) -> Volume | None:
        volume = self._api.volume(location.volume_id)
        return volume if volume.readable else None

    def _name(
        self, volume_id: str, image_id: str, metadata: Mapping[str, str], old: Volume | None
    ) -> None:
        """Give the volume the image's name, as the newest of that name."""
        if old is not None:
            self._notes.begun(_note(old), volume=old.id, successor=volume_id)
        rank = max(time.time_ns(), old.rank[0] + 1 if old is not None else 0)
        told = {**metadata, IMAGE_ID: image_id, PUBLISHED: str(rank)}
        self._api.rename(volume_id, _volume_name(image_id), told)

    def _yield_to_earlier(self, volume_id: str, image_id: str) -> None:
        """Two hosts may publish one name at once; each looks again, and the later one loses."""
        ours = self._api.volume(volume_id)
        if any(v.rank < ours.rank for v in self._published(image_id)):
            self._withdraw(ours)
            raise exceptions.Duplicate(image=image_id)

    def _retire(self, old: Volume | None, successor: str) -> None:
        """Take away what was replaced; the new image is published whatever happens here."""
        if old is None or old.id == successor:
            return
        try:
            self._withdraw(old)
            if not self._shares.at_last(old.id, lambda: self._remove_later(old)):
                remove(self._api, old.id, 0)
                self._notes.ended(_note(old))
        except (exceptions.GlanceStoreException, exceptions.BackendException) as exc:
            LOG.warning(
                "%s was replaced, and its old volume %s stays until storefs starts again: %s",
                old.image_id,
                old.id,
                exc,
            )

    def _delete(self, volume: Volume) -> None:
        try:
            self._api.delete(volume.id)
        except exceptions.InUseByStore as exc:
            # one text of Cinder's for every reason there is
            if self._api.volume(volume.id).status == "available":
                raise exceptions.HasSnapshot(f"{volume.image_id}: {exc.msg}") from exc
            raise
        self._api.await_deleted(volume.id)

    def _withdraw(self, volume: Volume) -> None:
        """It is no image any more, and the journal says that it is to go."""
        self._notes.begun(_note(volume), volume=volume.id, successor="")
        kept = {name: value for name, value in volume.kept.items() if name != IMAGE_ID}
        name = f"{UPLOAD_NAME}{uuid.uuid4()}"
        self._api.rename(volume.id, name, {**kept, UPLOAD: volume.image_id})

    def _remove_later(self, volume: Volume) -> None:
        """Its last reader is gone; nobody waits for this, nor hears of an error."""
        try:
            remove(self._api, volume.id, 0)
            self._notes.ended(_note(volume))
        except (exceptions.GlanceStoreException, exceptions.BackendException) as exc:
            LOG.warning(
                "%s was deleted, and its volume %s stays until storefs starts again: %s",
                volume.image_id,
                volume.id,
                exc,
            )


def _note(volume: Volume) -> str:
    return f"old volume {volume.id}"


def _volume_name(image_id: str) -> str:
    return f"{NAME_PREFIX}{image_id}"[:_LONGEST_NAME]
