# SPDX-License-Identifier: Apache-2.0
"""What an earlier storefs left in the spool, and what becomes of it at the start.

A promise is taken up if the store's URI for its name is the recorded one. Of two for
one name the later one holds; one that was about to be replaced, or deleted, ends so.
"""

import logging

import trio

from storefs import exceptions
from storefs.driver import Store
from storefs.streams.engine import Engine
from storefs.streams.names import Names, now_info
from storefs.streams.same_image import delete_version, stored_already
from storefs.streams.spool import Record
from storefs.streams.spooled import Spooled
from storefs.streams.spooling import Left, Spooling
from storefs.tree import Tree

log = logging.getLogger(__name__)


class Recovery:
    """The start of one mount, before the first request."""

    def __init__(self, engine: Engine, names: Names, tree: Tree, spooling: Spooling) -> None:
        self._engine = engine
        self._names = names
        self._tree = tree
        self._spooling = spooling

    async def recover(self) -> None:
        """Take up what an earlier storefs promised these stores."""
        try:
            left = await self._engine.spooling.run(lambda: list(self._engine.spool.leftovers()))
        except OSError as exc:
            log.warning("What is left in the spool could not be read: %s", exc)
            return
        for one in sorted(left, key=lambda one: one[1].sealed_ns, reverse=True):
            if not await self._adopt(one):
                await self._engine.spooling.run(one[0].unlock)

    async def _adopt(self, left: Left) -> bool:
        _, record, layers = left
        store = self._engine.stores.get(record.store)
        if store is None or not _is_the_same(store, record):
            log.warning(
                "%s is written and not stored: mount the store %s that keeps it in %s",
                record.image,
                record.store,
                record.uri,
            )
        elif record.successor is not None and await self._succeeded(store, record):
            await self._remove(left)
            log.info("%s: %s: removed what was replaced after it", record.store, record.image)
            return True
        elif record.deleted and await self._deleted(store, record):
            await self._remove(left)
            log.info("%s: %s: deleted, as was begun before a crash", record.store, record.image)
            return True
        elif (node := self._tree.find(record.store, record.image)) and node.pending is not None:
            if (newer := self._spooling.find(node)) is not None:
                await self._drop(left, newer)
                return True
            log.warning("%s: %s: written twice; the older waits", record.store, record.image)
        else:
            if node is not None:
                self._names.gone(node)
            info = now_info(record.image)
            node = self._tree.add(record.store, record.image, info, trio.current_time())
            log.info("%s: %s: written before a crash; storing it", record.store, record.image)
            self._spooling.take_up(node, left)
            return True
        for layer in layers:
            layer.close(keep=True)
        return False

    async def _drop(self, left: Left, newer: Spooled) -> None:
        """storefs ended after *newer* was promised and before *left* was withdrawn."""
        _, record, _ = left
        if record.uploaded is not None:
            await newer.outdate(record)
        await self._remove(left)
        log.info("%s: %s: removed what was replaced after it", record.store, record.image)

    async def _succeeded(self, store: Store, record: Record) -> bool:
        """Was what was about to replace it stored?"""
        assert record.successor is not None
        try:
            found = await self._engine.threads(store).run(
                stored_already, store, record.image, record.successor
            )
        except Exception as exc:  # noqa: BLE001 - the next start asks again
            log.warning("%s: %s: could not be asked for: %s", record.store, record.image, exc)
            return False
        return found is not None

    async def _deleted(self, store: Store, record: Record) -> bool:
        """Finish a deletion; what others wrote since stays."""
        try:
            await self._engine.threads(store).run(delete_version, store, record)
        except Exception as exc:  # noqa: BLE001 - it is tried again by the next start
            log.warning("%s: %s: could not be deleted: %s", record.store, record.image, exc)
            return False
        return True

    async def _remove(self, left: Left) -> None:
        entry, _, layers = left
        for layer in layers:
            layer.close(keep=True)
        await self._engine.spooling.run(entry.remove)


def _is_the_same(store: Store, record: Record) -> bool:
    try:
        return bool(store.locate(record.image).safe_uri() == record.uri)
    except exceptions.GlanceStoreException:  # no name for it, or a broken store
        return False
