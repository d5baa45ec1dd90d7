# SPDX-License-Identifier: Apache-2.0
"""The names of a store's images: published, replaced, deleted, and whole after every crash.

RBD renames an image when the new name is free, and knows no exchange of two. What takes
more than one step is noted before the first one, with what the next start has to do:

- ``unfinished``: an image nobody has to see; it is removed, if its id is ``id`` or that is empty.
- ``old`` and ``target``: the image called *old* was *target* until it was to be replaced.
  If nothing has that name it gets it back, else it is removed.
"""

import contextlib
import logging
import pathlib
import threading
import uuid
from collections.abc import Callable
from typing import Any

from storefs import exceptions
from storefs.drivers.journal import Journal, Record
from storefs.drivers.name_locks import NameLocks
from storefs.drivers.rbd.cluster import Cluster
from storefs.drivers.rbd.header import find_id
from storefs.drivers.rbd.io import OpenImage
from storefs.drivers.rbd.removal import Removal

LOG = logging.getLogger(__name__)

#: How names begin that are not images yet, or no more; a listing leaves them out.
TEMPORARY = ".storefs-"

#: How often what could not be removed is tried again, seconds.
_AGAIN = 5.0

#: A client that was killed counts as one that has its images open for 30 seconds
#: (osd_client_watch_timeout); so many times `_AGAIN` its images cannot be removed.
_BUSY = 24

#: How often a name is taken by others before a replacement gives up.
_RIVALS = 5


def temporary(use: str, image_id: str) -> str:
    """A name of our own that tells an operator what it is about."""
    return f"{TEMPORARY}{use}-{uuid.uuid4().hex[:12]}-{image_id}"


class RbdTarget:
    """What writers, renames and deletions of one store share."""

    def __init__(self, cluster: Cluster, pool: str, directory: pathlib.Path) -> None:
        self.cluster = cluster
        place = f"{cluster.access.conf}\n{cluster.access.user}\n{pool}"
        self.journal = Journal(directory, "rbd-images", place, self._undo_patiently)
        self._closed = threading.Event()
        #: pool and name: between two renames nobody in this process misses one
        self.changing = NameLocks[tuple[str, str]]()

    def sweep_aside(self) -> None:
        """Undo what a killed storefs left; connects only if there is something."""
        self.cluster.asides.start(self._sweep)

    def find(self, pool: str, name: str) -> str | None:
        """The id of the image *name*, or None."""
        return self.cluster.call(
            pool, f"Image {name}", lambda ioctx: find_id(self.cluster.sdk, ioctx, name)
        )

    def rename(self, pool: str, source: str, target: str, *, replace: bool) -> None:
        """`Duplicate` if *target* is taken, unless *replace*; `NotFound` without *source*."""
        with self.changing.hold((pool, target)):
            for _ in range(_RIVALS):
                try:
                    return self._rename(pool, source, target)
                except exceptions.Duplicate:
                    if not replace:
                        raise exceptions.Duplicate(image=target) from None
                if self._exchange(pool, source, target):
                    return None
            raise exceptions.InUseByStore(f"Others replace image {target} again and again")

    def delete(self, pool: str, name: str) -> None:
        """Out of sight at once; `NotFound`, `HasSnapshot`, `InUseByStore`."""
        with self.changing.hold((pool, name)):
            image_id = self.find(pool, name)
            if image_id is None:
                raise exceptions.NotFound(image=name)
            what = f"Image {name}"
            if not self._removal(pool, what, lambda removal: removal.prepare(name)):
                self._removal(pool, what, lambda removal: removal.to_trash(name))
                return
            gone = temporary("deleted", name)
            self.begun(pool, gone, image_id)
            try:
                self._rename(pool, name, gone)
            except exceptions.StorageFull:
                self.journal.ended(gone)
                self._delete_in_place(pool, name, image_id)
                return
        self.discard(pool, gone, image_id)

    def _delete_in_place(self, pool: str, name: str, image_id: str) -> None:
        """A full pool takes no new name, and often keeps the image: `StorageFull`.

        librbd then says that there is none (it cannot note it in the trash first), and so
        does `rbd rm`.
        """
        self.begun(pool, name, image_id)
        try:
            self._removal(pool, f"Image {name}", lambda removal: removal.remove(name))
            if self.find(pool, name) == image_id:
                raise exceptions.StorageFull(
                    f"Pool {pool} is full and does not let go of image {name}: raise its quota or "
                    "add OSDs, and delete it again"
                )
        finally:
            self.journal.ended(name)

    def begun(self, pool: str, name: str, image_id: str = "") -> None:
        """Note that *name* is nothing anybody should see, if it is *image_id* still."""
        self.journal.begun(name, pool=pool, unfinished=name, id=image_id)

    def discard(self, pool: str, name: str, image_id: str = "") -> None:
        """Remove what was noted as *name*; what cannot be removed now is tried again."""
        record = {"pool": pool, "unfinished": name, "id": image_id}
        try:
            self._undo(record)
        except (exceptions.GlanceStoreException, exceptions.BackendException) as exc:
            LOG.info("%s cannot be removed yet, and is tried again: %s", name, exc)
            self.cluster.asides.start(lambda: self._undo_later(name, record))
        else:
            self.journal.ended(name)

    def give_up(self, pool: str, name: str, image: OpenImage) -> None:
        """Close *image* and discard it: now, or when librbd lets go of it."""

        def close() -> None:
            # Begun while the OSD is away, closing does not end when that is back.
            while not self._answers(pool, name):
                if self._closed.wait(_AGAIN):
                    return
            with contextlib.suppress(exceptions.GlanceStoreException, exceptions.BackendException):
                image.close()
            self.discard(pool, name)

        try:
            self.cluster.asides.run(close, self.cluster.patience, f"Image {name}")
        except exceptions.TimeoutError as exc:
            LOG.info("%s is removed when Ceph answers again: %s", name, exc)

    def close(self) -> None:
        """Stop trying; what is not done stays noted for the next start."""
        self._closed.set()
        self.cluster.close()
        self.journal.close()

    def _answers(self, pool: str, name: str) -> bool:
        try:
            self.find(pool, name)
        except exceptions.TimeoutError:
            return False
        return True

    def _rename(self, pool: str, source: str, target: str) -> None:
        """One step; if its answer is lost, what the names say counts."""
        image_id = self.find(pool, source)
        if image_id is None:
            raise exceptions.NotFound(image=source)
        rbd = self.cluster.sdk.rbd.RBD()
        try:
            self.cluster.call(
                pool, f"Image {source}", lambda ioctx: rbd.rename(ioctx, source, target)
            )
        except exceptions.TimeoutError:
            if self.find(pool, target) != image_id or self.find(pool, source) is not None:
                raise

    def _exchange(self, pool: str, source: str, target: str) -> bool:
        """Give *target*, taken, to *source*; False if it was taken again meanwhile.

        A pool that becomes full between the two steps takes no name any more: the old
        image gets its own back when there is room, which giving up *source* makes.
        """
        old = temporary("replaced", target)
        self.journal.begun(old, pool=pool, old=old, target=target)
        try:
            self._rename(pool, target, old)
        except exceptions.NotFound:
            self.journal.ended(old)
            return False
        try:
            self._rename(pool, source, target)
        except exceptions.Duplicate:
            self.discard(pool, old)
            return False
        except BaseException:
            self._give_back(pool, old, target)
            raise
        self.discard(pool, old)
        return True

    def _give_back(self, pool: str, old: str, name: str) -> None:
        record = {"pool": pool, "old": old, "target": name}
        try:
            self._undo(record)
        except (exceptions.GlanceStoreException, exceptions.BackendException) as exc:
            LOG.warning("Image %s is called %s until Ceph answers: %s", name, old, exc)
            self.cluster.asides.start(lambda: self._undo_later(old, record))
        else:
            self.journal.ended(old)

    def _undo(self, record: Record) -> None:
        """As the record says; right for what is done already."""
        pool = record["pool"]
        name = record.get("unfinished") or record["old"]
        found = self.find(pool, name)
        if found is None:
            return
        if "old" in record and self.find(pool, record["target"]) is None:
            self._rename(pool, name, record["target"])
        elif found == (record.get("id") or found):
            self._removal(pool, f"Image {name}", lambda removal: removal.remove(name))

    def _undo_patiently(self, record: Record) -> None:
        """The same for what a killed process left: its images are busy for a while."""
        for _ in range(_BUSY):
            try:
                return self._undo(record)
            except exceptions.InUseByStore:
                if self._closed.wait(_AGAIN):
                    raise
        return self._undo(record)

    def _undo_later(self, name: str, record: Record) -> None:
        while not self._closed.wait(_AGAIN):
            with contextlib.suppress(exceptions.GlanceStoreException, exceptions.BackendException):
                self._undo(record)
                self.journal.ended(name)
                return

    def _removal(self, pool: str, what: str, work: Callable[[Removal], Any]) -> Any:
        sdk = self.cluster.sdk
        return self.cluster.call_aside(pool, what, lambda ioctx: work(Removal(sdk, ioctx)))

    def _sweep(self) -> None:
        try:
            self.journal.sweep()
        except OSError as exc:
            LOG.info("What an earlier storefs left could not be read: %s", exc)
