# SPDX-License-Identifier: Apache-2.0
"""The one door from trio to code that blocks."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Threads:
    """At most *limit* calls at once, so that one store's stall is its own.

    A hop costs some 70 to 100 us, which is noise for a block of a megabyte and
    a quarter of the time of a 128 KiB request: hop once a block. Cancelling the
    caller abandons the thread; drivers return within their time-outs.
    """

    def __init__(self, limit: int) -> None:
        self._limiter = trio.CapacityLimiter(limit)

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        return await trio.to_thread.run_sync(
            function, *args, limiter=self._limiter, abandon_on_cancel=True
        )
