# SPDX-License-Identifier: Apache-2.0
"""Writing an image: a volume under a name of its own until it is whole."""

import contextlib
import logging
import threading
import uuid
from collections.abc import Iterator, Mapping
from typing import Protocol

from storefs import exceptions
from storefs.drivers.base import Buffer, Options, SupportsReread, Writer
from storefs.drivers.cinder.attachment import Attacher, Attachment
from storefs.drivers.cinder.device import Device
from storefs.drivers.cinder.journal import remove
from storefs.drivers.cinder.location import CinderLocation
from storefs.drivers.cinder.volume import (
    UPLOAD,
    UPLOAD_NAME,
    GiB,
    gib_of,
    metadata_of,
)
from storefs.drivers.open_upload import OpenUpload

LOG = logging.getLogger(__name__)

#: Two objects of Cinder's RBD images, bytes: what the rbd driver was measured best with.
PART_SIZE = 8 * 1024 * 1024

#: A volume of unknown size is doubled, but not by more GiB than this at once.
_LONGEST_STEP = 64

#: How long an upload that is given up waits for its last attachment to end, seconds.
_GIVING_UP = 10.0


class Publisher(Protocol):
    """What makes a volume an image."""

    def publish(
        self,
        volume_id: str,
        location: CinderLocation,
        metadata: Mapping[str, str],
        *,
        replace: bool,
    ) -> None: ...


class CinderWriter(Writer, SupportsReread):
    """One volume; nothing is asked of Cinder before the first part. *size* is a hint."""

    max_concurrency = 4

    def __init__(
        self,
        attacher: Attacher,
        publisher: Publisher,
        options: Options,
        location: CinderLocation,
        size: int | None,
        *,
        replace: bool,
    ) -> None:
        self._attacher = attacher
        self._api = attacher.api
        self._publisher = publisher
        self._kind: str | None = options.cinder_volume_type or None
        self._in_place: bool = options.cinder_do_extend_attached
        self._patience: float = options.cinder_device_timeout
        self._location = location
        self._expected = gib_of(size or 0)
        self._replace = replace
        self._name = f"{UPLOAD_NAME}{uuid.uuid4()}"
        self._note = f"volume {self._name}"
        self._volume_id = ""
        self._gib = 0
        self._attachment: Attachment | None = None
        self._properties: dict[str, str] = {}
        self._growing = threading.Lock()
        self._begun = False
        self._open = OpenUpload(location.image_id)

    def part_size(self, offset: int) -> int:
        return PART_SIZE

    def pwrite(self, data: memoryview, offset: int) -> None:
        self.pwritev([data], offset)

    def pwritev(self, pieces: list[memoryview], offset: int) -> None:
        """They are not joined."""
        with self._device(offset + sum(map(len, pieces))) as device:
            device.pwritev(pieces, offset)

    def skip(self, length: int, offset: int) -> None:
        with self._device(offset + length) as device:
            if not device.fresh:
                device.pwrite(memoryview(bytes(length)), offset)

    def reread(self, length: int, offset: int) -> Buffer:
        with self._device(offset + length) as device:
            return device.pread(length, offset)

    def stage(self, properties: Mapping[str, str]) -> bool:
        self._properties = metadata_of(properties)
        return True

    def commit(self, size: int) -> None:
        with self._growing:
            self._open.check_open()
            self._reach(size)
            self._detach(flush=True)
            self._api.await_state(self._volume_id, {"available"})
            self._api.make_read_only(self._volume_id)
            self._publisher.publish(
                self._volume_id,
                self._location,
                {**self._properties, "image_size": str(size)},
                replace=self._replace,
            )
            self._open.end()
            self._volume_id = ""
            self._attacher.notes.ended(self._note)

    def abort(self) -> None:
        """Waits for the parts under way: what they write goes with the volume."""
        self._open.end()
        with self._growing:
            self._await_parts()
            self._drop()

    @contextlib.contextmanager
    def _device(self, end: int) -> Iterator[Device]:
        """The attached volume, *end* bytes long at least."""
        with contextlib.ExitStack() as under_way:
            with self._growing:
                self._open.check_open()
                self._reach(end)
                device = self._attached()
                under_way.enter_context(self._open.part())
            yield device

    def _await_parts(self) -> None:
        if not self._open.wait_idle(self._patience):
            raise exceptions.TimeoutError(timeout=self._patience)

    def _reach(self, end: int) -> None:
        """Have a volume of *end* bytes at least."""
        needed = gib_of(end)
        if not self._volume_id:
            self._make(max(needed, self._expected))
        elif needed > self._gib:
            self._grow(max(needed, self._gib + min(self._gib, _LONGEST_STEP)), needed)

    def _make(self, gib: int) -> None:
        metadata = {UPLOAD: self._location.image_id}
        self._begun = True
        self._attacher.notes.begun(self._note, made_as=self._name)
        try:
            self._volume_id = self._api.make(gib, self._name, metadata, self._kind)
        except (exceptions.RemoteServiceUnavailable, exceptions.TimeoutError):
            raise  # nobody knows whether it is made: the note stays
        except BaseException:
            self._attacher.notes.ended(self._note)
            raise
        self._attacher.notes.begun(self._note, made_as=self._name, volume=self._volume_id)
        self._await_made()
        self._gib = gib

    def _await_made(self) -> None:
        try:
            self._api.await_state(self._volume_id, {"available"})
        except exceptions.BackendException as exc:
            raise exceptions.StorageFull(
                f"Cinder could not make a volume of type {self._kind or '(default)'}: no backend "
                f"has room, or it failed ({exc})"
            ) from exc

    def _grow(self, wanted: int, needed: int) -> None:
        try:
            self._extend(wanted)
        except exceptions.StorageFull:
            if needed == wanted:
                raise
            self._extend(needed)

    def _extend(self, gib: int) -> None:
        """In place where that is allowed; else detached, and attached again at the next part."""
        attachment = self._attachment
        self._await_parts()
        if not self._in_place:
            self._detach(flush=True)
            attachment = None
            self._api.await_state(self._volume_id, {"available"})
        state = "in-use" if attachment else "available"
        self._api.extend(self._volume_id, gib)
        try:
            self._api.await_state(self._volume_id, {state}, gib)
        except exceptions.BackendException as exc:
            raise exceptions.StorageFull(
                f"Volume {self._volume_id} could not be extended to {gib} GiB; where a backend "
                f"cannot do that while it is attached, unset cinder_do_extend_attached ({exc})"
            ) from exc
        if attachment is not None:
            attachment.extended()
        self._gib = gib

    def _attached(self) -> Device:
        if self._attachment is None:
            self._attachment = self._attacher.attach(self._volume_id, "rw")
        return self._attachment.device

    def _detach(self, *, flush: bool) -> None:
        if self._attachment is None:
            return
        if flush:
            self._attachment.device.flush()
        attachment, self._attachment = self._attachment, None
        try:
            attachment.detach()
        except BaseException:
            self._attachment = attachment
            raise

    def _drop(self) -> None:
        """Leave nothing; what Cinder cannot be told now it is told at the next start."""
        if not self._begun:
            return
        try:
            self._detach(flush=False)
            if self._volume_id:
                self._delete()
        except (exceptions.GlanceStoreException, exceptions.BackendException) as exc:
            LOG.warning(
                "%s: its unfinished volume stays until storefs starts again: %s",
                self._location.image_id,
                exc,
            )

    def _delete(self) -> None:
        remove(self._api, self._volume_id, _GIVING_UP)
        self._volume_id = ""
        self._attacher.notes.ended(self._note)


def longest_image() -> int:
    """What a volume can hold, bytes: Cinder counts GiB in 31 bits."""
    return (2**31 - 1) * GiB
