# SPDX-License-Identifier: Apache-2.0
"""Open files: what open, read, write and close mean for an image."""

import itertools
import os
import re

import trio

from storefs import exceptions
from storefs.driver import Store
from storefs.drivers.base import Buffer, Reader, SupportsProperties
from storefs.streams.access import Access
from storefs.streams.engine import Engine
from storefs.streams.going_back import go_back
from storefs.streams.handle import Handle
from storefs.streams.names import Names, now_info
from storefs.streams.publication import PUBLISHED, Publication
from storefs.streams.read_stream import ReadStream
from storefs.streams.same_image import set_mtime
from storefs.streams.spooled import Spooled
from storefs.streams.spooling import Spooling
from storefs.streams.streaming import Streaming
from storefs.tree import Directory, Node, Tree

#: rsync writes NAME as .NAME.XXXXXX and renames it when it is whole.
RSYNC_NAME = re.compile(r"\.(?P<name>.+)\.[A-Za-z0-9]{6}")


class Files:
    """The open files of one mount, and the uploads that are not finished."""

    def __init__(self, engine: Engine, names: Names, tree: Tree, access: Access) -> None:
        self._engine = engine
        self._names = names
        self._tree = tree
        self._access = access
        self.spooling = Spooling(engine, names, tree, self._open_base)
        self.streaming = Streaming(engine, names, tree, self.spooling)
        self._numbers = itertools.count(1)

    async def close(self) -> list[Spooled]:
        """Abort what is streamed, with a warning each, and store what is spooled.

        What could not be stored stays in the spool, and is given back.
        """
        await self.streaming.close()
        return await self.spooling.drain()

    async def open(self, node: Node, flags: int) -> Handle:
        """Open what is there: to read it, to replace it (O_TRUNC), or to touch it."""
        await self._engine.closing.finished(node.store_id, node.name)
        if node.replaces is not None and node.pending is None:
            return self._succeed(node, flags)
        if not node.named and node.replaces is None:
            raise exceptions.ImageChanged(image=node.name)
        store = self._engine.stores[node.store_id]
        handle = Handle(node, store, writable=flags & os.O_ACCMODE != os.O_RDONLY)
        if handle.writable:
            self._access.addable(self._engine.stores[node.store_id])
        if flags & os.O_TRUNC:
            await self._cut_to_nothing(handle)
        elif flags & os.O_ACCMODE != os.O_WRONLY and node.pending is None:
            try:
                handle.reading = await self._open_to_read(node, store)
            except exceptions.NotFound as exc:
                await self._look_again(node, exc)
                raise
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
            return self._succeed(successor, flags), successor
        final = _final_name(name, flags)
        node = self._tree.add(store.backend_group, name, now_info(name), trio.current_time())
        handle = Handle(node, store, writable=True)
        if final is None and flags & os.O_ACCMODE == os.O_RDWR:
            self.spooling.begin(node)
        else:
            handle.writing = node.pending = self.streaming.begin(node, store, final)
        self._tree.opened(node, writable=True)
        return handle, node

    async def _look_again(self, node: Node, reason: exceptions.NotFound) -> None:
        """`ImageChanged` if the name is gone: the kernel looks again, and O_CREAT makes one."""
        try:
            await self._names.image(node.store_id, node.name)
        except exceptions.NotFound:
            raise exceptions.ImageChanged(image=node.name) from reason

    def successor(self, node: Node) -> Node:
        """A node to open instead of *node*, in order to replace the image."""
        self._access.addable(self._engine.stores[node.store_id])
        return self._tree.successor(node, now_info(node.name), trio.current_time())

    def replaceable(self, node: Node) -> bool:
        """May a replacement begin beside it? Else it is cut where it is, or busy."""
        spooled = self.spooling.find(node)
        return not node.writers if spooled is not None else node.pending is None

    def _succeed(self, node: Node, flags: int) -> Handle:
        store = self._engine.stores[node.store_id]
        handle = Handle(node, store, writable=True)
        if flags & os.O_ACCMODE == os.O_RDWR:
            self.spooling.begin(node)
        else:
            handle.writing = node.pending = self.streaming.replace(node, store)
        self._tree.opened(node, writable=True)
        return handle

    async def _cut_to_nothing(self, handle: Handle) -> None:
        """O_TRUNC where the bytes are: somebody else writes them, or there is no name."""
        if (spooled := self.spooling.find(handle.node)) is not None:
            await spooled.truncate(0)
        else:
            handle.writing = self.streaming.replace(handle.node, handle.store)

    async def _open_to_read(self, node: Node, store: Store) -> ReadStream:
        as_of, name = trio.current_time(), node.name
        try:
            reader: Reader = await self._engine.threads(store).run(_open, store, name)
        except exceptions.NotFound:
            if node.name == name:  # else it was renamed meanwhile
                self._names.gone(node)
            raise
        if node.named and node.name == name and reader.info.version != node.info.version:
            self._names.learn(node.store_id, name, reader.info, as_of)
        return await self._stream_of(node, store, reader, node.info.version)

    async def _open_base(self, node: Node, version: str) -> ReadStream:
        """The *version* that something is written over, or `ImageChanged`."""
        store = self._engine.stores[node.store_id]
        reader: Reader = await self._engine.threads(store).run(_open, store, node.name)
        return await self._stream_of(node, store, reader, version)

    async def _stream_of(
        self, node: Node, store: Store, reader: Reader, version: str
    ) -> ReadStream:
        if not (node.named or node.replaces) or reader.info.version != version:
            await self._engine.threads(store).run(reader.close)
            raise exceptions.ImageChanged(image=node.name)
        image = (node.store_id, node.name, version or f"unknown {next(self._numbers)}")
        engine = self._engine
        return ReadStream(reader, image, engine.threads(store), engine.cache, engine.nursery)

    async def read(self, handle: Handle, offset: int, length: int) -> Buffer:
        if (spooled := self.spooling.find(handle.node)) is not None:
            return await spooled.read(offset, length)
        if handle.streaming or handle.node.pending is not None:
            raise exceptions.InUseByStore(f"Image {handle.node.name} is still being written.")
        return await (await self._reading(handle)).read(offset, length)

    async def _reading(self, handle: Handle) -> ReadStream:
        """The handle's view of the bytes; another one once they were written in place."""
        async with handle.closing:
            version = handle.node.info.version
            old = handle.reading
            if old is not None and version and handle.node.named and old.version != version:
                handle.outdated.append(old)  # somebody may be reading through it
                handle.reading = None
            if handle.reading is None:
                handle.reading = await self._open_to_read(handle.node, handle.store)
            return handle.reading

    async def write(self, handle: Handle, offset: int, data: bytes) -> None:
        if handle.streaming:
            assert handle.writing is not None
            try:
                await handle.writing.write(data, offset)
            except exceptions.UnsupportedWrite as exc:
                await self._leave_the_stream(handle, exc)
            else:
                return
        await self.spooling.edit(handle.node).write(data, offset)

    async def _leave_the_stream(self, handle: Handle, reason: Exception) -> None:
        """Go on in the spool with what was streamed, if it can be had back, else raise."""
        publication, node = handle.writing, handle.node
        assert publication is not None
        async with handle.closing:
            if handle.writing is not publication:
                return
            if publication.finished or not publication.returnable:
                raise reason
            spooled = self.spooling.prepare(node)

            def switch() -> None:
                self.streaming.forget(publication)
                handle.writing = None
                self.spooling.enter(spooled)

            await go_back(publication, spooled, switch)

    async def flush(self, handle: Handle) -> None:
        """close(2): publish what was written, or hold it for rsync's rename.

        A handle without bytes is left alone: shells and `touch` close copies of
        a descriptor before they write to it.
        """
        publication = handle.writing
        if publication is not None and publication.state != PUBLISHED:
            if handle.killed() and not publication.finished:
                await self.streaming.cut_off(handle, publication)
            elif publication.position:
                await self.streaming.settle(handle)
            return
        spooled = self.spooling.find(handle.node)
        if handle.writable and spooled is not None:
            handle.cut_off = handle.killed()
            if not handle.cut_off:
                await self.spooling.seal(spooled)

    async def fsync(self, handle: Handle) -> None:
        """fsync(2): what close promises, and the store's answer to it."""
        await self.flush(handle)
        spooled = self.spooling.find(handle.node)
        if spooled is not None and handle.writable:
            await self.spooling.publish(spooled)

    async def release(self, handle: Handle) -> None:
        """The last close: an image nobody wrote to is published empty."""
        try:
            await self.streaming.released(handle)
        finally:
            self._tree.released(handle.node, writable=handle.writable)
            if handle.cut_off:
                await self.spooling.cut_off(handle.node)
            await self.spooling.released(handle.node)
            for reading in (handle.reading, *handle.outdated):
                if reading is not None:
                    await reading.aclose()

    async def set_size(self, node: Node, handle: Handle | None, size: int) -> None:
        """truncate(2) and ftruncate(2)."""
        publication = (handle.writing if handle else None) or node.pending
        if isinstance(publication, Publication) and not publication.finished:
            try:
                publication.truncate(size)
            except exceptions.UnsupportedWrite as exc:
                if handle is None or handle.writing is not publication:
                    raise
                await self._leave_the_stream(handle, exc)
            else:
                return
        spooled = self.spooling.find(node)
        if spooled is None and size == node.info.size:
            return
        self._access.addable(self._engine.stores[node.store_id])
        spooled = spooled or self.spooling.edit(node)
        await spooled.truncate(size)
        if handle is None:
            await self.spooling.seal(spooled)
            await self.spooling.released(node)

    async def set_mtime(self, node: Node, mtime_ns: int) -> None:
        """Kept with the image: when it is published, or at once.

        A descriptor that has replaced the image stands for the new one.
        """
        writing = self.streaming.of(node)
        spooled = self.spooling.find(node)
        for publication in writing:
            publication.mtime_ns = mtime_ns
        if node.pending is not None and spooled is not None:
            await spooled.set_mtime(mtime_ns)
        elif not writing:
            await self._set_mtime(node, mtime_ns)

    async def _set_mtime(self, node: Node, mtime_ns: int) -> None:
        store = self._access.addable(self._engine.stores[node.store_id])
        if not store.supports(SupportsProperties):
            return
        current = self._tree.find(node.store_id, node.name)
        if current is None or not (node.named or node.writers):
            raise exceptions.ImageChanged(image=node.name)
        info = await self._engine.threads(store).run(set_mtime, store, node.name, mtime_ns)
        self._names.learn(node.store_id, node.name, info, trio.current_time())

    def is_replaced(self, node: Node) -> bool:
        """Is a new image on its way to *node*'s name?"""
        return self.streaming.replaces(node) or self.spooling.replaces(node)


def _final_name(name: str, flags: int) -> str | None:
    """The name under which rsync will publish what it creates as *name*."""
    mode = os.O_RDWR | os.O_EXCL
    match = RSYNC_NAME.fullmatch(name)
    if match is None or flags & (os.O_ACCMODE | os.O_EXCL) != mode:
        return None
    return match["name"]


def _open(store: Store, name: str) -> Reader:
    return store.driver.open(store.locate(name))
