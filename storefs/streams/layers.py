# SPDX-License-Identifier: Apache-2.0
"""What was written over an image, in layers, each a sparse local file.

A layer holds what was written between two promises (close, fsync). Once
promised it is never written again, so that a crash, or an upload under way,
meets exactly what was promised. Below all layers lies the old version in the
store; what nobody wrote is read from there, and never copied.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import trio

from storefs.streams.ranges import Ranges

#: As much as anybody can see: no truncation cut anything off.
ENDLESS = (1 << 63) - 1


class Users:
    """Who reads something right now; it may be closed when nobody does."""

    def __init__(self) -> None:
        self._count = 0
        self._idle = trio.Event()

    def __enter__(self) -> None:
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if not self._count:
            self._idle.set()
            self._idle = trio.Event()

    async def gone(self) -> None:
        """Until nobody uses it; nobody may begin to meanwhile."""
        while self._count:
            await self._idle.wait()


@dataclasses.dataclass(eq=False)
class Layer:
    """*ranges* of the file are valid; *visible* bytes of what lies below show through."""

    path: pathlib.Path
    descriptor: int
    ranges: Ranges = dataclasses.field(default_factory=Ranges)
    visible: int = ENDLESS
    users: Users = dataclasses.field(default_factory=Users)

    def write(self, data: memoryview, offset: int) -> None:
        """Blocks; the caller then adds it to *ranges*."""
        try:
            while data:
                written = os.pwrite(self.descriptor, data, offset)
                data, offset = data[written:], offset + written
        except OSError:
            # the half of it that a full disk took, which a promise may need the room of
            os.ftruncate(self.descriptor, self.ranges.end)
            raise

    def read(self, offset: int, length: int) -> bytes:
        """Blocks; exactly *length* bytes, which must be within *ranges*."""
        data = os.pread(self.descriptor, length, offset)
        if len(data) == length:
            return data
        pieces = [data]
        while (length := length - len(pieces[-1])) and pieces[-1]:
            offset += len(pieces[-1])
            pieces.append(os.pread(self.descriptor, length, offset))
        if length:
            raise OSError(f"{self.path} is shorter than it was")
        return b"".join(pieces)

    def cut(self, size: int) -> int:
        """Let nothing be there from *size* on; says how many bytes of it that were."""
        self.visible = min(self.visible, size)
        return self.ranges.clip(size)

    def shorten(self, size: int) -> None:
        """Give back the space of what was cut off. Blocks."""
        os.ftruncate(self.descriptor, size)

    def close(self, *, keep: bool) -> None:
        """Let go of the file, and unless *keep* of its space. Blocks."""
        if self.descriptor >= 0:
            if not keep:
                self.path.unlink(missing_ok=True)
            os.close(self.descriptor)
            self.descriptor = -1


class Base:
    """The segment's source is the old version in the store."""


class Zeros:
    """Nobody wrote it and the old version does not have it."""


BASE, ZEROS = Base(), Zeros()


@dataclasses.dataclass(frozen=True, slots=True)
class Segment:
    """``[start, end)`` comes whole from *source*."""

    source: Layer | Base | Zeros
    start: int
    end: int


def resolve(layers: Sequence[Layer], base_size: int, start: int, end: int) -> Iterator[Segment]:
    """Where the bytes of ``[start, end)`` are, the last of *layers* being on top."""
    if not layers:
        middle = min(max(start, base_size), end)
        yield from _segments(BASE, start, middle)
        yield from _segments(ZEROS, middle, end)
        return
    top = layers[-1]
    for piece_start, piece_end, here in top.ranges.pieces(start, end):
        if here:
            yield Segment(top, piece_start, piece_end)
            continue
        middle = min(max(piece_start, top.visible), piece_end)
        if piece_start < middle:
            yield from resolve(layers[:-1], base_size, piece_start, middle)
        yield from _segments(ZEROS, middle, piece_end)


def runs(segments: Iterable[Segment], gap: int) -> Iterator[tuple[int, int]]:
    """Where there is more than zeros; stretches less than *gap* apart are one."""
    begin = end = -1
    for segment in segments:
        if segment.source is ZEROS:
            continue
        if begin < 0 or segment.start - end >= gap:
            if begin >= 0:
                yield begin, end
            begin = segment.start
        end = segment.end
    if begin >= 0:
        yield begin, end


def _segments(source: Base | Zeros, start: int, end: int) -> Iterator[Segment]:
    if start < end:
        yield Segment(source, start, end)


def merge(lower: Layer, upper: Layer, size: int = 1024 * 1024) -> None:
    """Copy *upper*'s bytes into *lower*'s file; blocks, and leaves both tables alone.

    Whoever reads through both sees the same before, during and after it.
    """
    for start, end in upper.ranges:
        for offset in range(start, end, size):
            data = upper.read(offset, min(size, end - offset))
            lower.write(memoryview(data), offset)


def merged_ranges(lower: Layer, upper: Layer) -> tuple[Ranges, int]:
    """The table of both in one: its ranges, and what shows through it."""
    ranges = Ranges(lower.ranges)
    ranges.clip(upper.visible)
    for start, end in upper.ranges:
        ranges.add(start, end)
    return ranges, min(lower.visible, upper.visible)
