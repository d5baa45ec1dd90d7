# SPDX-License-Identifier: Apache-2.0
"""Sequential writes: hashed in order and stored in parallel while the writer goes on.

Each piece the kernel brings goes, uncopied, to one lane a digest; pieces that
fill a part go to the store lanes, of which there are as many as the writer
allows. A lane takes all that has gathered while it was busy in one thread hop.
What is outstanding is held in the mount's byte budget: when that is full,
`write` waits, and the kernel with it. The first error stops every lane, and is
raised by each later call.
"""

import math
from collections.abc import Callable
from typing import Any

import trio

from storefs.drivers.base import Buffer
from storefs.streams.budget import Budget
from storefs.streams.threads import Threads
from storefs.upload import Upload

#: Zeros for gaps, shared by all; no part of any budget.
ZEROS = memoryview(bytes(1024 * 1024))

#: How far the writer may be ahead of the hashes beside what the store needs, bytes:
#: a few hops' worth; more only leaves the processor's caches.
HASH_AHEAD = 8 * 1024 * 1024

#: How much one hop to a hash thread takes at most, in pieces.
BATCH = 16

Piece = Buffer


class WriteStream:
    """The bytes of one upload. `write` and `skip` are called by one task at a time."""

    def __init__(
        self,
        upload: Upload,
        threads: Threads,
        hashing: Threads,
        budget: Budget,
        nursery: trio.Nursery,
    ) -> None:
        self._upload = upload
        self._threads = threads
        self._hashing = hashing
        self._budget = budget
        self._error: Exception | None = None
        self._part: list[Piece] = []
        self._part_length = 0
        self._part_written = False
        self._progress = trio.Event()
        self._done = [0] * (len(upload.lanes) + 1)
        self._returned = 0
        self.drained = False
        self._running = 0
        self._hash_lanes = [self._start_hash_lane(nursery, n) for n in range(len(upload.lanes))]
        self._nursery = nursery
        self._store_lanes = 0
        self._parts, self._parts_taken = trio.open_memory_channel[Any](math.inf)

    @property
    def position(self) -> int:
        """How many bytes were written, gaps included."""
        return self._upload.position

    async def write(self, data: Piece) -> None:
        """Take *data* at the position; waits while the budget is used up.

        Nobody may change *data* afterwards: it is not copied.
        """
        view = memoryview(data)
        while view:
            view = view[await self._take(view, written=True) :]

    async def skip(self, length: int) -> None:
        """Zeros that nobody wrote, *length* bytes of them."""
        while length > 0:
            length -= await self._take(ZEROS[:length], written=False)

    async def drain(self) -> None:
        """Until everything is hashed and stored; nothing can be written afterwards."""
        if self._part:
            self._send_part()
        await self._ended()
        self._raise()
        self.drained = True

    async def aclose(self) -> None:
        """Stop the lanes without regard to what they hold."""
        self._fail(BrokenPipeError("the upload was given up"))
        await self._ended()

    async def _ended(self) -> None:
        """Until every lane has come to the end of what it was given."""
        for lane in (*self._hash_lanes, self._parts):
            lane.close()
        self._parts_taken.close()  # the lanes have theirs
        while self._running:
            await self._progress.wait()

    async def _take(self, view: memoryview, *, written: bool) -> int:
        """Give one piece, no longer than the part has room, to the lanes."""
        part = self._upload.writer.part_size(self.position - self._part_length)
        piece = view[: part - self._part_length]
        await self._make_room(len(piece), part)
        self._upload.take(len(piece))
        for lane in self._hash_lanes:
            lane.send_nowait(piece)
        self._part.append(piece)
        self._part_length += len(piece)
        self._part_written |= written
        if self._part_length == part:
            self._send_part()
        return len(piece)

    async def _make_room(self, length: int, part: int) -> None:
        """Wait for the budget; but a writer may always hold the part it is filling."""
        while True:
            self._raise()
            held = self.position - self._returned + length
            if held <= part or (held <= self._window(part) and self._budget.fits(length)):
                self._budget.take(length)
                return
            await self._budget.wait_given()

    def _window(self, part: int) -> int:
        """What one stream may have outstanding: a part for each lane, one being filled."""
        return part * (self._upload.writer.max_concurrency + 1) + HASH_AHEAD

    def _send_part(self) -> None:
        offset = self.position - self._part_length
        pieces = self._part if self._part_written else None
        self._start_store_lane()
        self._parts.send_nowait((pieces, self._part_length, offset))
        self._part, self._part_length, self._part_written = [], 0, False

    def _start_hash_lane(self, nursery: trio.Nursery, number: int) -> trio.MemorySendChannel[Piece]:
        send, receive = trio.open_memory_channel[Piece](math.inf)
        nursery.start_soon(self._run, self._hash_lane, receive, number)
        self._running += 1
        return send

    def _start_store_lane(self) -> None:
        """One more for each part, up to what the writer allows: most images have one part."""
        if self._store_lanes < self._upload.writer.max_concurrency:
            self._store_lanes += 1
            self._nursery.start_soon(self._run, self._store_lane, self._parts_taken.clone())
            self._running += 1

    async def _run(self, lane: Callable[..., Any], *args: Any) -> None:
        """One lane to its end; its error is kept for the writer, and stops the others."""
        try:
            await lane(*args)
        except Exception as exc:  # noqa: BLE001 - raised by the next write or drain
            self._fail(exc)
        finally:
            self._running -= 1
            self._wake()

    async def _hash_lane(self, pieces: trio.MemoryReceiveChannel[Piece], number: int) -> None:
        update = self._upload.lanes[number]
        async for piece in pieces:
            batch = [piece, *_waiting(pieces)]
            if self._error is None:
                await self._hashing.run(_update, update, batch)
                self._count(number, sum(map(len, batch)))
            del piece, batch  # who waits for the next ones does not keep these in memory

    async def _store_lane(self, parts: trio.MemoryReceiveChannel[Any]) -> None:
        async for pieces, length, offset in parts:
            if self._error is None:
                await self._threads.run(self._store, pieces, length, offset)
                self._count(-1, length)
            del pieces  # as above: lanes are many, and idle where the store is fast

    def _store(self, pieces: list[Piece] | None, length: int, offset: int) -> None:
        if pieces is None:
            self._upload.writer.skip(length, offset)
            return
        views = [memoryview(piece).toreadonly() for piece in pieces]
        pieces.clear()  # the writer's alone now: it decides how long they stay
        self._upload.store_pieces(views, offset)

    def _count(self, lane: int, length: int) -> None:
        """A lane has done *length* bytes; what all have done goes back to the budget."""
        self._done[lane] += length
        returned = min(self._done)
        if returned > self._returned:
            self._budget.give(returned - self._returned)
            self._returned = returned

    def _fail(self, error: Exception) -> None:
        if self._error is not None:
            return
        self._error = error
        self._budget.give(self.position - self._returned)
        self._returned = self.position
        self._done = [0] * len(self._done)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _wake(self) -> None:
        self._progress.set()
        self._progress = trio.Event()


def _waiting(pieces: trio.MemoryReceiveChannel[Piece]) -> list[Piece]:
    batch: list[Piece] = []
    try:
        while len(batch) < BATCH:
            batch.append(pieces.receive_nowait())
    except (trio.WouldBlock, trio.EndOfChannel):
        pass
    return batch


def _update(update: Callable[[memoryview], Any], batch: list[Piece]) -> None:
    for piece in batch:
        update(memoryview(piece))
