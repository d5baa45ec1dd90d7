# SPDX-License-Identifier: Apache-2.0
"""The bytes of an image some of which are in layers and the rest in the store."""

import contextlib
from collections.abc import Awaitable, Callable, Sequence

import trio

from storefs import exceptions
from storefs.drivers.base import Buffer
from storefs.streams.layers import BASE, ZEROS, Layer, Segment, Users, resolve
from storefs.streams.read_stream import ReadStream
from storefs.streams.threads import Threads
from storefs.tree import Node

#: Opens the version it names of what a node stands for, or raises `ImageChanged`.
OpenBase = Callable[[Node, str], Awaitable[ReadStream]]


class Overlay:
    """Layers over *size* bytes of the published *version* of *node*.

    *version* is None if there is none. *layers* are the caller's to change; what
    is read while they change is what was there before, or what came.
    """

    def __init__(
        self, node: Node, open_base: OpenBase, disk: Threads, version: str | None, size: int
    ) -> None:
        self._node = node
        self._open_base = open_base
        self._disk = disk
        self._stream: ReadStream | None = None
        self._users = Users()
        self._lock = trio.Lock()
        self.layers: list[Layer] = []
        self.version = version
        self.size = size

    def segments(self, layers: Sequence[Layer], start: int, end: int) -> list[Segment]:
        """Where those bytes are, seen through *layers*."""
        return list(resolve(layers, self.size, start, end))

    async def read(self, layers: Sequence[Layer], start: int, end: int) -> Buffer:
        """``[start, end)`` seen through *layers*; fails if the old version has gone."""
        segments = self.segments(layers, start, end)
        with contextlib.ExitStack() as stack:
            local = {s.source for s in segments if isinstance(s.source, Layer)}
            for layer in local:
                stack.enter_context(layer.users)
            pieces: list[Buffer | None] = [None] * len(segments)
            if local:
                pieces = await self._disk.run(_read_local, segments)
            for number, segment in enumerate(segments):
                if segment.source is BASE:
                    pieces[number] = await self._from_base(segment)
                elif segment.source is ZEROS:
                    pieces[number] = bytes(segment.end - segment.start)
        found = [piece for piece in pieces if piece is not None]
        return found[0] if len(found) == 1 else b"".join(found)

    async def pin(self) -> None:
        """Open the old version, if anything of it may be needed: it stays readable then."""
        if self.size:
            await self._base()

    def rebase(self, version: str | None, size: int) -> Callable[[], Awaitable[None]]:
        """Lie over another version from now on; call the result to let go of the old one."""
        old, self._stream = self._stream, None
        self.version, self.size = version, size

        async def close() -> None:
            await self._users.gone()
            if old is not None:
                await old.aclose()

        return close

    async def aclose(self) -> None:
        """Let go of the old version."""
        await self.rebase(self.version, self.size)()

    async def _from_base(self, segment: Segment) -> Buffer:
        base = await self._base()
        with self._users:
            pieces, offset = [], segment.start
            while offset < segment.end:
                pieces.append(await base.read(offset, segment.end - offset))
                if not pieces[-1]:
                    raise exceptions.ImageChanged(image=self._node.name)
                offset += len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _base(self) -> ReadStream:
        async with self._lock:
            if self._stream is None:
                self._stream = await self._open_base(self._node, self.version or "")
            return self._stream


def _read_local(segments: Sequence[Segment]) -> list[Buffer | None]:
    """What of *segments* is in layers, in one hop."""
    return [
        segment.source.read(segment.start, segment.end - segment.start)
        if isinstance(segment.source, Layer)
        else None
        for segment in segments
    ]
