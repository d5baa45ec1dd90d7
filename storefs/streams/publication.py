# SPDX-License-Identifier: Apache-2.0
"""An image between the first byte written and its publication.

::

    streaming --publish--> publishing --> published
        |  \\--hold--> held --publish--> publishing --> published
        |  \\--stop, reread: its writer went back--> failed
        \\--any error, abort--> failed

Nothing is visible before `publish` returns. A held one (rsync's temporary
name) has everything stored and waits for rename(2) to say that it is meant.
"""

import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import trio

from storefs import exceptions
from storefs.driver import Store
from storefs.drivers.base import Buffer, ImageInfo, SupportsReread
from storefs.location import StoreLocation
from storefs.streams.engine import Engine
from storefs.streams.write_stream import WriteStream
from storefs.upload import Upload, UploadResult

log = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: What a stream keeps in memory of what it has passed on, bytes: a writer that goes
#: back within so little is let into the spool, whatever the store is; within more where
#: the store gives it back. It is the header of a small file.
RETAINED = 4 * 1024 * 1024

STREAMING, HELD, PUBLISHED, FAILED = "streaming", "held", "published", "failed"
PUBLISHING = "publishing"


@dataclasses.dataclass
class _Begun:
    """What there is once the driver was asked for a writer."""

    upload: Upload
    stream: WriteStream


class Publication:
    """One image on its way into *store* as *image_id*.

    *mtime_ns*, when set before publication, becomes the image's. *declared* is a
    size announced by ftruncate: what is missing at the end is zeros. A
    *temporary* one has a name of its own until it is renamed to *image_id*.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        image_id: str,
        *,
        replace: bool,
        temporary: bool = False,
    ) -> None:
        self._engine = engine
        self._threads = engine.threads(store)
        self._replace = replace
        self._begun: _Begun | None = None
        self._lock = trio.Lock()
        self._error: Exception | None = None
        self.store = store
        self.image_id = image_id
        self.temporary = temporary
        self.location: StoreLocation = store.locate(image_id)
        self.state = STREAMING
        self.declared: int | None = None
        self.mtime_ns: int | None = None
        #: called with what is about to be published, once all of it is stored
        self.before_commit: Callable[[UploadResult], Awaitable[None]] | None = None
        #: every piece so far, as long as that is little: see `RETAINED`
        self.retained: list[tuple[int, Buffer]] | None = []
        self.result: UploadResult | None = None

    @property
    def _names(self) -> tuple[str | None, str]:
        return self.store.backend_group, self.image_id

    @property
    def position(self) -> int:
        """How many bytes were written so far."""
        return self._begun.stream.position if self._begun else 0

    @property
    def size(self) -> int:
        """What stat shows while it is on its way."""
        return max(self.position, self.declared or 0)

    @property
    def finished(self) -> bool:
        return self.state in (PUBLISHED, FAILED)

    @property
    def returnable(self) -> bool:
        """Can what was written be had back?"""
        if self.retained is not None:
            return True
        return self._begun is not None and isinstance(self._begun.upload.writer, SupportsReread)

    async def write(self, data: Buffer, offset: int) -> None:
        """Take *data* at *offset*; a gap before it is zeros.

        `UnsupportedWrite` if that goes back, which ends the upload unless it is `returnable`.
        """
        async with self._lock:
            self.check()
            if self.returnable and (offset < self.position or self.state == HELD):
                raise exceptions.UnsupportedWrite(image=self.image_id)  # but it can go on
            if self.state == HELD:
                raise exceptions.UnsupportedWrite(image=self.image_id)
            await self._guarded(self._write, data, offset)
            self._retain(data, offset)

    def truncate(self, size: int) -> None:
        """Announce the size; it cannot become less than what was written."""
        self.check()
        if size < self.position or (size > self.position and self.state != STREAMING):
            raise exceptions.UnsupportedWrite(image=self.image_id)
        self.declared = size

    async def publish(self) -> ImageInfo:
        """Publish what was written, durably; what the store then knows of it."""
        async with self._lock:
            self.check()
            return await self._guarded(self._publish)

    async def hold(self) -> None:
        """Store everything and leave the publication to a later `publish`."""
        async with self._lock:
            self.check()
            if self.state == STREAMING:
                await self._guarded(self._drain)
                self.state = HELD

    async def stop(self) -> None:
        """Store all that was written, to be had back with `reread`; nothing follows but the end."""
        async with self._lock:
            self.check()
            begun = await self._guarded(self._begin)
            self.state = STREAMING  # no rename is waited for any more
            if not begun.stream.drained:
                await self._guarded(begun.stream.drain)

    async def reread(self, length: int, offset: int) -> Buffer:
        """*length* of the bytes that were written, after `stop`."""
        async with self._lock:
            self.check()
            writer = (await self._begin()).upload.writer
            assert isinstance(writer, SupportsReread)
            return await self._guarded(self._threads.run, writer.reread, length, offset)

    async def fail(self, error: Exception) -> None:
        """Leave no trace; those who still write are told *error*."""
        async with self._lock:
            await self._fail(error)

    async def abort(self, reason: str) -> None:
        """Leave no trace; those who still write are told *reason*."""
        async with self._lock:
            await self._fail(exceptions.NotFound(f"Image {self.image_id}: {reason}"))

    async def _guarded(self, step: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """A step whose failure ends the upload: the error is kept for every later call."""
        try:
            return await step(*args)
        except Exception as exc:
            await self._fail(exc)
            raise

    async def _write(self, data: Buffer, offset: int) -> None:
        if offset < self.position:
            raise exceptions.UnsupportedWrite(image=self.image_id)
        stream = (await self._begin()).stream
        await stream.skip(offset - stream.position)
        await stream.write(data)

    def _retain(self, data: Buffer, offset: int) -> None:
        if self.retained is not None:
            self.retained.append((offset, data))
            if self.position > RETAINED:
                self.retained = None

    async def _begin(self) -> _Begun:
        if self._begun is None:
            upload = await self._threads.run(self._create)
            engine = self._engine
            stream = WriteStream(
                upload, self._threads, engine.hashing, engine.budget, engine.nursery
            )
            self._begun = _Begun(upload, stream)
        return self._begun

    def _create(self) -> Upload:
        algorithm = self._engine.settings.hashing_algorithm
        upload = self.store.begin(self.location, self.declared, algorithm, replace=self._replace)
        upload.size = None  # ftruncate was a hint: who writes on may write more
        return upload

    async def _drain(self) -> Upload:
        begun = await self._begin()
        if not begun.stream.drained:
            await begun.stream.skip((self.declared or 0) - begun.stream.position)
            await begun.stream.drain()
        return begun.upload

    async def _publish(self) -> ImageInfo:
        upload = await self._drain()
        if self.before_commit is not None:
            await self.before_commit(upload.result())
        self.state = PUBLISHING
        properties = {} if self.mtime_ns is None else {"mtime_ns": str(self.mtime_ns)}
        self.result = await self._threads.run(self.store.publish, upload, self.location, properties)
        self.state = PUBLISHED
        if upload.published is not None:
            return upload.published
        return await self._threads.run(self._published)

    def _published(self) -> ImageInfo:
        """It is stored, whatever becomes of asking about it: close() must not fail now."""
        try:
            return self.store.driver.stat(self.location)
        except Exception as exc:  # noqa: BLE001 - see above
            log.info("%s: %s: stored, but stat says: %s", *self._names, exc)
            return ImageInfo(self.image_id, self.position, mtime_ns=time.time_ns())

    async def _fail(self, error: Exception) -> None:
        if self.finished:
            return
        self.state, self._error = FAILED, error
        if self._begun is not None:
            await self._begun.stream.aclose()
            await self._threads.run(self._clean_up, self._begun.upload)

    def _clean_up(self, upload: Upload) -> None:
        """A store that cannot even abort must not hide why, nor end the mount."""
        try:
            upload.abort()
        except Exception as exc:  # noqa: BLE001 - see above
            log.warning("%s: %s: what was stored of it may be left behind: %s", *self._names, exc)

    def check(self) -> None:
        """Raise what ended the upload, if something did."""
        if self._error is not None:
            raise self._error
