# SPDX-License-Identifier: Apache-2.0
"""The budget's account, and the cache that lives on it."""

import pytest
import trio
import trio.testing

from storefs.streams import block_cache
from storefs.streams.block_cache import BlockCache, BlockKey
from storefs.streams.budget import Budget
from tests.streams.drivers import IMAGE


def key(offset: int, length: int = 10, image: tuple[str, str, str] = IMAGE) -> BlockKey:
    return BlockKey(image, offset, length)


async def fetch_ten() -> bytes:
    return b"0123456789"


@pytest.mark.trio
async def test_budget_counts_and_wakes_who_waits() -> None:
    budget = Budget(100)
    budget.take(80)
    assert budget.fits(20)
    assert not budget.fits(21)
    woken = []

    async def wait() -> None:
        await budget.wait_given()
        woken.append(budget.used)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        budget.give(30)
    assert woken == [50, 50, 50]


@pytest.mark.trio
async def test_a_block_is_kept_until_it_is_dropped() -> None:
    budget = Budget(100)
    cache = BlockCache(budget)
    assert cache.peek(key(0)) is None
    assert cache.wanted(key(0))
    assert await cache.get(key(0), fetch_ten) == b"0123456789"
    assert cache.peek(key(0)) == b"0123456789"
    assert not cache.wanted(key(0))
    assert budget.used == 10
    cache.drop(key(0))
    cache.drop(key(0))
    assert cache.peek(key(0)) is None
    assert budget.used == 0


@pytest.mark.trio
async def test_another_version_is_another_block() -> None:
    cache = BlockCache(Budget(100))
    await cache.get(key(0), fetch_ten)
    assert cache.peek(key(0, image=("store", "image", "other"))) is None


@pytest.mark.trio
async def test_not_kept_where_that_is_not_wanted_or_there_is_no_room() -> None:
    budget = Budget(15)
    cache = BlockCache(budget)
    await cache.get(key(0), fetch_ten, keep=False)
    assert cache.peek(key(0)) is None
    budget.take(10)
    assert await cache.get(key(0), fetch_ten) == b"0123456789"
    assert cache.peek(key(0)) is None
    assert budget.used == 10


@pytest.mark.trio
async def test_the_least_recently_used_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_cache, "FRESH", -1)
    budget = Budget(30)
    cache = BlockCache(budget)
    for offset in (0, 10, 20):
        await cache.get(key(offset), fetch_ten)
    cache.peek(key(0))
    await cache.get(key(30), fetch_ten)
    there = [offset for offset in (0, 10, 20, 30) if cache.peek(key(offset)) is not None]
    assert there == [0, 20, 30]
    assert budget.used == 30


@pytest.mark.trio
async def test_a_cancelled_fetch_leaves_the_others_their_block() -> None:
    """Who comes after it fetches anew, once."""
    cache = BlockCache(Budget(100))
    fetches = 0
    answers: list[object] = []

    async def never() -> bytes:
        nonlocal fetches
        fetches += 1
        await trio.sleep_forever()
        raise AssertionError

    async def fetch() -> bytes:
        nonlocal fetches
        fetches += 1
        return await fetch_ten()

    async def wait() -> None:
        answers.append(await cache.get(key(0), fetch))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                inner.start_soon(cache.get, key(0), never)
                await trio.testing.wait_all_tasks_blocked()
                for _ in range(5):
                    nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
    assert answers == [b"0123456789"] * 5
    assert fetches == 2


@pytest.mark.trio
async def test_a_failed_fetch_fails_all_who_waited_and_nobody_after() -> None:
    budget = Budget(100)
    cache = BlockCache(budget)
    gate = trio.Event()
    failed = 0

    async def fail() -> bytes:
        await gate.wait()
        raise OSError("on purpose")

    async def wait() -> None:
        nonlocal failed
        with pytest.raises(OSError, match="on purpose"):
            await cache.get(key(0), fail)
        failed += 1

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
    assert failed == 10
    assert budget.used == 0
    assert await cache.get(key(0), fetch_ten) == b"0123456789"
