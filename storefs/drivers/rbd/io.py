# SPDX-License-Identifier: Apache-2.0
"""The bytes of an `rbd.Image` that is open already: exact reads and sparse writes by aio.

Used by every driver that gets its bytes through librbd. Nothing here opens,
creates or publishes; the caller gives an open image and says what its name is
in errors::

    image = OpenImage(rbd.Image(...), "Volume v")   # owns it: closes it when idle
    ImageReads(image, size).read(length, offset)    # exactly, clipped at *size* only
    writes = ImageWrites(image, object_size)
    writes.write(memoryview_of_a_part, offset)      # returns when OSDs have it
    image.close()                                   # waits for what is in flight

Both may be called by several threads at once; each call has its pieces in
flight together and waits for all of them. A part that is longer than an object is
a window of objects. Errors are `storefs.exceptions` (`rbd.errors`): a time-out is
librados' own (``rados_osd_op_timeout``), so set one on the connection, and
``rbd_cache = false``: with the cache a write has returned before an OSD has it
(then call `ImageWrites.flush`). Nothing is imported from librbd.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from storefs import exceptions
from storefs.drivers.base import Buffer, joined
from storefs.drivers.rbd.errors import failure, translated

MiB = 1024 * 1024

#: What one aio reads at most, bytes: an OSD sends one piece while it reads the next
#: (measured with four threads, 8 MiB a call: 1117 MiB/s, with 2 MiB 935, with 8 MiB 922).
PIECE = 1 * MiB

#: Pieces of a part that are as long go to librbd as they are, bytes: for shorter ones
#: the copy that joins them costs less than an operation each.
_ALONE = 1 * MiB

#: Compared with, to find zeros at the speed of memcmp.
_ZEROS = bytes(MiB)


class OpenImage:
    """An open image and how many use it: closed while aio runs, librbd would crash.

    *what* names it in errors ("Image x of pool y").
    """

    def __init__(self, image: Any, what: str) -> None:
        self._image = image
        self.what = what
        #: called once, when librbd has closed it, or failed to
        self.when_closed: Callable[[], None] | None = None
        self._idle = threading.Condition()
        self._users = 0
        self._closed = False

    @contextlib.contextmanager
    def use(self) -> Iterator[Any]:
        """The rbd.Image; its errors leave as `storefs.exceptions`."""
        with self._idle:
            if self._closed:
                raise exceptions.BackendException(f"{self.what} was closed")
            self._users += 1
        try:
            with translated(self.what):
                yield self._image
        finally:
            with self._idle:
                self._users -= 1
                self._idle.notify_all()

    def close(self) -> None:
        """Close it once nobody uses it; may be called again."""
        with self._idle:
            first, self._closed = not self._closed, True
            self._idle.wait_for(lambda: not self._users)
        if first:
            try:
                with translated(self.what):
                    self._image.close()
            finally:
                self._image = None
                told, self.when_closed = self.when_closed, None
                if told:
                    told()


class ImageReads:
    """Reads of one open image of *size* bytes, at any offset, by many threads."""

    def __init__(self, image: OpenImage, size: int) -> None:
        self._image = image
        self._size = size

    def read(self, length: int, offset: int) -> Buffer:
        """Exactly *length* bytes from *offset*, fewer only where *size* ends.

        `ImageChanged` if librbd gives less: it was cut meanwhile.
        """
        return joined(self.read_pieces(length, offset))

    def read_pieces(self, length: int, offset: int) -> list[Buffer]:
        """The same as librbd gave it: in pieces of `PIECE`, cut at its multiples."""
        end = min(offset + length, self._size)
        if offset >= end:
            return []
        with self._image.use() as image:
            pieces = _settled(_ReadPiece(image, *piece) for piece in cut(offset, end, PIECE))
            return [piece.result(self._image.what) for piece in pieces]


class ImageWrites:
    """Writes to one open image, made of objects of *object_size* bytes.

    *fresh*: it holds nothing yet, so an object's worth of zeros is left out, and
    reads back as zeros all the same.
    """

    def __init__(self, image: OpenImage, object_size: int, *, fresh: bool = True) -> None:
        self._image = image
        self._object_size = object_size
        self._fresh = fresh
        self._lock = threading.Lock()
        #: how many objects there are, if none was written to twice
        self.objects = 0

    def write(self, data: memoryview, offset: int) -> None:
        """Store *data* at *offset*; returns when it is durable, keeps no reference."""
        self.write_pieces([data], offset)

    def write_pieces(self, pieces: Sequence[memoryview], offset: int) -> None:
        """The same of what lies in memory in *pieces*."""
        with self._image.use() as image:
            extents = self._extents(pieces, offset)
            for piece in _settled(_WritePiece(image, *extent) for extent in extents):
                piece.check(self._image.what)

    def flush(self) -> None:
        """Whatever a cache of librbd's holds is durable afterwards."""
        with self._image.use() as image:
            image.flush()

    def _extents(self, pieces: Sequence[memoryview], offset: int) -> Iterator[tuple[bytes, int]]:
        """What of *pieces* has to be written, and where."""
        objects = by_object(pieces, offset, self._object_size)
        kept = [(at, held) for at, held in objects.items() if not self._is_hole(held)]
        with self._lock:
            self.objects += len(kept)
        if kept and len(kept) == len(objects):
            # librbd cuts it into objects itself, without a copy of ours
            kept = [(offset, list(pieces))]
        for at, held in kept:
            yield from _grouped(held, at)

    def _is_hole(self, pieces: Sequence[memoryview]) -> bool:
        return self._fresh and all(map(is_zero, pieces))


class Answer:
    """What an aio has read. Its completion knows this, and this knows no completion.

    In a cycle that would be freed by the garbage collector, when the connection may be gone.
    """

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data: Buffer = b""

    def __call__(self, _completion: Any, data: Buffer | None = None) -> None:
        self.data = b"" if data is None else data


class _Piece:
    """One aio: what it returned, once it has."""

    def __init__(self, begin: Callable[[Answer], Any]) -> None:
        self._answer = Answer()
        self._code = 0
        self._completion: Any = begin(self._answer)

    def wait(self) -> None:
        self._completion.wait_for_complete_and_cb()
        self._code = self._completion.get_return_value()
        # Freed here, while the image is open.
        self._completion = None

    def check(self, what: str) -> None:
        if self._code < 0:
            raise failure(self._code, what)


_P = TypeVar("_P", bound=_Piece)


class _ReadPiece(_Piece):
    def __init__(self, image: Any, offset: int, length: int) -> None:
        super().__init__(lambda done: image.aio_read(offset, length, done))
        self._length = length

    def result(self, what: str) -> Buffer:
        self.check(what)
        if len(self._answer.data) != self._length:
            raise exceptions.ImageChanged(f"{what} became shorter while it was open")
        return self._answer.data


class _WritePiece(_Piece):
    def __init__(self, image: Any, data: bytes, offset: int) -> None:
        super().__init__(lambda done: image.aio_write(data, offset, done))


def _settled(begun: Iterable[_P]) -> list[_P]:
    """All of them, waited for, also when one cannot begin: librbd has the others' buffers."""
    pieces: list[_P] = []
    try:
        pieces.extend(begun)
    finally:
        for piece in pieces:
            piece.wait()
    return pieces


def cut(begin: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Offset and length of what lies between the multiples of *size*."""
    while begin < end:
        length = min(end, (begin // size + 1) * size) - begin
        yield begin, length
        begin += length


def by_object(
    pieces: Sequence[memoryview], offset: int, object_size: int
) -> dict[int, list[memoryview]]:
    """What each object gets of *pieces*, by where in the image that begins."""
    objects: dict[int, list[memoryview]] = {}
    first = offset
    for piece in pieces:
        for at, length in cut(offset, offset + len(piece), object_size):
            begin = max(at // object_size * object_size, first)
            objects.setdefault(begin, []).append(piece[at - offset : at - offset + length])
        offset += len(piece)
    return objects


def _grouped(pieces: Iterable[memoryview], offset: int) -> Iterator[tuple[bytes, int]]:
    """Short ones joined until they are `_ALONE` long, each with where it begins."""
    group: list[memoryview] = []
    length = 0
    for piece in pieces:
        group.append(piece)
        length += len(piece)
        if length >= _ALONE:
            yield _as_bytes(group), offset
            group, offset, length = [], offset + length, 0
    if group:
        yield _as_bytes(group), offset


def _as_bytes(pieces: Sequence[memoryview]) -> bytes:
    """librbd takes bytes alone; what is all of them already is not copied."""
    whole = pieces[0].obj
    if len(pieces) == 1 and isinstance(whole, bytes) and len(whole) == len(pieces[0]):
        return whole
    return b"".join(pieces)


def is_zero(data: Buffer) -> bool:
    """Is there nothing but zeros in it? Mostly the first and last byte tell."""
    if not data:
        return True
    if data[0] or data[-1]:
        return False
    view = memoryview(data)
    steps = range(0, len(view), len(_ZEROS))
    return all(_same(view[step : step + len(_ZEROS)]) for step in steps)


def _same(view: memoryview) -> bool:
    """memoryviews compare item by item, bytes at once; most of data differs early."""
    head = bytes(view[:4096])
    return _ZEROS.startswith(head) and _ZEROS.startswith(bytes(view))
