# SPDX-License-Identifier: Apache-2.0
"""Last closes that are under way.

The kernel asks for the last close on the side: close(2) has returned by then.
An image nobody wrote a byte to is published there (``touch``, ``: > image``),
so whoever uses the name next waits for it.
"""

import contextlib
from collections.abc import Iterator

import trio


class Closing:
    """Names whose last close is being answered."""

    def __init__(self) -> None:
        self._under_way: dict[object, tuple[str, str, trio.Event]] = {}

    @property
    def under_way(self) -> bool:
        """Is there any?"""
        return bool(self._under_way)

    @contextlib.contextmanager
    def of(self, store_id: str, name: str) -> Iterator[None]:
        """The block is the last close of *name*."""
        key, done = object(), trio.Event()
        self._under_way[key] = store_id, name, done
        try:
            yield
        finally:
            del self._under_way[key]
            done.set()

    async def finished(self, store_id: str, name: str | None = None) -> None:
        """Until no close of *name*, or in the whole store, is under way that is now."""
        for store, image, done in list(self._under_way.values()):
            if store == store_id and name in (None, image):
                await done.wait()
