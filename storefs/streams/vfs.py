# SPDX-License-Identifier: Apache-2.0
"""What the file operations mean, for stores of every kind; docs/semantics in code.

No word of the kernel's protocol here: requests come as names, nodes and
handles, errors are `storefs.exceptions`. Names are changed here; `names` finds
them, `files` reads and writes what is behind them.
"""

import contextlib
import errno
from collections.abc import Callable, Mapping

import trio

from storefs import exceptions
from storefs.driver import Store
from storefs.drivers.base import (
    Capacity,
    SupportsCopy,
    SupportsDelete,
    SupportsRegister,
    SupportsRename,
)
from storefs.streams.access import Access
from storefs.streams.capacity import Capacities
from storefs.streams.engine import Engine, Settings
from storefs.streams.files import Files
from storefs.streams.handle import Handle
from storefs.streams.listing import Listing
from storefs.streams.names import Names, stat
from storefs.streams.publication import HELD, Publication
from storefs.streams.recovery import Recovery
from storefs.streams.spooled import Spooled
from storefs.tree import Directory, Node, Tree

__all__ = ["Handle", "Settings", "Vfs"]


class Vfs:
    """One mount's files. Run `serve` in a nursery; `close` when no request comes any more."""

    engine: Engine
    names: Names
    files: Files

    def __init__(self, stores: Mapping[str, Store], settings: Settings) -> None:
        self.settings = settings
        self.stores = {i: store for i, store in stores.items() if not store.reserved}
        self.tree = Tree(list(self.stores))
        #: set by who speaks to the kernel: (directory inode, name) leads elsewhere now
        self.renamed_away: Callable[[int, str], None] = lambda inode, name: None
        self._access = Access(self.stores, settings)
        self._stopped = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the background tasks of the mount until `close`."""
        async with trio.open_nursery() as nursery:
            self.engine = Engine(self.stores, self.settings, nursery)
            self.names = Names(self.engine, self.tree, self._renamed_away)
            self.files = Files(self.engine, self.names, self.tree, self._access)
            self._capacities = Capacities(self.engine)
            if not self.settings.read_only:
                await Recovery(self.engine, self.names, self.tree, self.files.spooling).recover()
            task_status.started()
            await self._stopped.wait()
            nursery.cancel_scope.cancel()

    async def close(self) -> list[Spooled]:
        """Abort what is streamed, store what is spooled; no task is left.

        What could not be stored is given back: it waits in the spool.
        """
        try:
            return await self.files.close()
        finally:
            self._stopped.set()

    def _renamed_away(self, directory: int, name: str) -> None:
        self.renamed_away(directory, name)

    async def listing(self, directory: Directory) -> Listing:
        """The images of a store's directory."""
        store = self._access.store_of(directory)
        assert store.backend_group is not None
        await self.engine.closing.finished(store.backend_group)
        promised = [node.info for node in self.files.spooling.promised(store.backend_group)]
        return Listing(store, self.engine.threads(store), promised)

    async def capacity(self, store_id: str | None) -> Capacity | None:
        """What a store (or the default one) has room for; None where it cannot say."""
        store = self.stores.get(store_id or self.settings.default_store or "")
        return None if store is None else await self._capacities.of(store)

    async def unlink(self, directory: Directory, name: str) -> None:
        """Delete an image, or take away a name that was registered."""
        node = await self._image(directory, name)
        store = self._access.changeable(self.stores[node.store_id])
        pending = node.pending is not None
        await self.files.streaming.give_up_all(node, "it was deleted while it was being written")
        if not pending:
            await self._delete(store, node)
        elif (spooled := self.files.spooling.find(node)) is not None:
            await self._delete_spooled(spooled)
        self.tree.detach(node)

    async def _delete(self, store: Store, node: Node) -> None:
        driver = store.driver
        if store.supports(SupportsDelete):
            assert isinstance(driver, SupportsDelete)
            await self.engine.threads(store).run(driver.delete, store.locate(node.name))
        elif store.supports(SupportsRegister):
            assert isinstance(driver, SupportsRegister)
            await self.engine.threads(store).run(driver.unregister, node.name)
        else:
            raise exceptions.StoreAddDisabled(f"Store {node.store_id} is read-only.")

    async def _delete_spooled(self, spooled: Spooled) -> None:
        """What is spooled, and the older version that the store has of it."""
        await spooled.look_back()
        if spooled.in_store:
            await spooled.condemn()
            try:
                await self._delete_older(spooled)
            except BaseException:
                await spooled.condemn(deleted=False)
                raise
        await self.files.spooling.superseded(spooled.node)
        if spooled.in_store:  # also if it was stored just now
            await self._delete_older(spooled)

    async def _delete_older(self, spooled: Spooled) -> None:
        with contextlib.suppress(exceptions.NotFound):
            await self._delete(spooled.store, spooled.node)

    async def symlink(self, directory: Directory, name: str, target: str) -> None:
        """Register the URI *target* under *name*, where a store holds such names."""
        store = self._access.store_of(directory)
        driver = store.driver
        if not store.supports(SupportsRegister) or "://" not in target:
            raise exceptions.ImageImmutable(
                f"A link in store {store.backend_group} must be a URI it can read."
            )
        store = self._access.changeable(store)
        assert isinstance(driver, SupportsRegister)
        await self.engine.threads(store).run(driver.register, name, target)
        self.names.came()

    async def rename(
        self, source: Directory, name: str, target: Directory, new_name: str, *, replace: bool
    ) -> None:
        """Rename inside a store; OSError EXDEV between stores, and where a store cannot."""
        node = await self._image(source, name)
        store = self._access.addable(self.stores[node.store_id])
        self._same_store(node, source, target)
        if node.pending is None and self.files.is_replaced(node):
            raise exceptions.InUseByStore(f"Image {node.name} is being written.")
        if not replace and await self._exists(node.store_id, new_name):
            raise exceptions.Duplicate(image=new_name)
        spooled = self.files.spooling.find(node)
        if spooled is not None:
            await self._rename_spooled(spooled, new_name)
        elif node.pending is not None:
            await self._rename_pending(node, new_name)
        elif node.name != new_name:
            await self._rename_published(store, node, new_name)

    async def _rename_spooled(self, spooled: Spooled, new_name: str) -> None:
        """Published by it, under the new name at once if it was never stored."""
        node = spooled.node
        if node.name == new_name:
            return
        await spooled.look_back()
        old = self.tree.find(node.store_id, new_name)
        if spooled.in_store or not await self.files.spooling.store_as(spooled, new_name):
            await self.files.spooling.seal(spooled)
            await self.files.spooling.publish(spooled)
            await self._rename_published(spooled.store, node, new_name)
        else:
            self.tree.move(node, new_name)
            self.names.came()
            if old is not None:
                self.names.replaced(old)
                await self.files.spooling.superseded(old)
        await spooled.arrived()

    async def _rename_pending(self, node: Node, new_name: str) -> None:
        """What rsync does at the end; a held image is published by it."""
        publication: Publication = node.pending
        if publication.temporary and not publication.position:
            await publication.hold()  # an empty one, whose last close is on its way
        if publication.state != HELD:
            raise exceptions.InUseByStore(f"Image {node.name} is still being written.")
        final = publication.image_id
        if new_name != final and await self._exists(node.store_id, final):
            raise exceptions.InUseByStore(
                f"{node.name} is held to become {final}; rename it to that, or delete it."
            )
        old = self.tree.find(node.store_id, final)
        await self.files.streaming.publish(publication, node)
        if old is not None:
            self.names.replaced(old)
        self.tree.move(node, final)
        if new_name != final:
            await self._rename_published(publication.store, node, new_name)

    async def _rename_published(self, store: Store, node: Node, new_name: str) -> None:
        async with self.files.spooling.replaced_by(store, node.name, new_name):
            await self._move(store, node.name, new_name)
        replaced = self.tree.find(node.store_id, new_name)
        self.tree.move(node, new_name)
        if replaced is not None and replaced is not node:
            await self.files.spooling.superseded(replaced)
        info = await self.engine.threads(store).run(stat, store, new_name)
        self.names.learn(node.store_id, new_name, info, trio.current_time())

    async def _move(self, store: Store, name: str, new_name: str) -> None:
        old, new = store.locate(name), store.locate(new_name)
        driver = store.driver
        if store.supports(SupportsRename):
            assert isinstance(driver, SupportsRename)
            await self.engine.threads(store).run(driver.rename, old, new)
        elif store.supports(SupportsCopy) and store.supports(SupportsDelete):
            assert isinstance(driver, SupportsCopy)
            assert isinstance(driver, SupportsDelete)
            await self.engine.threads(store).run(driver.copy, old, new)
            await self.engine.threads(store).run(driver.delete, old)
        else:
            raise OSError(errno.EXDEV, "the store cannot rename")  # mv copies, and deletes

    def _same_store(self, node: Node, source: Directory, target: Directory) -> None:
        if target is self.tree.root:
            same = source is target or node.store_id == self.settings.default_store
        else:
            same = node.store_id == target.store_id
        if not same:
            raise OSError(errno.EXDEV, "another store")

    async def _image(self, directory: Directory, name: str) -> Node:
        found = await self.names.lookup(directory, name)
        if isinstance(found, Directory):
            raise exceptions.ImageImmutable(f"{name} is a store.")
        await self.engine.closing.finished(found.store_id, name)
        return found if found.named else await self.names.image(found.store_id, name)

    async def _exists(self, store_id: str, name: str) -> bool:
        try:
            await self.names.image(store_id, name)
        except exceptions.NotFound:
            return False
        return True
