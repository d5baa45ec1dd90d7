# SPDX-License-Identifier: Apache-2.0
"""Adding: all or nothing, once, invisible until it is published."""

import contextlib
import hashlib
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.base import SupportsAdd, SupportsList, SupportsProperties, SupportsReread
from storefs.upload import Upload
from tests.contract.harness import Harness
from tests.contract.images import SIZES, add, listed, parts_of, pattern, read, write

pytestmark = pytest.mark.needs.with_args(SupportsAdd)


def _create(harness: Harness, image_id: str = "image", **how: Any) -> Any:
    return harness.driver.create(harness.driver.locate(image_id), None, **how)


def _exists(harness: Harness, image_id: str = "image") -> bool:
    try:
        harness.driver.stat(harness.driver.locate(image_id))
    except exceptions.NotFound:
        return False
    return True


@pytest.mark.parametrize("told", [True, False], ids=["size", "no-size"])
@pytest.mark.parametrize(("parts", "extra"), SIZES)
def test_an_image_reads_back_with_its_hashes(
    harness: Harness, parts: int, extra: int, told: bool
) -> None:
    data = pattern(parts * harness.part + extra)
    result = add(harness.driver, "image", data, size=len(data) if told else None)
    assert read(harness.driver, "image") == data
    assert result.size == len(data)
    assert result.checksum == hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert result.multihash == hashlib.sha512(data).hexdigest()


def test_a_second_image_of_that_name_is_a_duplicate(harness: Harness) -> None:
    first = pattern(harness.part + 1, 1)
    add(harness.driver, "image", first)
    with pytest.raises(exceptions.Duplicate):
        add(harness.driver, "image", pattern(harness.part + 1, 2))
    assert read(harness.driver, "image") == first


def test_an_image_another_program_put_there_is_a_duplicate(harness: Harness) -> None:
    harness.seed("image", b"first")
    with pytest.raises(exceptions.Duplicate):
        _create(harness)
    assert read(harness.driver, "image") == b"first"


def test_of_two_that_commit_one_wins(harness: Harness) -> None:
    images = [pattern(harness.part, seed) for seed in range(2)]
    writers = [_create(harness) for _ in images]
    for writer, data in zip(writers, images, strict=True):
        write(writer, data)
    barrier = threading.Barrier(2)

    def commit(number: int) -> bool:
        barrier.wait()
        try:
            writers[number].commit(harness.part)
        except exceptions.Duplicate:
            writers[number].abort()
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        won = list(pool.map(commit, range(2)))
    assert sorted(won) == [False, True]
    assert read(harness.driver, "image") == images[won.index(True)]


def test_an_image_that_came_meanwhile_is_not_overwritten(harness: Harness) -> None:
    writer = _create(harness)
    write(writer, b"late")
    harness.seed("image", b"early")
    with pytest.raises(exceptions.Duplicate):
        writer.commit(4)
    writer.abort()
    assert read(harness.driver, "image") == b"early"


def test_the_old_image_stays_until_it_is_replaced(harness: Harness) -> None:
    old, new = pattern(2 * harness.part, 1), pattern(2 * harness.part + 5, 2)
    add(harness.driver, "image", old)
    writer = _create(harness, replace=True)
    write(writer, new)
    assert read(harness.driver, "image") == old
    before = harness.driver.stat(harness.driver.locate("image")).version
    writer.commit(len(new))
    assert read(harness.driver, "image") == new
    assert harness.driver.stat(harness.driver.locate("image")).version != before


def test_who_has_the_old_image_open_goes_on_or_is_told(harness: Harness) -> None:
    old = pattern(2 * harness.part, 1)
    add(harness.driver, "image", old)
    with contextlib.closing(harness.driver.open(harness.driver.locate("image"))) as reader:
        writer = _create(harness, replace=True)
        write(writer, b"new")
        assert bytes(reader.pread(len(old), 0)) == old
        writer.commit(3)
        with contextlib.suppress(exceptions.ImageChanged):
            assert bytes(reader.pread(len(old), 0)) == old


def test_a_replacement_given_up_leaves_the_old_image(harness: Harness) -> None:
    add(harness.driver, "image", b"old")
    writer = _create(harness, replace=True)
    write(writer, b"new image")
    writer.abort()
    assert read(harness.driver, "image") == b"old"
    assert harness.leftovers() == []


def test_replacing_nothing_adds(harness: Harness) -> None:
    add(harness.driver, "image", b"bytes", replace=True)
    assert read(harness.driver, "image") == b"bytes"


@pytest.mark.parametrize("size", [3, 100])
def test_another_size_than_told_is_invalid_and_nothing_is_left(harness: Harness, size: int) -> None:
    with pytest.raises(exceptions.Invalid):
        add(harness.driver, "image", b"ten bytes.", size=size)
    assert not _exists(harness)
    assert harness.leftovers() == []
    add(harness.driver, "image", b"ten bytes.", size=10)
    assert read(harness.driver, "image") == b"ten bytes."


def test_bytes_beyond_the_size_are_noticed_at_once(harness: Harness) -> None:
    def endless() -> Iterator[bytes]:
        for number in range(harness.part, 9 * harness.part, harness.part):
            yield pattern(harness.part, number)
        raise AssertionError("read on and on")

    upload = Upload(_create(harness), 2 * harness.part)
    with pytest.raises(exceptions.Invalid, match="Size exceeds"):
        upload.feed(endless())
    upload.abort()
    assert not _exists(harness)


def test_nothing_is_seen_before_the_commit(harness: Harness) -> None:
    data = pattern(2 * harness.part + 1)
    writer = _create(harness)
    for part, offset in parts_of(writer, data):
        writer.pwrite(part, offset)
        assert not _exists(harness)
        with pytest.raises(exceptions.NotFound):
            harness.driver.open(harness.driver.locate("image"))
        if isinstance(harness.driver, SupportsList):
            assert listed(harness.driver) == {}
    writer.stage({"md5": "0"})
    assert not _exists(harness)
    writer.commit(len(data))
    assert _exists(harness)


def test_an_abort_leaves_nothing_and_frees_the_name(harness: Harness) -> None:
    writer = _create(harness)
    write(writer, pattern(harness.part + 1))
    writer.abort()
    writer.abort()
    assert harness.leftovers() == []
    assert not _exists(harness)
    add(harness.driver, "image", b"again")
    assert read(harness.driver, "image") == b"again"


def test_an_abort_before_the_first_part_leaves_nothing(harness: Harness) -> None:
    _create(harness).abort()
    assert harness.leftovers() == []
    assert not _exists(harness)


def test_an_abort_after_the_commit_changes_nothing(harness: Harness) -> None:
    writer = _create(harness)
    write(writer, b"bytes")
    writer.commit(5)
    writer.abort()
    assert read(harness.driver, "image") == b"bytes"


def test_what_was_aborted_takes_no_more(harness: Harness) -> None:
    writer = _create(harness)
    writer.abort()
    with pytest.raises((exceptions.BackendException, exceptions.GlanceStoreException)):
        writer.pwrite(memoryview(b"late"), 0)
    with pytest.raises((exceptions.BackendException, exceptions.GlanceStoreException)):
        writer.commit(4)
    assert not _exists(harness)
    assert harness.leftovers() == []


def test_an_abort_while_parts_are_written(harness: Harness) -> None:
    """Nothing is left, and no other file gets what was meant for this one."""
    for _ in range(5):
        writer = _create(harness)
        begun = threading.Barrier(2)

        def keep_writing(writer: Any = writer, begun: threading.Barrier = begun) -> int:
            data = memoryview(pattern(harness.part))
            writer.pwrite(data, 0)
            begun.wait()
            for number in itertools.count(1):
                try:
                    writer.pwrite(data, number * harness.part)
                except (exceptions.BackendException, exceptions.GlanceStoreException):
                    return number
            return 0

        with ThreadPoolExecutor(1) as pool:
            written = pool.submit(keep_writing)
            begun.wait()
            writer.abort()
            add(harness.driver, "bystander", b"untouched", replace=True)
            assert written.result(60) >= 1
        assert read(harness.driver, "bystander") == b"untouched"
        assert not _exists(harness)
        assert harness.leftovers() == []


def test_parts_may_come_in_any_order_from_several_threads(harness: Harness) -> None:
    data = pattern(6 * harness.part + 7)
    writer = _create(harness)
    parts = parts_of(writer, data)
    if writer.max_concurrency > 1:
        parts.reverse()
    with ThreadPoolExecutor(writer.max_concurrency) as pool:
        list(pool.map(lambda part: writer.pwrite(*part), parts))
    writer.commit(len(data))
    assert read(harness.driver, "image") == data


def test_no_part_is_kept_after_it_was_written(harness: Harness) -> None:
    writer = _create(harness)
    buffer = bytearray(b"12345")
    writer.pwrite(memoryview(buffer), 0)
    buffer[:] = b"xxxxx"
    writer.commit(5)
    assert read(harness.driver, "image") == b"12345"


def test_a_part_nobody_wrote_is_zeros(harness: Harness) -> None:
    part = harness.part
    data = bytearray(pattern(3 * part + 5))
    data[part : 2 * part] = bytes(part)
    writer = _create(harness)
    for piece, offset in parts_of(writer, bytes(data)):
        if any(piece):
            writer.pwrite(piece, offset)
        else:
            writer.skip(len(piece), offset)
    writer.commit(len(data))
    assert read(harness.driver, "image") == bytes(data)


@pytest.mark.parametrize("parts", [1, 3])
def test_an_image_may_end_in_zeros_nobody_wrote(harness: Harness, parts: int) -> None:
    writer = _create(harness)
    for number in range(parts):
        writer.skip(harness.part, number * harness.part)
    writer.skip(5, parts * harness.part)
    writer.commit(parts * harness.part + 5)
    assert read(harness.driver, "image") == bytes(parts * harness.part + 5)


def test_the_size_of_a_part_follows_from_its_offset(harness: Harness) -> None:
    writer = _create(harness)
    offsets = [offset for _, offset in parts_of(writer, bytes(4 * harness.part))]
    assert [writer.part_size(o) for o in offsets] == [writer.part_size(o) for o in offsets]
    assert all(writer.part_size(o) > 0 for o in offsets)
    assert writer.part_size(0) == harness.part
    writer.abort()


def test_many_are_added_at_once(harness: Harness) -> None:
    images = {f"image-{n}": pattern(harness.part + n, n) for n in range(6)}
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda item: add(harness.driver, *item), images.items()))
    assert {name: read(harness.driver, name) for name in images} == images


def test_hashes_are_staged_or_can_be_set_afterwards(harness: Harness) -> None:
    writer = _create(harness)
    upload = Upload(writer)
    upload.feed([b"bytes"])
    result, staged = upload.finish({"mtime_ns": "1700000000000000000"})
    location = harness.driver.locate("image")
    if isinstance(harness.driver, SupportsProperties):
        if not staged:
            harness.driver.set_properties(location, result.properties())
        kept = harness.driver.properties(location)
        assert {name: kept[name] for name in result.properties()} == result.properties()
    else:
        assert not staged


@pytest.mark.parametrize("holes", [(), (2,), (0, 3, 6)], ids=str)
def test_what_was_written_is_given_back_before_the_commit(
    harness: Harness, holes: tuple[int, ...]
) -> None:
    """By the writers that say so, whatever the order in which the parts came."""
    part = harness.part
    data = bytearray(pattern(6 * part + 4096 + 7))
    for number in holes:
        hole = slice(number * part, min((number + 1) * part, len(data)))
        data[hole] = bytes(hole.stop - hole.start)
    writer = _create(harness)
    assert isinstance(writer, SupportsReread) == harness.rereads
    if isinstance(writer, SupportsReread):
        parts = parts_of(writer, bytes(data))
        with ThreadPoolExecutor(writer.max_concurrency) as pool:
            list(pool.map(lambda part: _store(writer, *part), reversed(parts)))
        ends = [0, 1, 4095, part - 1, part + 1, 3 * part, 5 * part + 512, 6 * part + 1, len(data)]
        for start, end in itertools.combinations(ends, 2):
            assert bytes(writer.reread(end - start, start)) == data[start:end], (start, end)
        assert not _exists(harness)
    writer.abort()
    assert not _exists(harness)


def _store(writer: Any, data: memoryview, offset: int) -> None:
    if any(data[:100]):
        writer.pwrite(data, offset)
    else:
        writer.skip(len(data), offset)


def test_a_part_in_pieces_is_that_part(harness: Harness) -> None:
    data = pattern(2 * harness.part + 7)
    writer = _create(harness)
    for part, offset in parts_of(writer, data):
        thirds = -(-len(part) // 3)
        pieces = [part[start : start + thirds] for start in range(0, len(part), thirds)]
        writer.pwritev(pieces, offset)
    writer.commit(len(data))
    assert read(harness.driver, "image") == data


def test_what_commit_tells_is_what_stat_says(harness: Harness) -> None:
    for size in (5, 2 * harness.part):
        writer = _create(harness, replace=True)
        write(writer, pattern(size))
        writer.stage({"md5": hashlib.md5(pattern(size), usedforsecurity=False).hexdigest()})
        told = writer.commit(size)
        assert told in (None, harness.driver.stat(harness.driver.locate("image")))
