# SPDX-License-Identifier: Apache-2.0
"""All images of a mount that are written in any order: who has one, when it is published.

A spooled image is published by fsync(2), by rename(2), and else some seconds
after its last close: qemu-img closes and opens again three times. What the store
refuses is tried again, later and later, for as long as the mount stands.
"""

import collections
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator

import trio

from storefs import exceptions
from storefs.driver import Store
from storefs.streams.engine import Engine
from storefs.streams.layers import Layer
from storefs.streams.names import Names
from storefs.streams.overlay import OpenBase
from storefs.streams.same_image import identity
from storefs.streams.spool import Entry, Record
from storefs.streams.spooled import Spooled
from storefs.tree import Node, Tree

log = logging.getLogger(__name__)

#: The longest a store that refused is left alone before it is tried again, seconds.
RETRY_MOST = 300.0

#: How often an unmount that waits says what for, seconds.
PROGRESS = 5.0

#: How often an unmount tries what a store refuses.
LAST_ATTEMPTS = 3

Left = tuple[Entry, Record, list[Layer]]


@dataclasses.dataclass(eq=False)
class _Timer:
    """The task that publishes one image."""

    scope: trio.CancelScope = dataclasses.field(default_factory=trio.CancelScope)
    done: trio.Event = dataclasses.field(default_factory=trio.Event)


class Spooling:
    """The spooled images of one mount, by node."""

    def __init__(
        self,
        engine: Engine,
        names: Names,
        tree: Tree,
        open_base: OpenBase,
    ) -> None:
        self._engine = engine
        self._names = names
        self._tree = tree
        self._open_base = open_base
        self._all: dict[Node, Spooled] = {}
        self._timers: dict[Spooled, _Timer] = {}
        self._running: set[_Timer] = set()
        #: by store: who is stored under another's name holds that up, and not the other way round
        self._renaming: dict[str, trio.Lock] = collections.defaultdict(trio.Lock)
        #: set when the mount ends: nobody waits for a last close any more
        self._hurry = trio.Event()

    def find(self, node: Node) -> Spooled | None:
        """What is written over *node*, if somebody has begun to."""
        return self._all.get(node)

    def all(self) -> list[Spooled]:
        return list(self._all.values())

    def promised(self, store_id: str) -> list[Node]:
        """The images of a store that are closed and not in it yet."""
        return [
            node
            for node, spooled in self._all.items()
            if node.store_id == store_id and node.named and spooled.promised is not None
        ]

    def replaces(self, node: Node) -> bool:
        """Is one of them on its way to *node*'s name?"""
        return any(other.replaces is node for other in self._all)

    # -- beginning --------------------------------------------------------------------

    def begin(self, node: Node) -> Spooled:
        """Write *node* from nothing: a new image, or one that replaces another."""
        return self.enter(self.prepare(node))

    def prepare(self, node: Node) -> Spooled:
        """The same, of which nobody knows before `enter`."""
        old = node.replaces.info if node.replaces is not None else None
        if node.replaces is not None and (older := self._all.get(node.replaces)) is not None:
            old = older.over
        return Spooled(*self._world(node), over=old, empty=True)

    def enter(self, spooled: Spooled) -> Spooled:
        """From now on *spooled* is what its node is."""
        spooled.node.pending = spooled
        return self._added(spooled.node, spooled)

    def edit(self, node: Node) -> Spooled:
        """Write into *node*'s bytes; `InUseByStore`, `ImageChanged`."""
        if (spooled := self._all.get(node)) is not None:
            return spooled
        if node.pending is not None:
            raise exceptions.InUseByStore(f"Image {node.name} is being written.")
        if not node.named:
            raise exceptions.ImageChanged(image=node.name)
        return self._added(node, Spooled(*self._world(node), over=node.info))

    def _world(self, node: Node) -> tuple[Engine, Node, Store, OpenBase]:
        return self._engine, node, self._engine.stores[node.store_id], self._open_base

    def _added(self, node: Node, spooled: Spooled) -> Spooled:
        self._all[node] = spooled
        return spooled

    # -- promises and their keeping -------------------------------------------------------

    async def seal(self, spooled: Spooled) -> None:
        """close(2): what was written survives a crash, and bears its name from now on."""
        node = spooled.node
        if node.replaces is not None and spooled.changed and not spooled.nameless:
            await self._seal_instead(spooled)
        else:
            await spooled.seal()
        if spooled.promised is not None and node.replaces is not None:
            old = self._tree.find(node.store_id, node.name)
            self._names.succeeded(node)
            if old is not None:
                await self.superseded(old)

    async def _seal_instead(self, spooled: Spooled) -> None:
        """The same over what has its name now, which may just have been stored."""
        old = self._tree.find(spooled.node.store_id, spooled.node.name)
        older = None if old is None else self._all.get(old)
        if older is not None:
            async with older.giving_way():
                await spooled.stand_over(older.over)
                await spooled.seal()
            return
        if old is not None and old.info.version:
            await spooled.stand_over(old.info)
        await spooled.seal()

    async def publish(self, spooled: Spooled) -> None:
        """fsync(2): store what was promised, now."""
        if await spooled.publish() is not None:
            log.info("%s: %s: published", spooled.node.store_id, spooled.node.name)

    async def store_as(self, spooled: Spooled, name: str) -> bool:
        """Store it under another name than its own; False if it has been stored under that."""
        store_id = spooled.node.store_id
        async with self._renaming[store_id]:
            if not await spooled.publish_as(name, self._waiting_under(store_id, name)):
                return False
        log.info("%s: %s: published", store_id, name)
        return True

    @contextlib.asynccontextmanager
    async def replaced_by(self, store: Store, name: str, new_name: str) -> AsyncIterator[None]:
        """The block gives *name*'s published image *new_name*: what waits there gives way."""
        assert store.backend_group is not None
        older = self._waiting_under(store.backend_group, new_name)
        if older is None:
            yield
            return
        async with older.giving_way():
            if older.promised is not None:
                successor = await self._engine.threads(store).run(identity, store, name)
                await older.succeeded_by(successor)
            yield

    def _waiting_under(self, store_id: str, name: str) -> Spooled | None:
        node = self._tree.find(store_id, name)
        return None if node is None else self._all.get(node)

    async def superseded(self, node: Node) -> None:
        """*node* lost its name for good: nothing of it is to be published any more."""
        if (spooled := self._all.get(node)) is not None:
            await spooled.discard()
            await self.released(node)

    async def cut_off(self, node: Node) -> None:
        """The last who wrote *node* was killed: what nobody was promised is given up."""
        spooled = self._all.get(node)
        if spooled is None or node.writers or not spooled.changed or spooled.nameless:
            return
        log.warning(
            "%s: %s: its writer was killed; what it wrote is given up", node.store_id, node.name
        )
        if not await spooled.roll_back():
            await self.superseded(node)
            self._tree.detach(node)

    async def released(self, node: Node) -> None:
        """Somebody closed *node*: it is time to publish it, or to forget it."""
        spooled = self._all.get(node)
        if spooled is None or node.writers:
            return
        if _unpublished(spooled):
            spooled.released_at = trio.current_time()
            if not self._hurry.is_set():
                self._start(spooled)
        elif not (spooled.nameless and node.opens):
            await self._forget(spooled)

    async def _forget(self, spooled: Spooled) -> None:
        if self._all.get(spooled.node) is spooled:
            del self._all[spooled.node]
            await spooled.aclose()
            self._tree.settled(spooled.node)

    def _start(self, spooled: Spooled) -> None:
        if spooled not in self._timers:
            timer = self._timers[spooled] = _Timer()
            self._running.add(timer)
            self._engine.nursery.start_soon(self._publish_later, spooled, timer)

    async def _publish_later(self, spooled: Spooled, timer: "_Timer") -> None:
        """Until it is published, or somebody has it open to write it."""
        try:
            with timer.scope:
                await self._try_to_publish(spooled)
            del self._timers[spooled]
            with trio.CancelScope(shield=True):
                await self.released(spooled.node)
        finally:
            self._running.discard(timer)
            timer.done.set()

    async def _try_to_publish(self, spooled: Spooled) -> None:
        idle = self._engine.settings.publish_delay
        delay, attempts = idle, 0
        while _unpublished(spooled):
            with trio.move_on_after(delay):
                await self._hurry.wait()
            hurry = self._hurry.is_set()
            if spooled.node.writers and not hurry:
                return
            if not hurry and (rest := spooled.released_at + idle - trio.current_time()) > 0:
                delay = rest  # it was closed again meanwhile
                continue
            attempts += hurry
            delay = min(max(1.0, delay * 2), RETRY_MOST)
            if not await self._attempt(spooled, delay):
                if attempts == LAST_ATTEMPTS:
                    return
                if hurry:
                    await trio.sleep(1)

    async def _attempt(self, spooled: Spooled, delay: float) -> bool:
        node = spooled.node
        try:
            if not node.writers:
                await self.seal(spooled)
            await self.publish(spooled)
        except Exception as exc:  # noqa: BLE001 - it stays promised, whatever it was
            if not (spooled.nameless or spooled.gives_way):
                log.warning(
                    "%s: %s: could not be stored: %s; it is kept in %s and tried again%s",
                    node.store_id,
                    node.name,
                    exc,
                    self._engine.spool.path,
                    "" if self._hurry.is_set() else f" in {delay:g} s",
                )
            return False
        return True

    # -- start and end of the mount ----------------------------------------------------------

    def take_up(self, node: Node, left: Left) -> None:
        """*node* is what an earlier storefs promised: store it."""
        spooled = Spooled.adopted(*self._world(node), left)
        node.pending = spooled
        self._added(node, spooled)
        self._start(spooled)

    async def drain(self) -> list[Spooled]:
        """Publish what is promised; what could not be, and stays for the next start."""
        self._hurry.set()
        for spooled in self._waiting():
            self._start(spooled)
        with trio.move_on_after(self._engine.settings.drain_timeout):
            while self._running:
                self._tell_progress()
                with trio.move_on_after(PROGRESS):
                    for timer in list(self._running):
                        await timer.done.wait()
        for timer in list(self._running):
            timer.scope.cancel()
            await timer.done.wait()
        left = self._waiting()
        for spooled in self.all():
            await self._end(spooled)
        return left

    def _waiting(self) -> list[Spooled]:
        return [s for s in self.all() if s.promised is not None and not s.nameless]

    def _tell_progress(self) -> None:
        waiting = self._waiting()
        size = sum(s.size - s.stored for s in waiting)
        if waiting:
            log.info("Still to be stored: %d images, %d MiB", len(waiting), size >> 20)

    async def _end(self, spooled: Spooled) -> None:
        node = spooled.node
        if spooled.changed and not spooled.nameless:
            log.warning(
                "%s: %s: what was written since its last close is given up",
                node.store_id,
                node.name,
            )
        await self._forget(spooled)


def _unpublished(spooled: Spooled) -> bool:
    return not spooled.nameless and (spooled.promised is not None or spooled.changed)
