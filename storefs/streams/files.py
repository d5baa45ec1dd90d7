# SPDX-License-Identifier: Apache-2.0
"""Open files: what open, read, write and close mean for an image."""

import dataclasses
import itertools
import logging
import os
import re

import trio

from storefs import exceptions
from storefs.driver import Store
from storefs.drivers.base import Buffer, ImageInfo, Reader, SupportsProperties
from storefs.streams.access import Access
from storefs.streams.engine import Engine
from storefs.streams.names import Names, now_info
from storefs.streams.publication import FAILED, HELD, PUBLISHED, Publication
from storefs.streams.read_stream import ReadStream
from storefs.tree import Directory, Node, Tree

log = logging.getLogger(__name__)

#: rsync writes NAME as .NAME.XXXXXX and renames it when it is whole.
RSYNC_NAME = re.compile(r"\.(?P<name>.+)\.[A-Za-z0-9]{6}")

#: How much of the old bytes an append copies at a time.
COPY_SIZE = 1024 * 1024


@dataclasses.dataclass(eq=False)
class Handle:
    """One open file: a reader, a writer, or (opened to be touched) neither yet."""

    node: Node
    store: Store
    reading: ReadStream | None = None
    writing: Publication | None = None
    writable: bool = False
    appending: bool = False
    closing: trio.Lock = dataclasses.field(default_factory=trio.Lock)

    @property
    def appended(self) -> int:
        """Where an append has got to; 0 if this is none."""
        return self.writing.position if self.appending and self.writing else 0


class Files:
    """The open files of one mount, and the uploads that are not finished."""

    def __init__(self, engine: Engine, names: Names, tree: Tree, access: Access) -> None:
        self._engine = engine
        self._names = names
        self._tree = tree
        self._access = access
        self._unfinished: dict[Publication, Node] = {}
        self._numbers = itertools.count(1)

    async def close(self) -> None:
        """Abort what is unfinished, with a warning each."""
        unfinished = {p: n for p, n in self._unfinished.items() if not p.finished}
        async with trio.open_nursery() as nursery:
            for publication, node in unfinished.items():
                _warn(node, "it was not finished before the unmount and is given up")
                nursery.start_soon(self.give_up, publication, "the filesystem was unmounted")

    async def open(self, node: Node, flags: int) -> Handle:
        """Open what is there: to read it, to replace it (O_TRUNC), or to touch it."""
        await self._engine.closing.finished(node.store_id, node.name)
        if node.replaces is not None and node.pending is None:
            return self._succeed(node)
        if not node.named:
            raise exceptions.ImageChanged(image=node.name)
        store = self._engine.stores[node.store_id]
        handle = Handle(node, store, writable=flags & os.O_ACCMODE != os.O_RDONLY)
        if handle.writable:
            self._access.addable(self._engine.stores[node.store_id])
        if flags & os.O_TRUNC:
            handle.writing = self._replacement(node, store)
        elif flags & os.O_ACCMODE != os.O_WRONLY and node.pending is None:
            handle.reading = await self._open_to_read(node, store)
        self._tree.opened(node, writable=handle.writable)
        return handle

    async def create(self, directory: Directory, name: str, flags: int) -> tuple[Handle, Node]:
        """Begin a new image; nothing is visible to anyone else before it is published."""
        store = self._access.addable(self._access.store_of(directory))
        assert store.backend_group is not None
        if (node := self._tree.find(store.backend_group, name)) is not None:
            if flags & os.O_EXCL or node.pending is not None:
                raise exceptions.Duplicate(image=name)
            successor = self.successor(node)
            return self._succeed(successor), successor
        final = _final_name(name, flags)
        temporary = final is not None
        publication = Publication(
            self._engine, store, final or name, replace=temporary, temporary=temporary
        )
        node = self._tree.add(store.backend_group, name, now_info(name), trio.current_time())
        node.pending = publication
        self._unfinished[publication] = node
        self._tree.opened(node, writable=True)
        return Handle(node, store, writing=publication, writable=True), node

    def successor(self, node: Node) -> Node:
        """A node to open instead of *node*, in order to replace the image."""
        self._access.addable(self._engine.stores[node.store_id])
        return self._tree.successor(node, now_info(node.name), trio.current_time())

    def _succeed(self, node: Node) -> Handle:
        store = self._engine.stores[node.store_id]
        node.pending = self._replacement(node, store)
        self._tree.opened(node, writable=True)
        return Handle(node, store, writing=node.pending, writable=True)

    def _replacement(self, node: Node, store: Store) -> Publication:
        if node.pending is not None:
            raise exceptions.InUseByStore(f"Image {node.name} is being written.")
        publication = Publication(self._engine, store, node.name, replace=True)
        self._unfinished[publication] = node
        return publication

    async def _open_to_read(self, node: Node, store: Store) -> ReadStream:
        as_of = trio.current_time()
        try:
            reader: Reader = await self._engine.threads(store).run(_open, store, node.name)
        except exceptions.NotFound:
            self._names.gone(node)
            raise
        if node.named and reader.info.version != node.info.version:
            self._names.learn(node.store_id, node.name, reader.info, as_of)
        if not node.named or reader.info.version != node.info.version:
            await self._engine.threads(store).run(reader.close)
            raise exceptions.ImageChanged(image=node.name)
        version = reader.info.version or f"unknown {next(self._numbers)}"
        image = (node.store_id, node.name, version)
        engine = self._engine
        return ReadStream(reader, image, engine.threads(store), engine.cache, engine.nursery)

    async def read(self, handle: Handle, offset: int, length: int) -> Buffer:
        writing = handle.writing is not None and handle.writing.state != PUBLISHED
        if writing or handle.node.pending is not None:
            raise exceptions.InUseByStore(f"Image {handle.node.name} is still being written.")
        if handle.reading is None:
            handle.reading = await self._open_to_read(handle.node, handle.store)
        return await handle.reading.read(offset, length)

    async def write(self, handle: Handle, offset: int, data: bytes) -> None:
        if handle.writing is None or handle.writing.state == PUBLISHED:
            await self._go_on(handle, offset)
        assert handle.writing is not None
        await handle.writing.write(data, offset)
        handle.node.extended = max(handle.node.extended, handle.appended)

    async def flush(self, handle: Handle) -> None:
        """close(2): publish what was written, or hold it for rsync's rename.

        A handle without bytes is left alone: shells and `touch` close copies of
        a descriptor before they write to it.
        """
        publication = handle.writing
        if publication is not None and publication.position and publication.state != PUBLISHED:
            await self._settle(handle)

    async def release(self, handle: Handle) -> None:
        """The last close: an image nobody wrote to is published empty."""
        try:
            if handle.writing is not None and not handle.writing.finished:
                with self._engine.closing.of(handle.node.store_id, handle.node.name):
                    await self._settle(handle)
        finally:
            if handle.writing is not None and handle.writing.state == FAILED:
                self._forget(handle.writing, handle.node)
            self._tree.released(handle.node, writable=handle.writable)
            if handle.reading is not None:
                await handle.reading.aclose()

    async def set_size(self, node: Node, handle: Handle | None, size: int) -> None:
        """truncate(2) and ftruncate(2), as far as they can be streamed."""
        publication = (handle.writing if handle else None) or node.pending
        if publication is not None and not publication.finished:
            publication.truncate(size)
        elif size == node.info.size:
            return
        elif size == 0:
            await self._empty(node, handle)
        else:
            raise exceptions.UnsupportedWrite(image=node.name)

    async def set_mtime(self, node: Node, mtime_ns: int) -> None:
        """Kept with the image: when it is published, or at once.

        A descriptor that has replaced the image stands for the new one.
        """
        writing = [p for p, n in self._unfinished.items() if n is node and not p.finished]
        if writing:
            for publication in writing:
                publication.mtime_ns = mtime_ns
            return
        store = self._access.addable(self._engine.stores[node.store_id])
        if not store.supports(SupportsProperties):
            return
        current = self._tree.find(node.store_id, node.name)
        if current is None or not (node.named or node.writers):
            raise exceptions.ImageChanged(image=node.name)
        info = await self._engine.threads(store).run(_set_mtime, store, node.name, mtime_ns)
        self._names.learn(node.store_id, node.name, info, trio.current_time())

    async def _settle(self, handle: Handle) -> None:
        """Publish, or hold; whoever comes second finds it done."""
        publication = handle.writing
        assert publication is not None
        async with handle.closing:
            publication.check()
            if publication.state in (PUBLISHED, HELD):
                return
            if publication.temporary:
                await publication.hold()
                self._engine.nursery.start_soon(self._await_rename, publication, handle.node)
            else:
                await self.publish(publication, handle.node)

    async def publish(self, publication: Publication, node: Node) -> None:
        try:
            info = await publication.publish()
        except Exception:
            self._forget(publication, node)
            raise
        self._unfinished.pop(publication, None)
        if node.pending is publication:
            node.pending = None
            node.info, node.known_at = info, trio.current_time()
            self._names.succeeded(node)
        else:
            self._names.learn(node.store_id, node.name, info, trio.current_time())

    def _forget(self, publication: Publication, node: Node) -> None:
        self._unfinished.pop(publication, None)
        if node.pending is publication:
            node.pending = None
            self._tree.detach(node)

    def is_replaced(self, node: Node) -> bool:
        """Is a new image on its way to *node*'s name?"""
        names = [(n.store_id, n.name) for p, n in self._unfinished.items() if not p.finished]
        return (node.store_id, node.name) in names

    async def give_up_all(self, node: Node, reason: str) -> None:
        """Give up whatever is on its way to *node*'s name."""
        for publication, other in list(self._unfinished.items()):
            if (other.store_id, other.name) == (node.store_id, node.name):
                await self.give_up(publication, reason)

    async def give_up(self, publication: Publication, reason: str) -> None:
        node = self._unfinished.get(publication)
        await publication.abort(reason)
        if node is not None:
            self._forget(publication, node)

    async def _await_rename(self, publication: Publication, node: Node) -> None:
        await trio.sleep(self._engine.settings.rename_grace)
        if publication.state == HELD:
            _warn(
                node,
                f"no rename followed within {self._engine.settings.rename_grace:g} s; given up",
            )
            await self.give_up(publication, "no rename followed in time")

    async def _go_on(self, handle: Handle, offset: int) -> None:
        """Write behind the end of what is published: begin anew with the old bytes.

        That is an append, or a forked child that goes on after another child
        closed its copy of the descriptor.
        """
        node = self._tree.find(handle.node.store_id, handle.node.name)
        if not handle.writable or node is None or offset != node.info.size:
            raise exceptions.UnsupportedWrite(image=handle.node.name)
        old = await self._open_to_read(node, handle.store)
        publication = self._replacement(node, handle.store)
        try:
            while chunk := await old.read(publication.position, COPY_SIZE):
                await publication.write(chunk, publication.position)
        except Exception:
            await self.give_up(publication, "the old bytes could not be read")
            raise
        finally:
            await old.aclose()
        handle.writing, handle.appending = publication, True

    async def _empty(self, node: Node, handle: Handle | None) -> None:
        """Cut to nothing: through a handle that may write on, or published at once."""
        store = self._access.addable(self._engine.stores[node.store_id])
        publication = self._replacement(node, store)
        if handle is not None:
            handle.writing = publication
        else:
            await self.publish(publication, node)


def _warn(node: Node, reason: str) -> None:
    log.warning("%s: %s: %s", node.store_id, node.name, reason)


def _final_name(name: str, flags: int) -> str | None:
    """The name under which rsync will publish what it creates as *name*."""
    mode = os.O_RDWR | os.O_EXCL
    match = RSYNC_NAME.fullmatch(name)
    if match is None or flags & (os.O_ACCMODE | os.O_EXCL) != mode:
        return None
    return match["name"]


def _open(store: Store, name: str) -> Reader:
    return store.driver.open(store.locate(name))


def _set_mtime(store: Store, name: str, mtime_ns: int) -> ImageInfo:
    driver, location = store.driver, store.locate(name)
    assert isinstance(driver, SupportsProperties)
    driver.set_properties(location, {"mtime_ns": str(mtime_ns)})
    return driver.stat(location)
