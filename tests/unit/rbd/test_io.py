# SPDX-License-Identifier: Apache-2.0
"""Reads and writes of an open image: exact, sparse, and never while it is closed."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.rbd.io import PIECE, ImageReads, ImageWrites, MiB, OpenImage, cut, is_zero
from tests.contract.images import pattern
from tests.servers.rbd_pool import RbdPool

_OBJECT = 4 * MiB
_SIZE = 3 * _OBJECT + 5


@pytest.fixture
def opened(images: RbdPool) -> Iterator[OpenImage]:
    images.rbd.RBD().create(images.ioctx, "volume", _SIZE, 22, old_format=False, features=61)
    image = OpenImage(images.rbd.Image(images.ioctx, "volume"), "Volume v")
    yield image
    image.close()


def _objects(images: RbdPool) -> set[int]:
    """Which objects there are."""
    with images.image("volume") as image:
        prefix = image.block_name_prefix()
    names = [o.key for o in images.ioctx.list_objects() if o.key.startswith(prefix)]
    return {int(name.rpartition(".")[2], 16) for name in names}


@pytest.mark.parametrize("length", [1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, _SIZE, 2 * _SIZE])
@pytest.mark.parametrize("offset", [0, 1, PIECE - 1, _OBJECT, _SIZE - 1, _SIZE, _SIZE + 1])
def test_reads_are_exact_and_end_where_the_image_ends(
    opened: OpenImage, length: int, offset: int
) -> None:
    data = pattern(_SIZE)
    ImageWrites(opened, _OBJECT).write(memoryview(data), 0)
    found = ImageReads(opened, _SIZE).read(length, offset)
    assert bytes(found) == data[offset : offset + length]


def test_what_is_read_is_not_joined(opened: OpenImage) -> None:
    pieces = ImageReads(opened, _SIZE).read_pieces(3 * PIECE, PIECE // 2)
    assert [len(piece) for piece in pieces] == [PIECE // 2, PIECE, PIECE, PIECE // 2]


def test_an_object_of_zeros_is_left_out_of_a_fresh_image(
    opened: OpenImage, images: RbdPool
) -> None:
    data = bytearray(pattern(3 * _OBJECT))
    data[_OBJECT : 2 * _OBJECT] = bytes(_OBJECT)
    ImageWrites(opened, _OBJECT).write(memoryview(data), 0)
    assert _objects(images) == {0, 2}
    assert bytes(ImageReads(opened, _SIZE).read(3 * _OBJECT, 0)) == data


def test_zeros_replace_what_is_there_in_one_that_is_not_fresh(opened: OpenImage) -> None:
    writes = ImageWrites(opened, _OBJECT, fresh=False)
    writes.write(memoryview(pattern(_OBJECT)), 0)
    writes.write(memoryview(bytes(_OBJECT)), 0)
    assert bytes(ImageReads(opened, _SIZE).read(_OBJECT, 0)) == bytes(_OBJECT)


class _Recording:
    """An rbd.Image that is given to: what exactly librbd got cannot be asked of the real one."""

    def __init__(self) -> None:
        self.written: list[tuple[bytes, int]] = []

    def aio_write(self, data: bytes, offset: int, _done: Any) -> Any:
        self.written.append((data, offset))
        return self

    def wait_for_complete_and_cb(self) -> None:
        """It is done."""

    def get_return_value(self) -> int:
        return 0


def test_long_pieces_are_not_copied_and_short_ones_joined() -> None:
    recording = _Recording()
    long, short = pattern(MiB), pattern(MiB // 4)
    pieces = [memoryview(data) for data in (long, short, short, short, short, long, short)]
    writes = ImageWrites(OpenImage(recording, "Image i"), _OBJECT)
    writes.write_pieces(pieces, _OBJECT)
    assert [at - _OBJECT for _, at in recording.written] == [0, MiB, 2 * MiB, 3 * MiB]
    assert recording.written[0][0] is recording.written[2][0] is long
    assert [data for data, _ in recording.written[1::2]] == [4 * short, short]
    assert writes.objects == 1


def test_objects_of_zeros_in_pieces_are_left_out() -> None:
    recording = _Recording()
    writes = ImageWrites(OpenImage(recording, "Image i"), _OBJECT)
    pieces = [bytes(_OBJECT), bytes(_OBJECT - 1), b"x", bytes(2 * _OBJECT), b"end"]
    writes.write_pieces([memoryview(piece) for piece in pieces], 0)
    assert recording.written == [
        (bytes(_OBJECT - 1), _OBJECT),
        (b"x", 2 * _OBJECT - 1),
        (b"end", 4 * _OBJECT),
    ]
    assert writes.objects == 2


def test_no_reference_to_what_was_written_is_kept(opened: OpenImage) -> None:
    buffer = bytearray(b"12345")
    ImageWrites(opened, _OBJECT).write(memoryview(buffer), 7)
    buffer.extend(b"a bytearray somebody looks at cannot grow")
    buffer[:5] = b"xxxxx"
    assert bytes(ImageReads(opened, _SIZE).read(5, 7)) == b"12345"


def test_a_write_past_the_end_is_an_error(opened: OpenImage) -> None:
    with pytest.raises(exceptions.BackendException, match="Volume v"):
        ImageWrites(opened, _OBJECT).write(memoryview(b"late"), _SIZE)


def test_an_image_that_was_cut_is_never_read_short(opened: OpenImage) -> None:
    reads = ImageReads(opened, _SIZE)
    with opened.use() as image:
        image.resize(100)
    for offset in (0, 50, 100, _OBJECT):
        with pytest.raises((exceptions.ImageChanged, exceptions.BackendException)):
            reads.read(200, offset)


def test_what_is_closed_is_used_no_more(opened: OpenImage) -> None:
    opened.close()
    with pytest.raises(exceptions.BackendException, match="closed"):
        ImageReads(opened, _SIZE).read(1, 0)


class _Slow:
    """Stands in for an rbd.Image: the real one is never seen half way through a call."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_close_waits_for_who_uses_it() -> None:
    slow = _Slow()
    image = OpenImage(slow, "Image i")
    with image.use():
        closing = threading.Thread(target=image.close)
        closing.start()
        while not image._closed:
            pass
        assert not slow.closed
    closing.join()
    assert slow.closed


class _Failing:
    """An rbd.Image whose second aio cannot begin: librbd's do not fail when one wants."""

    def __init__(self) -> None:
        self.waited = 0

    def aio_read(self, offset: int, length: int, done: Any) -> Any:
        if offset:
            raise RuntimeError("no memory")
        return self

    def wait_for_complete_and_cb(self) -> None:
        self.waited += 1

    def get_return_value(self) -> int:
        return 0


def test_what_has_begun_is_waited_for_when_the_next_cannot_begin() -> None:
    failing = _Failing()
    with pytest.raises(RuntimeError):
        ImageReads(OpenImage(failing, "Image i"), 2 * PIECE).read(2 * PIECE, 0)
    assert failing.waited == 1


@pytest.mark.parametrize("length", [0, 1, 4095, 4096, 4097, MiB, MiB + 1, 3 * MiB + 5])
def test_zeros_are_known_from_other_bytes(length: int) -> None:
    assert is_zero(bytes(length))
    for at in {0, length // 2, length - 1} if length else ():
        data = bytearray(length)
        data[at] = 1
        assert not is_zero(data)


def test_ranges_are_cut_at_multiples() -> None:
    assert list(cut(3, 12, 4)) == [(3, 1), (4, 4), (8, 4)]
    assert list(cut(4, 4, 4)) == []
