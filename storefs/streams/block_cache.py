# SPDX-License-Identifier: Apache-2.0
"""Blocks of images, least recently used first out, each fetched once."""

import collections
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio

from storefs.streams.block import Block
from storefs.streams.budget import Budget

#: A block that was fetched or used less than this ago is not evicted, seconds:
#: its reader is on the way. Evicting it would only have it fetched again.
FRESH = 1.0


class BlockKey(NamedTuple):
    """Which bytes: of one version of one image, from *offset*, *length* long."""

    image: tuple[str, str, str]
    offset: int
    length: int


class _Fetch:
    """A fetch under way; *error* or *block* is set when *done* is."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.block: Block | None = None
        self.error: Exception | None = None


class BlockCache:
    """Blocks within the mount's byte budget.

    However many wait for a block, it is fetched once; an error goes to all who
    waited and is not kept. Keys hold the version, so a new version never meets
    old blocks.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._blocks: collections.OrderedDict[BlockKey, Block] = collections.OrderedDict()
        self._used: dict[BlockKey, float] = {}
        self._fetches: dict[BlockKey, _Fetch] = {}
        budget.reclaim = self._evict

    def peek(self, key: BlockKey) -> Block | None:
        """The block, if it is here; no waiting."""
        block = self._blocks.get(key)
        if block is not None:
            self._blocks.move_to_end(key)
            self._used[key] = time.monotonic()
        return block

    def welcome(self, key: BlockKey) -> bool:
        """Whether it is here or coming, or there is room to keep it."""
        return key in self._blocks or key in self._fetches or self._budget.fits(key.length)

    def wanted(self, key: BlockKey) -> bool:
        """Whether a prefetch of it would be of use: not here, not coming, and room."""
        return (
            key not in self._blocks and key not in self._fetches and self._budget.fits(key.length)
        )

    async def get(
        self, key: BlockKey, fetch: Callable[[], Awaitable[Block]], *, keep: bool = True
    ) -> Block:
        """The block, fetched if need be; with ``keep=False`` only for those who wait."""
        while (block := self.peek(key)) is None:
            under_way = self._fetches.get(key)
            if under_way is None:
                return await self._fetch(key, fetch, keep)
            await under_way.done.wait()
            if under_way.error is not None:
                raise under_way.error
            if under_way.block is not None:
                return under_way.block
        return block

    def drop(self, key: BlockKey) -> None:
        """Let go of a block whose reader has passed it."""
        block = self._blocks.pop(key, None)
        if block is not None:
            del self._used[key]
            self._budget.give(len(block))

    async def _fetch(
        self, key: BlockKey, fetch: Callable[[], Awaitable[Block]], keep: bool
    ) -> Block:
        under_way = self._fetches[key] = _Fetch()
        keep = self._budget.fits(key.length) and keep
        self._budget.take(key.length)
        kept = 0
        try:
            block = under_way.block = await fetch()
            if keep:
                self._blocks[key] = block
                self._used[key] = time.monotonic()
                kept = len(block)
            return block
        except Exception as exc:
            under_way.error = exc
            raise
        finally:
            self._budget.give(key.length - kept)
            del self._fetches[key]
            under_way.done.set()

    def _evict(self, wanted: int) -> int:
        freed, idle_since = 0, time.monotonic() - FRESH
        while self._blocks and freed < wanted:
            oldest = next(iter(self._blocks))
            if self._used[oldest] > idle_since:
                break
            del self._used[oldest]
            freed += len(self._blocks.pop(oldest))
        self._budget.used -= freed
        return freed
