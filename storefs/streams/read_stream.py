# SPDX-License-Identifier: Apache-2.0
"""Offset reads of one open image, fetched ahead of sequential readers.

The kernel asks for pieces of up to 1 MiB. A reader that goes from start to end
gets them out of large blocks, fetched whole and ahead of time; a reader that
jumps about gets exactly what it asks for, so that 4 KiB cost one small request.
"""

import dataclasses
from collections.abc import Iterator

import trio

from storefs import exceptions
from storefs.drivers.base import Buffer, Reader
from storefs.streams.block import Block
from storefs.streams.block_cache import BlockCache, BlockKey
from storefs.streams.threads import Threads

KiB = 1024
MiB = 1024 * KiB

#: A run is sequential after this much: twice the 128 KiB of a kernel whose
#: read-ahead nobody raised, so that one request is never taken for a run.
SEQUENTIAL_AFTER = 256 * KiB

#: Blocks are this small until a run has shown itself, then as large as the reader
#: likes them.
SMALL_BLOCK = 1 * MiB
LARGE_AFTER = 4 * MiB

#: The kernel has two windows of read-ahead (8 MiB each) under way and sends them
#: out of order; this far behind or ahead still belongs to the run.
SLACK = 16 * MiB

#: How many runs one handle may have at once (several threads over one descriptor).
MAX_RUNS = 4


@dataclasses.dataclass(slots=True)
class _Run:
    """A sequential stretch: where it began, how far it came, how many blocks to fetch ahead.

    *taken* counts the bytes asked for, *served* those answered of each block.
    """

    start: int
    front: int
    large: int
    window: int = 1
    taken: int = 0
    served: dict[BlockKey, int] = dataclasses.field(default_factory=dict)

    def extends(self, offset: int) -> bool:
        return self.front - SLACK <= offset <= self.front + SLACK and offset >= self.start

    @property
    def sequential(self) -> bool:
        """Enough of it, and without holes: random reads meet by chance, but leave holes."""
        return self.taken > SEQUENTIAL_AFTER and 2 * self.taken >= self.front - self.start

    def block(self, offset: int) -> tuple[int, int]:
        """Start and length of the block around *offset*: the same all along the run."""
        large = offset - offset % self.large
        if large - self.start >= LARGE_AFTER:
            return large, self.large
        return offset - offset % SMALL_BLOCK, SMALL_BLOCK


class ReadStream:
    """One open image. `read` may be called by many tasks at once.

    *image* names the version in the cache. At most ``reader.max_concurrency``
    calls run at once.
    """

    def __init__(
        self,
        reader: Reader,
        image: tuple[str, str, str],
        threads: Threads,
        cache: BlockCache,
        nursery: trio.Nursery,
    ) -> None:
        self._reader = reader
        self._image = image
        self._threads = threads
        self._cache = cache
        self._nursery = nursery
        self._lane = trio.CapacityLimiter(max(1, reader.max_concurrency))
        self._runs: list[_Run] = []
        self._prefetches = 0
        self._idle = trio.Event()
        self.size = reader.info.size

    @property
    def version(self) -> str:
        """Which version of the image this is."""
        return self._image[2]

    async def read(self, offset: int, length: int) -> Buffer:
        """Exactly *length* bytes from *offset*, fewer only at the end of the image."""
        if self.size is not None:
            length = min(length, self.size - offset)
        if length <= 0:
            return b""
        run = self._follow(offset, length)
        if not run.sequential and self.size is not None:
            return await self._exact(offset, length)
        self._look_ahead(run)
        return await self._from_blocks(run, offset, length)

    async def aclose(self) -> None:
        """Wait for what is being fetched, then let go of the image."""
        while self._prefetches:
            await self._idle.wait()
        for run in self._runs:
            for key in run.served:
                self._cache.drop(key)
        await self._threads.run(self._reader.close)

    def _follow(self, offset: int, length: int) -> _Run:
        """The run this request belongs to, moved on; the latest one is first."""
        for run in self._runs:
            if run.extends(offset):
                self._runs.remove(run)
                break
        else:
            run = _Run(offset, offset, self._reader.block_size)
        run.front = max(run.front, offset + length)
        run.taken += length
        self._runs.insert(0, run)
        del self._runs[MAX_RUNS:]
        return run

    async def _exact(self, offset: int, length: int) -> Buffer:
        for size in (self._reader.block_size, SMALL_BLOCK):
            start = offset - offset % size
            block = self._cache.peek(self._key(start, size))
            if block is not None and offset + length <= start + size:
                return block.cut(offset - start, length)
        key = BlockKey(self._image, offset, length)
        block = await self._cache.get(key, lambda: self._fetch(key), keep=False)
        return block.cut(0, length)

    async def _from_blocks(self, run: _Run, offset: int, length: int) -> Buffer:
        first = await self._piece(run, offset, length)
        if len(first) in (0, length):
            return first
        pieces, have = [first], len(first)
        while have < length and pieces[-1]:
            pieces.append(await self._piece(run, offset + have, length - have))
            have += len(pieces[-1])
        return b"".join(pieces)

    async def _piece(self, run: _Run, offset: int, length: int) -> Buffer:
        """What one block has of it; empty past the end of an image of unknown size."""
        start, size = run.block(offset)
        key = self._key(start, size)
        if self.size is not None and not self._cache.welcome(key):
            # fetching a block that cannot be kept would fetch it for every request
            return await self._exact(offset, min(length, start + size - offset))
        block = await self._cache.get(key, lambda: self._fetch(key))
        piece = block.cut(offset - start, length)
        self._served(run, key, len(piece))
        return piece

    def _served(self, run: _Run, key: BlockKey, length: int) -> None:
        """Let go of a block of which everything was answered: the kernel has its pages."""
        run.served[key] = run.served.get(key, 0) + length
        if run.served[key] >= key.length:
            del run.served[key]
            self._cache.drop(key)

    def _key(self, start: int, size: int) -> BlockKey:
        if self.size is not None:
            size = min(size, self.size - start)
        return BlockKey(self._image, start, size)

    async def _fetch(self, key: BlockKey) -> Block:
        async with self._lane:
            block = Block(await self._threads.run(self._reader.preadv, key.length, key.offset))
        if self.size is not None and len(block) != key.length:
            raise exceptions.BackendException(
                f"{key.image[1]}: {len(block)} bytes at {key.offset} where {key.length} are"
            )
        return block

    def _look_ahead(self, run: _Run) -> None:
        """Fetch the blocks after the run's front."""
        if self.size is None:
            return
        for key in self._ahead(run):
            if self._cache.wanted(key):
                run.window = min(run.window * 2, self._reader.max_concurrency)
                self._prefetches += 1
                run.served.setdefault(key, 0)
                self._nursery.start_soon(self._prefetch, key)

    def _ahead(self, run: _Run) -> Iterator[BlockKey]:
        assert self.size is not None
        offset = run.front
        for _ in range(run.window):
            start, length = run.block(offset)
            offset = start + length
            if offset >= self.size:
                return
            yield self._key(*run.block(offset))

    async def _prefetch(self, key: BlockKey) -> None:
        try:
            await self._cache.get(key, lambda: self._fetch(key))
        except Exception:  # noqa: BLE001 - who needs the block meets the error
            pass
        finally:
            self._prefetches -= 1
            self._idle.set()
            self._idle = trio.Event()
