# SPDX-License-Identifier: Apache-2.0
"""What was promised of one image on its way into the store."""

import dataclasses
from collections.abc import Awaitable, Callable, Sequence

import trio

from storefs import exceptions
from storefs.driver import Store
from storefs.drivers.base import Buffer, ImageInfo
from storefs.streams.engine import Engine
from storefs.streams.layers import BASE, Layer, Segment, runs
from storefs.streams.overlay import Overlay
from storefs.streams.publication import Publication
from storefs.streams.same_image import set_mtime, stored_already, version_of
from storefs.streams.spool import Record
from storefs.upload import UploadResult

#: How much is taken out of the spool, or the old version, at a time.
CHUNK = 2 * 1024 * 1024

#: How long an upload that is cut short may clean up after itself, seconds.
ABORT_TIMEOUT = 10

_ZEROS = bytes(CHUNK)


@dataclasses.dataclass(frozen=True)
class Stored:
    """*record* is what the store now has of the promise, made of so many *layers*."""

    record: Record
    layers: int
    info: ImageInfo


def is_zero(data: Buffer) -> bool:
    """Are there only zeros in it? It is no longer than `CHUNK`."""
    return not data[0] and bytes(data) == _ZEROS[: len(data)]


class SpooledUpload:
    """One attempt to store *promised*, which *layers* and what lies below them hold.

    *note* is awaited with the hashes once all bytes are stored, before it is published.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        overlay: Overlay,
        promised: Record,
        layers: Sequence[Layer],
        note: Callable[[UploadResult], Awaitable[None]],
    ) -> None:
        self._engine = engine
        self._threads = engine.threads(store)
        self._store = store
        self._overlay = overlay
        self._promised = promised
        self._layers = layers
        self._note = note
        self._publication: Publication | None = None

    @property
    def position(self) -> int:
        """How many bytes the store has been given."""
        return self._publication.position if self._publication is not None else 0

    async def abort(self, reason: str) -> None:
        """Whoever waits for it is told *reason*; without effect once it is published."""
        if self._publication is not None:
            await self._publication.abort(reason)

    async def earlier(self) -> Stored | None:
        """What an attempt before this one published without getting to know of it."""
        uploaded = self._promised.uploaded
        if uploaded is None:
            return None
        info = await self._threads.run(stored_already, self._store, self._promised.image, uploaded)
        if info is None:
            return None
        record = dataclasses.replace(self._promised, size=uploaded["size"])
        return Stored(record, uploaded["layers"], info)

    async def check_base(self) -> None:
        """`ImageChanged` if others wrote the image since: theirs is newer."""
        promised = self._promised
        if promised.base is None:
            return
        version = await self._threads.run(version_of, self._store, promised.image)
        needed = any(segment.source is BASE for segment in self._segments())
        if version != promised.base and (version is not None or needed):
            if not needed and await self._outdated():
                return
            raise exceptions.ImageChanged(
                f"Image {promised.image} was changed elsewhere after it was written here: copy "
                "it to another name if this one is wanted, then delete it here."
            )

    async def _outdated(self) -> bool:
        """Is it our own that was stored, and replaced here before that was known?"""
        older = self._promised.outdated
        if older is None:
            return False
        name = self._promised.image
        return await self._threads.run(stored_already, self._store, name, older) is not None

    async def store(self, *, replace: bool) -> Stored:
        """Publish it, unless the store has the same bytes already."""
        promised = self._promised
        if await self._unchanged():
            info = await self._threads.run(
                set_mtime, self._store, promised.image, promised.mtime_ns
            )
        else:
            info = await self._upload(replace)
        return Stored(promised, len(self._layers), info)

    async def _upload(self, replace: bool) -> ImageInfo:
        promised = self._promised
        publication = Publication(self._engine, self._store, promised.image, replace=replace)
        publication.mtime_ns = promised.mtime_ns
        publication.before_commit, publication.retained = self._note, None
        publication.truncate(promised.size)
        self._publication = publication
        try:
            for start, end in runs(self._segments(), CHUNK):
                for offset in range(start, end, CHUNK):
                    data = await self._overlay.read(self._layers, offset, min(offset + CHUNK, end))
                    if not is_zero(data):
                        await publication.write(data, offset)
            return await publication.publish()
        finally:
            with trio.move_on_after(ABORT_TIMEOUT, shield=True):
                await publication.abort("its upload was given up")

    def _segments(self) -> list[Segment]:
        return self._overlay.segments(self._layers, 0, self._promised.size)

    async def _unchanged(self) -> bool:
        """Is every byte what the old version has there? Ends at the first that is not."""
        if not self._overlay.size or self._promised.size != self._overlay.size:
            return False
        for segment in self._segments():
            if segment.source is BASE:
                continue
            for offset in range(segment.start, segment.end, CHUNK):
                end = min(offset + CHUNK, segment.end)
                new = await self._overlay.read(self._layers, offset, end)
                if bytes(await self._overlay.read((), offset, end)) != bytes(new):
                    return False
        return True
