# SPDX-License-Identifier: Apache-2.0
"""Any sequence of reads gives slices, and costs no more than it must."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from storefs import exceptions
from storefs.streams.block_cache import BlockCache
from storefs.streams.budget import Budget
from storefs.streams.read_stream import SEQUENTIAL_AFTER, SMALL_BLOCK, ReadStream
from storefs.streams.threads import Threads
from tests.streams.drivers import IMAGE, CountingReader

KiB = 1024
MiB = 1024 * KiB

#: Of every class: none, less than a page, around the blocks, several large ones.
SIZES = [0, 1, 4096, 100_000, MiB - 1, MiB, MiB + 1, 8 * MiB, 8 * MiB + 1, 21 * MiB + 17]

DATA = random.Random(1).randbytes(max(SIZES))


@asynccontextmanager
async def opened(reader: CountingReader, budget: Budget | None = None) -> AsyncIterator[ReadStream]:
    cache = BlockCache(budget or Budget(64 * MiB))
    async with trio.open_nursery() as nursery:
        stream = ReadStream(reader, IMAGE, Threads(32), cache, nursery)
        yield stream
        await stream.aclose()


async def read_all(stream: ReadStream, step: int) -> bytes:
    pieces = []
    while piece := await stream.read(sum(map(len, pieces)), step):
        pieces.append(bytes(piece))
    return b"".join(pieces)


@pytest.mark.trio
@pytest.mark.parametrize("tells_size", [True, False])
@pytest.mark.parametrize("size", SIZES)
async def test_from_start_to_end(size: int, tells_size: bool) -> None:
    reader = CountingReader(DATA[:size], tells_size=tells_size)
    async with opened(reader) as stream:
        assert await read_all(stream, 128 * KiB) == DATA[:size]
        assert bytes(await stream.read(size, 100)) == b""
        assert bytes(await stream.read(size + 5 * MiB, 100)) == b""
    assert reader.closed


@pytest.mark.parametrize("tells_size", [True, False])
@given(
    size=st.sampled_from(SIZES),
    reads=st.lists(
        st.tuples(
            st.one_of(st.integers(0, 22 * MiB), st.sampled_from(SIZES)),
            st.sampled_from([1, 4096, 65536, 128 * KiB, 256 * KiB, MiB, 3 * MiB]),
            st.integers(1, 6),
        ),
        max_size=8,
    ),
    budget=st.sampled_from([1, 2 * MiB, 64 * MiB]),
)
@settings(deadline=None, max_examples=60)
def test_any_reads_are_slices(
    tells_size: bool, size: int, reads: list[tuple[int, int, int]], budget: int
) -> None:
    """Each is an offset, a length, and how often it goes on from there."""

    async def main() -> None:
        reader = CountingReader(DATA[:size], tells_size=tells_size)
        async with opened(reader, Budget(budget)) as stream:
            for start, length, times in reads:
                for offset in range(start, start + times * length, length):
                    expected = DATA[:size][offset : offset + length]
                    assert bytes(await stream.read(offset, length)) == expected

    trio.run(main)


@pytest.mark.trio
async def test_reads_at_once_and_out_of_order_are_slices() -> None:
    reader = CountingReader(DATA)
    offsets = list(range(0, len(DATA), 256 * KiB))
    random.Random(3).shuffle(offsets)
    async with opened(reader) as stream, trio.open_nursery() as nursery:

        async def check(offset: int) -> None:
            assert bytes(await stream.read(offset, 256 * KiB)) == DATA[offset : offset + 256 * KiB]

        for offset in offsets:
            nursery.start_soon(check, offset)
    assert reader.most_at_once <= reader.max_concurrency


@pytest.mark.trio
async def test_a_random_read_fetches_what_it_asks_for() -> None:
    reader = CountingReader(DATA)
    offsets = [7 * MiB, 3 * MiB + 5, 15 * MiB, 12, 20 * MiB]
    async with opened(reader) as stream:
        for offset in offsets:
            assert bytes(await stream.read(offset, 4096)) == DATA[offset : offset + 4096]
    assert reader.calls == [(offset, 4096) for offset in offsets]


@pytest.mark.trio
async def test_a_sequential_read_fetches_every_byte_once() -> None:
    """But for the start, fetched before the run shows."""
    reader = CountingReader(DATA)
    async with opened(reader) as stream:
        assert await read_all(stream, 128 * KiB) == DATA
    assert reader.repeated == []
    assert len(DATA) <= reader.fetched <= len(DATA) + SEQUENTIAL_AFTER
    # large blocks: not a request for each of the kernel's
    assert len(reader.calls) < 15


@pytest.mark.trio
async def test_the_window_grows_to_what_the_reader_allows_and_a_seek_resets_it() -> None:
    reader = CountingReader(DATA, max_concurrency=4)
    async with opened(reader) as stream:
        for offset in range(0, MiB, 128 * KiB):
            await stream.read(offset, 128 * KiB)
        while stream._prefetches:  # they are in threads, for which no task is awaited
            await trio.sleep(0.001)
        before = reader.fetched
        assert before > 4 * SMALL_BLOCK
        await stream.read(20 * MiB, 4096)
        assert reader.fetched == before + 4096
        assert (20 * MiB, 4096) in reader.calls


@pytest.mark.trio
async def test_a_block_is_fetched_once_however_many_wait() -> None:
    reader = CountingReader(DATA, max_concurrency=8)
    async with opened(reader) as stream:
        for offset in range(0, MiB, 128 * KiB):
            await stream.read(offset, 128 * KiB)
        reader.open_gate.clear()
        answers: list[bytes] = []

        async def wait() -> None:
            answers.append(bytes(await stream.read(MiB + 4096, 4096)))

        async with trio.open_nursery() as nursery:
            for _ in range(64):
                nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            reader.open_gate.set()
    assert answers == [DATA[MiB + 4096 : MiB + 8192]] * 64
    assert reader.repeated == []


@pytest.mark.trio
@pytest.mark.parametrize("error", [exceptions.TimeoutError(timeout=5), exceptions.ImageChanged()])
async def test_an_error_goes_to_who_needs_the_block_and_is_not_kept(error: Exception) -> None:
    reader = CountingReader(DATA)
    reader.errors = {SMALL_BLOCK: error}
    async with opened(reader) as stream:
        for offset in range(0, MiB, 128 * KiB):
            await stream.read(offset, 128 * KiB)  # meets the error ahead of time: no matter
        with pytest.raises(type(error)) as caught:
            await stream.read(MiB, 128 * KiB)
        assert caught.value is error
        reader.errors = {}
        assert bytes(await stream.read(MiB, 128 * KiB)) == DATA[MiB : MiB + 128 * KiB]


@pytest.mark.trio
async def test_a_reader_that_gives_too_little_is_an_error_and_no_shorter_image() -> None:
    reader = CountingReader(DATA)
    reader.data = DATA[: 10 * MiB]
    async with opened(reader) as stream:
        with pytest.raises(exceptions.BackendException):
            await stream.read(11 * MiB, 4096)


@pytest.mark.trio
@pytest.mark.parametrize("limit", [1, 3 * MiB, 20 * MiB])
async def test_the_budget_holds_and_is_given_back(limit: int) -> None:
    """Above it only what readers wait for: `max_concurrency` blocks each."""
    budget = Budget(limit)
    most = 0
    take: Callable[[int], None] = budget.take

    def watched(length: int) -> None:
        nonlocal most
        take(length)
        most = max(most, budget.used)

    budget.take = watched  # type: ignore[method-assign]
    reader = CountingReader(DATA, max_concurrency=2)
    async with opened(reader, budget) as stream:
        assert await read_all(stream, 256 * KiB) == DATA
    assert most <= limit + 8 * MiB
    assert budget.used == 0


@pytest.mark.trio
async def test_closing_waits_for_what_is_being_fetched() -> None:
    reader = CountingReader(DATA)
    async with opened(reader) as stream:
        for offset in range(0, 3 * MiB, 128 * KiB):
            await stream.read(offset, 128 * KiB)
    assert reader.closed  # and no pread met a closed reader
