# SPDX-License-Identifier: Apache-2.0
"""What an upload keeps in memory: no more than what is on its way."""

import weakref

import trio

from storefs.drivers.memory import MemoryDriver
from storefs.streams.budget import Budget
from storefs.streams.threads import Threads
from storefs.streams.write_stream import WriteStream
from storefs.upload import Upload
from tests.contract.harness import configured

PART = 64 * 1024


class _Piece(bytearray):
    """Bytes one can be told the end of."""


async def _written_and_forgotten(pieces_a_part: int) -> None:
    driver = configured(MemoryDriver, memory_store_part_size=PART)
    upload = Upload(driver.create(driver.locate("image"), None))
    async with trio.open_nursery() as nursery:
        stream = WriteStream(upload, Threads(8), Threads(2), Budget(64 * PART), nursery)
        pieces = [_Piece(PART // pieces_a_part) for _ in range(2 * pieces_a_part)]
        ends = [weakref.ref(piece) for piece in pieces]
        while pieces:
            await stream.write(pieces.pop())
        with trio.fail_after(60):
            while any(end() is not None for end in ends):
                await trio.sleep(0.01)
        await stream.drain()


def test_idle_lanes_keep_nothing_of_what_they_did() -> None:
    trio.run(_written_and_forgotten, 1)
    trio.run(_written_and_forgotten, 4)
