# SPDX-License-Identifier: Apache-2.0
"""Writes: in parts, hashed, stored in parallel, within the budget; the first error ends it."""

import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from storefs import exceptions
from storefs.streams.budget import Budget
from storefs.streams.threads import Threads
from storefs.streams.write_stream import WriteStream
from storefs.upload import Upload
from tests.streams.drivers import CollectingWriter

MiB = 1024 * 1024

DATA = random.Random(2).randbytes(5 * MiB)


@asynccontextmanager
async def writing(
    writer: CollectingWriter, budget: Budget | None = None
) -> AsyncIterator[tuple[WriteStream, Upload]]:
    upload = Upload(writer)
    async with trio.open_nursery() as nursery:
        stream = WriteStream(upload, Threads(32), Threads(2), budget or Budget(64 * MiB), nursery)
        yield stream, upload
        await stream.aclose()


@given(
    pieces=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5000)), max_size=20),
    part=st.sampled_from([1, 7, 1000, 4096]),
    width=st.integers(1, 4),
)
@settings(deadline=None, max_examples=60)
def test_pieces_and_gaps_become_parts_with_the_right_hashes(
    pieces: list[tuple[int, int]], part: int, width: int
) -> None:
    """A piece is how many parts' worth of gap before it, and its length."""
    writer = CollectingWriter(part, width)
    expected = bytearray()

    async def main() -> Upload:
        budget = Budget(64 * MiB)
        async with writing(writer, budget) as (stream, upload):
            for gap, length in pieces:
                await stream.skip(gap * part // 2)
                expected.extend(bytes(gap * part // 2))
                data = DATA[len(expected) : len(expected) + min(length, 300 * part)]
                await stream.write(data)
                expected.extend(data)
                assert stream.position == len(expected)
            await stream.drain()
        assert budget.used == 0
        return upload

    result = trio.run(main).result()
    assert writer.stored == expected
    assert sorted(writer.parts) == list(range(0, len(expected), part))
    assert (result.size, result.checksum, result.multihash) == (
        len(expected),
        hashlib.md5(expected, usedforsecurity=False).hexdigest(),
        hashlib.sha512(expected).hexdigest(),
    )
    assert writer.most_at_once <= width


@pytest.mark.trio
async def test_pieces_reach_the_writer_uncopied_and_are_its_alone() -> None:
    class Keeping(CollectingWriter):
        def pwritev(self, pieces: list[memoryview], offset: int) -> None:
            parts[offset] = list(pieces)
            pieces.clear()

    parts: dict[int, list[memoryview]] = {}
    given = [DATA[:400], DATA[400:1000], DATA[1000:1500]]
    async with writing(Keeping(1000)) as (stream, _):
        for data in given:
            await stream.write(data)
        await stream.drain()
    kept = [*parts[0], *parts[1000]]
    assert [id(piece.obj) for piece in kept] == list(map(id, given))
    assert all(piece.readonly for piece in kept)


@pytest.mark.trio
async def test_an_image_of_one_part_has_one_lane_to_the_store() -> None:
    async with trio.open_nursery() as nursery:
        upload = Upload(CollectingWriter(1000, max_concurrency=8))
        stream = WriteStream(upload, Threads(32), Threads(2), Budget(MiB), nursery)
        hashing = len(upload.lanes)
        assert len(nursery.child_tasks) == hashing
        await stream.write(DATA[:1000])
        assert len(nursery.child_tasks) == hashing + 1
        await stream.drain()


@pytest.mark.trio
async def test_a_part_nobody_wrote_is_left_to_the_driver() -> None:
    writer = CollectingWriter(1000)
    async with writing(writer) as (stream, _):
        await stream.write(b"a" * 500)
        await stream.skip(2500)
        await stream.write(b"b" * 500)
        await stream.drain()
    assert sorted(writer.skipped) == [(1000, 1000), (2000, 1000)]


@pytest.mark.trio
@pytest.mark.parametrize("at", [0, 2000, 4000])
async def test_an_error_in_a_lane_reaches_the_writer(at: int) -> None:
    writer = CollectingWriter(1000)
    error = exceptions.StorageFull()
    writer.errors = {at: error}
    budget = Budget(64 * MiB)
    async with writing(writer, budget) as (stream, _):
        with pytest.raises(exceptions.StorageFull) as caught:  # noqa: PT012 - at either
            for offset in range(0, 4500, 500):
                await stream.write(DATA[offset : offset + 500])
            await stream.drain()
        assert caught.value is error
        with pytest.raises(exceptions.StorageFull):
            await stream.write(b"more")
    assert budget.used == 0


@pytest.mark.trio
async def test_a_writer_waits_while_the_budget_is_used_up() -> None:
    writer = CollectingWriter(MiB)
    writer.open_gate.clear()
    budget = Budget(2 * MiB)
    async with writing(writer, budget) as (stream, _), trio.open_nursery() as nursery:

        async def write() -> None:
            for offset in range(0, len(DATA), 256 * 1024):
                await stream.write(DATA[offset : offset + 256 * 1024])
            await stream.drain()

        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        assert stream.position <= 2 * MiB
        assert budget.used <= budget.limit
        writer.open_gate.set()
    assert writer.stored == DATA
    assert budget.used == 0


@pytest.mark.trio
async def test_two_writers_that_fill_the_budget_both_get_on() -> None:
    """Each may always hold the part it is filling."""
    budget = Budget(MiB)
    writers = [CollectingWriter(MiB), CollectingWriter(MiB)]

    async def write(writer: CollectingWriter) -> None:
        async with writing(writer, budget) as (stream, _):
            for offset in range(0, len(DATA), 100_000):
                await stream.write(DATA[offset : offset + 100_000])
            await stream.drain()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for writer in writers:
                nursery.start_soon(write, writer)
    assert [writer.stored for writer in writers] == [DATA, DATA]
    assert budget.used == 0


@pytest.mark.trio
async def test_what_is_cached_gives_way_to_what_is_written() -> None:
    budget = Budget(2 * MiB)
    budget.take(2 * MiB)
    asked: list[int] = []

    def reclaim(wanted: int) -> int:
        asked.append(wanted)
        budget.used -= wanted
        return wanted

    budget.reclaim = reclaim
    writer = CollectingWriter(100_000)
    async with writing(writer, budget) as (stream, _):
        await stream.write(DATA[: 3 * MiB])
        await stream.drain()
    assert asked
    assert writer.stored == DATA[: 3 * MiB]


@pytest.mark.trio
async def test_giving_up_ends_a_writer_that_waits() -> None:
    writer = CollectingWriter(MiB)
    writer.open_gate.clear()
    budget = Budget(MiB)
    async with writing(writer, budget) as (stream, _), trio.open_nursery() as nursery:
        failed = trio.Event()

        async def write() -> None:
            with pytest.raises(BrokenPipeError):
                await stream.write(DATA)
            failed.set()

        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(stream.aclose)
        await failed.wait()
        writer.open_gate.set()
    assert budget.used == 0
