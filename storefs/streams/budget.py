# SPDX-License-Identifier: Apache-2.0
"""One byte budget for the whole mount: cached blocks and parts on their way out."""

from collections.abc import Callable

import trio


class Budget:
    """*limit* bytes, shared. What is cached gives way to what is being written.

    It is an account and not an allocator: `take` never refuses, `fits` says
    whether it would be within the limit. Who must go on to let others go on
    (the only part of a writer, the block somebody waits for) takes without
    asking; everybody else waits.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        #: evicts cached bytes and says how many; set by the block cache
        self.reclaim: Callable[[int], int] = lambda wanted: 0
        self._given = trio.Event()

    def fits(self, length: int) -> bool:
        """Whether *length* more bytes are within the limit, evicting what lies idle."""
        excess = self.used + length - self.limit
        if excess > 0:
            self.reclaim(excess)
        return self.used + length <= self.limit

    def take(self, length: int) -> None:
        self.used += length

    def give(self, length: int) -> None:
        self.used -= length
        self._given.set()
        self._given = trio.Event()

    async def wait_given(self) -> None:
        """Until somebody gives bytes back."""
        await self._given.wait()
