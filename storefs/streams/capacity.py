# SPDX-License-Identifier: Apache-2.0
"""How much room the stores have, known without waiting for them."""

import logging

import trio

from storefs.driver import Store
from storefs.drivers.base import Capacity, SupportsCapacity
from storefs.streams.engine import Engine
from storefs.streams.names import PATIENCE

log = logging.getLogger(__name__)

#: How old an answer may be before the store is asked again, seconds.
FRESH = 1.0


class Capacities:
    """The last answer of each store; asked again on the side when it is old."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[Store, Capacity | None] = {}
        self._asked_at: dict[Store, float] = {}
        self._asking: set[Store] = set()

    async def of(self, store: Store) -> Capacity | None:
        """What *store* said last; None if it never did, or cannot say."""
        if not store.supports(SupportsCapacity):
            return None
        age = trio.current_time() - self._asked_at.get(store, float("-inf"))
        if age > FRESH and store not in self._asking:
            self._asking.add(store)
            done = trio.Event()
            self._engine.nursery.start_soon(self._ask, store, done)
            with trio.move_on_after(PATIENCE):
                await done.wait()
        return self._known.get(store)

    async def _ask(self, store: Store, done: trio.Event) -> None:
        driver = store.driver
        assert isinstance(driver, SupportsCapacity)
        try:
            self._known[store] = await self._engine.threads(store).run(driver.capacity)
            self._asked_at[store] = trio.current_time()
        except Exception as exc:  # noqa: BLE001 - the last answer stands
            log.debug("%s: capacity unknown: %s", store.backend_group, exc)
        finally:
            self._asking.discard(store)
            done.set()
