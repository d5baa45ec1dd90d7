# SPDX-License-Identifier: Apache-2.0
"""From names to images: what a store has to be asked, and what is known already.

What is known is answered at once. If it is older than the attribute time-out
the store is asked again on the side, and the answer waits for it only as long
as a healthy store needs: one that is dead delays nobody who knows the name.
"""

import collections
import logging
import time
from collections.abc import Callable

import trio

from storefs import exceptions
from storefs.driver import Store
from storefs.drivers.base import ImageInfo
from storefs.streams.engine import Engine
from storefs.tree import Directory, Node, Tree

log = logging.getLogger(__name__)

#: Questions about known names a store is asked at once; more would keep those waiting
#: who need an answer.
REFRESHES = 8

#: How long a store that did not answer is not asked for names in the root, seconds.
RETRY_AFTER = 5.0

#: How long a known name waits for news of it, seconds: several times what a
#: request in the same building takes, and not yet felt by who types `ls`.
PATIENCE = 0.05

#: How long a name that was not there is not asked for again, seconds: who creates a file
#: looks for it first, often twice. Nobody waits for another host's image in so short a time.
ABSENT = 0.1

#: How many such names are known.
ABSENCES = 1000


class Names:
    """The names of one mount. *renamed_away* is told of (directory inode, name)
    pairs the kernel should ask about again."""

    def __init__(
        self, engine: Engine, tree: Tree, renamed_away: Callable[[int, str], None]
    ) -> None:
        self._engine = engine
        self._tree = tree
        self._renamed_away = renamed_away
        self._late: set[str] = set()
        self._refreshing: collections.Counter[str] = collections.Counter()
        self._silent_until: dict[str, float] = {}
        self._absent: dict[tuple[str, str], float] = {}

    def store(self, store_id: str) -> Store:
        return self._engine.stores[store_id]

    async def lookup(self, directory: Directory, name: str) -> Directory | Node:
        """What *name* is in *directory*; `NotFound`."""
        if directory.store_id is not None:
            return await self.image(directory.store_id, name)
        if (store := self._tree.directories.get(name)) is not None:
            return store
        return await self.anywhere(name)

    async def anywhere(self, name: str) -> Node:
        """The image in the store of the highest weight that has it; `NotFound`.

        A store that cannot be asked is passed over with a warning, and not
        asked again for some seconds: the others go on.
        """
        for store_id in sorted(self._tree.directories, key=lambda s: -self.store(s).weight):
            if trio.current_time() < self._silent_until.get(store_id, 0):
                continue
            try:
                return await self.image(store_id, name)
            except exceptions.NotFound:
                continue
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is that store's
                self._pass_over(store_id, name, exc)
        raise exceptions.NotFound(image=name)

    def _pass_over(self, store_id: str, name: str, error: Exception) -> None:
        self._silent_until[store_id] = trio.current_time() + RETRY_AFTER
        if self.store(store_id).state.name != "broken":  # that was told at the start
            log.warning("%s: passed over in looking for %s: %s", store_id, name, error)

    async def image(self, store_id: str, name: str) -> Node:
        """The image *name* of one store; `NotFound`."""
        node = self._tree.find(store_id, name)
        if node is None:
            return await self._ask(store_id, name)
        await self.refresh(node)
        return self._tree.find(store_id, name) or await self._ask(store_id, name)

    async def refresh(self, node: Node) -> None:
        """See that what is known of *node* is of late, without waiting for a slow store."""
        if self._engine.closing.under_way:
            with trio.move_on_after(PATIENCE):
                await self._engine.closing.finished(node.store_id, node.name)
        age = trio.current_time() - node.known_at
        fresh = age < self._engine.settings.attribute_timeout
        if fresh or node.pending is not None or not node.named or node.refreshing:
            return
        if self._refreshing[node.store_id] >= REFRESHES:
            return
        node.refreshing = True
        self._refreshing[node.store_id] += 1
        done = trio.Event()
        self._engine.nursery.start_soon(self._refresh, node, done)
        if node.store_id not in self._late:
            with trio.move_on_after(PATIENCE):
                await done.wait()
            if not done.is_set():
                self._late.add(node.store_id)

    def replaced(self, old: Node) -> None:
        """Tell the kernel that *old*'s name leads elsewhere."""
        self._renamed_away(self._tree.directories[old.store_id].inode, old.name)

    def succeeded(self, node: Node) -> None:
        """*node* was published: it bears its name from now on, if it did not before."""
        self.came()
        if not node.named and (old := self._tree.succeed(node)) is not None:
            self.replaced(old)

    def learn(self, store_id: str, name: str, info: ImageInfo, as_of: float) -> Node:
        """`Tree.learn`, telling the kernel when the name went to another version."""
        self.came()
        old = self._tree.find(store_id, name)
        node = self._tree.learn(store_id, name, info, as_of)
        if old is not None and node is not old:
            self.replaced(old)
        return node

    def came(self) -> None:
        """There is a new name: what is known of absent ones may not be so any more."""
        self._absent.clear()

    def gone(self, node: Node) -> None:
        """The image is not there any more."""
        if node.named:
            self.replaced(node)
            self._tree.detach(node)

    async def _ask(self, store_id: str, name: str) -> Node:
        as_of = trio.current_time()
        if as_of < self._absent.get((store_id, name), 0):
            raise exceptions.NotFound(image=name)
        try:
            info = await self._stat(store_id, name)
        except exceptions.NotFound:
            if len(self._absent) >= ABSENCES:
                self._absent.clear()
            patience = min(ABSENT, self._engine.settings.attribute_timeout)
            self._absent[store_id, name] = as_of + patience
            raise
        return self.learn(store_id, name, info, as_of)

    async def _stat(self, store_id: str, name: str) -> ImageInfo:
        store = self.store(store_id)
        return await self._engine.threads(store).run(stat, store, name)

    async def _refresh(self, node: Node, done: trio.Event) -> None:
        name = node.name
        try:
            as_of = trio.current_time()
            info = await self._stat(node.store_id, name)
            if node.named and node.name == name:  # not replaced, renamed or deleted meanwhile
                self.learn(node.store_id, name, info, as_of)
        except exceptions.NotFound:
            if node.pending is None and node.name == name:
                self.gone(node)
        except Exception as exc:  # noqa: BLE001 - what was known stays known
            log.debug("%s: %s: no news of it: %s", node.store_id, node.name, exc)
        finally:
            node.refreshing = False
            self._refreshing[node.store_id] -= 1
            self._late.discard(node.store_id)
            done.set()


def stat(store: Store, name: str) -> ImageInfo:
    """`Driver.stat` by name; a name the store can never hold is `NotFound`."""
    try:
        location = store.locate(name)
    except exceptions.Invalid as exc:
        raise exceptions.NotFound(image=name) from exc
    return store.driver.stat(location)


def now_info(name: str) -> ImageInfo:
    """An image that begins now."""
    return ImageInfo(name, 0, version="", mtime_ns=time.time_ns())
