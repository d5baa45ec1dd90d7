# SPDX-License-Identifier: Apache-2.0
"""From FUSE requests to `Vfs` and back: one short handler a request.

Any exception but FUSEError that leaves a pyfuse3 handler ends the mount, so
every handler is wrapped by `_answered`: it turns the exception into an errno
and logs a failed operation once.
"""

import errno
import functools
import itertools
import logging
import os
import stat
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext

from storefs import exceptions
from storefs.drivers.base import Buffer
from storefs.fuse.attributes import Attributes, name_of, statvfs_data
from storefs.fuse.caller import asked_about, is_killed
from storefs.fuse.reporting import is_awaited, report
from storefs.fuse.succession import Successions
from storefs.streams.listing import Listing
from storefs.streams.vfs import Handle, Vfs
from storefs.streams.xattrs import PREFIX, Xattrs
from storefs.tree import Directory, Node

P = ParamSpec("P")
R = TypeVar("R")

#: How long to look who asks, seconds; the answer is then that for the default store.
CALLER_PATIENCE = 0.5

#: Requests whose first argument is an open file.
BY_HANDLE = {"read", "write", "flush", "fsync", "release"}


def _answered(
    handler: Callable[Concatenate["StoreOperations", P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate["StoreOperations", P], Coroutine[Any, Any, R]]:
    """Let nothing but FUSEError out; log one WARNING for a failed operation."""

    @functools.wraps(handler)
    async def answered(self: "StoreOperations", *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await handler(self, *args, **kwargs)
        except FUSEError:
            raise
        except Exception as exc:
            operation = handler.__name__.lstrip("_")
            raise FUSEError(report(operation, self._subject(operation, args), exc)) from exc

    return answered  # type: ignore[return-value]


class StoreOperations(pyfuse3.Operations):
    """The handlers of one mount over its `Vfs`."""

    supports_dot_lookup = True
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, vfs: Vfs) -> None:
        super().__init__()
        self._vfs = vfs
        self._tree = vfs.tree
        self._xattrs = Xattrs(vfs)
        self._attributes = Attributes(vfs.settings, self._is_replaced)
        self._handles: dict[int, Handle] = {}
        self._successions = Successions(vfs.tree)
        self._listings: dict[int, Directory | Listing] = {}
        self._numbers = itertools.count(1)
        #: where it is mounted, without links
        self.mountpoint = "/"
        vfs.renamed_away = self._invalidate

    def init(self) -> None:
        logging.getLogger("pyfuse3").addFilter(is_awaited)

    # -- names -----------------------------------------------------------------

    @_answered
    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        directory = self._directory(parent_inode)
        if name == b".":
            return self._attributes.entry(directory)
        if name == b"..":
            return self._attributes.entry(self._tree.root)
        found = await self._vfs.names.lookup(directory, name_of(name))
        if isinstance(found, Node):
            found = self._successions.announced(ctx.pid, found) or found
        return self._told(found)

    @_answered
    async def forget(self, inode_list: Any) -> None:
        for inode, times in inode_list:
            self._tree.forget(inode, times)

    @_answered
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        found = self._found(inode)
        if isinstance(found, Node):
            await self._vfs.names.refresh(found)
            if not (found.named or found.opens or found.replaces):
                # asked by name, which leads to another version since
                found.info = (await self._vfs.names.image(found.store_id, found.name)).info
        return self._attributes.entry(found)

    @_answered
    async def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: Any,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        found = self._found(inode)
        if isinstance(found, Node):
            if fields.update_size:
                handle = None if fh is None else self._handles[fh]
                await self._vfs.files.set_size(found, handle, attr.st_size)
            if fields.update_mtime:
                await self._vfs.files.set_mtime(found, attr.st_mtime_ns)
        return self._attributes.entry(found)

    @_answered
    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._vfs.unlink(self._directory(parent_inode), name_of(name))

    @_answered
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        if flags & pyfuse3.RENAME_EXCHANGE:
            raise FUSEError(errno.EINVAL)
        await self._vfs.rename(
            self._directory(parent_inode_old),
            name_of(name_old),
            self._directory(parent_inode_new),
            name_of(name_new),
            replace=not flags & pyfuse3.RENAME_NOREPLACE,
        )

    @_answered
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        """Register a URI; the kernel insists on a link here, and asks again at once."""
        directory = self._directory(parent_inode)
        await self._vfs.symlink(directory, name_of(name), os.fsdecode(target))
        entry = self._attributes.entry(directory)
        entry.st_ino = (directory.inode << 1) & ((1 << 63) - 1) | 1
        entry.st_mode = stat.S_IFLNK | 0o777
        entry.st_size = len(target)
        entry.entry_timeout = entry.attr_timeout = 0
        return entry

    @_answered
    async def mkdir(self, *args: Any) -> EntryAttributes:
        raise exceptions.ImageImmutable("Stores are flat: there are no directories in them.")

    @_answered
    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        raise FUSEError(errno.EPERM)

    @_answered
    async def mknod(self, *args: Any) -> EntryAttributes:
        raise FUSEError(errno.EPERM)

    @_answered
    async def link(self, *args: Any) -> EntryAttributes:
        raise FUSEError(errno.EPERM)

    @_answered
    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        raise FUSEError(errno.EINVAL)

    # -- directories ----------------------------------------------------------------

    @_answered
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        directory = self._directory(inode)
        number = next(self._numbers)
        at_root = directory is self._tree.root
        self._listings[number] = directory if at_root else await self._vfs.listing(directory)
        return number

    @_answered
    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        listing = self._listings[fh]
        if isinstance(listing, Directory):
            self._list_root(start_id, token)
        else:
            await self._list_images(listing, start_id, token)

    @_answered
    async def releasedir(self, fh: int) -> None:
        del self._listings[fh]

    def _list_root(self, start: int, token: Any) -> None:
        stores = sorted(self._tree.directories.items())
        for position, (store_id, directory) in enumerate(stores[start:], start + 1):
            entry = self._attributes.entry(directory)
            if not pyfuse3.readdir_reply(token, os.fsencode(store_id), entry, position):
                return

    async def _list_images(self, listing: Listing, position: int, token: Any) -> None:
        store_id = listing.store_id
        start = position
        while True:
            try:
                found = listing.ready(position) or await listing.at(position)
            except Exception:
                if position > start:
                    return  # first tell what there is; the next request meets the error
                raise
            if found is None:
                return
            info, as_of = found
            node = self._vfs.names.learn(store_id, info.image_id, info, as_of)
            name = os.fsencode(info.image_id)
            position += 1
            if not pyfuse3.readdir_reply(token, name, self._attributes.entry(node), position):
                self._tree.forget(node.inode, 0)
                return
            self._tree.remember(node)

    # -- files ------------------------------------------------------------------------

    @_answered
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        found = self._found(inode)
        if isinstance(found, Directory):
            raise FUSEError(errno.EISDIR)
        if flags & os.O_TRUNC and found.replaces is None:
            await self._let_succeed(found, ctx.pid)
        replaced = found.replaces
        handle = await self._vfs.files.open(found, flags)
        if replaced is not None:
            self._successions.done(ctx.pid, replaced)
        return self._opened(handle, ctx)

    @_answered
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        directory = self._directory(parent_inode)
        handle, node = await self._vfs.files.create(directory, name_of(name), flags)
        return self._opened(handle, ctx), self._told(node)

    @_answered
    async def read(self, fh: int, off: int, size: int) -> Buffer:  # type: ignore[override]
        return await self._vfs.files.read(self._handles[fh], off, size)

    @_answered
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        await self._vfs.files.write(self._handles[fh], off, buf)
        return len(buf)

    @_answered
    async def flush(self, fh: int) -> None:
        await self._vfs.files.flush(self._handles[fh])

    @_answered
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._vfs.files.fsync(self._handles[fh])

    async def release(self, fh: int) -> None:
        try:
            await self._release(fh)
        finally:
            del self._handles[fh]

    @_answered
    async def _release(self, fh: int) -> None:
        await self._vfs.files.release(self._handles[fh])

    @_answered
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        """Names are durable when the call that made them returns."""

    # -- attributes -----------------------------------------------------------------------

    @_answered
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        # asked before every write through the page cache: answered first
        if name == b"security.capability":
            raise FUSEError(pyfuse3.ENOATTR)
        if not name.startswith(PREFIX):
            # ENOTSUP makes ls ask once a mount and not once a file
            acl = name.startswith((b"system.posix_acl", b"security."))
            raise FUSEError(errno.ENOTSUP if acl else pyfuse3.ENOATTR)
        value = await self._xattrs.get(self._found(inode), name)
        if value is None:
            raise FUSEError(pyfuse3.ENOATTR)
        return os.fsencode(value)

    @_answered
    async def listxattr(self, inode: int, ctx: RequestContext) -> list[bytes]:
        """None: rsync -X removes what it sees listed and the source lacks."""
        return []

    @_answered
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        raise FUSEError(errno.ENOTSUP)

    @_answered
    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        raise FUSEError(errno.ENOTSUP)

    @_answered
    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        name = None
        with trio.move_on_after(CALLER_PATIENCE):
            name = await trio.to_thread.run_sync(
                asked_about, ctx.pid, self.mountpoint, abandon_on_cancel=True
            )
        store_id = name if name in self._tree.directories else None
        return statvfs_data(await self._vfs.capacity(store_id))

    @_answered
    async def access(self, inode: int, mode: int, ctx: RequestContext) -> bool:
        return True

    # -- for the log -----------------------------------------------------------------------------

    def _subject(self, operation: str, args: tuple[Any, ...]) -> str:
        """STORE/IMAGE that a request is about; never what it would write."""
        if operation in BY_HANDLE:
            handle = self._handles.get(args[0])
            return f"{handle.node.store_id}/{handle.node.name}" if handle else ""
        listing = self._listings.get(args[0]) if operation == "readdir" else None
        if isinstance(listing, Listing):
            return f"{listing.store_id}/"
        found = self._tree.get(args[0]) if args and isinstance(args[0], int) else None
        if isinstance(found, Node):
            return f"{found.store_id}/{found.name}"
        name = next((os.fsdecode(a) for a in args if isinstance(a, bytes)), "")
        return f"{(found and found.store_id) or ''}/{name}"

    # -- helpers ------------------------------------------------------------------------------

    def _is_replaced(self, node: Node) -> bool:
        return self._vfs.files.is_replaced(node)

    def _found(self, inode: int) -> Directory | Node:
        found = self._tree.get(inode)
        if found is None:
            raise FUSEError(errno.ESTALE)
        return found

    async def _let_succeed(self, node: Node, thread: int) -> None:
        """Refuse to open *node* for replacement once: the kernel then finds its successor."""
        current = await self._vfs.names.image(node.store_id, node.name)
        if not self._vfs.files.replaceable(current):
            return
        if self._successions.announced(thread, current) is None:
            self._successions.announce(thread, current, self._vfs.files.successor(current))
            raise FUSEError(errno.ESTALE)
        self._successions.done(thread, current)

    def _directory(self, inode: int) -> Directory:
        found = self._found(inode)
        if isinstance(found, Node):
            raise FUSEError(errno.ENOTDIR)
        return found

    def _told(self, found: Directory | Node) -> EntryAttributes:
        """The entry of a reply after which the kernel holds the inode."""
        if isinstance(found, Node):
            self._tree.remember(found)
        return self._attributes.entry(found)

    def _opened(self, handle: Handle, ctx: RequestContext) -> FileInfo:
        """Number a handle. An inode is one version, so its pages stay good over opens.

        Streams bypass the page cache: it belongs to who still reads the old bytes. So
        does an image of unknown size. Random writers do not: mmap(2) needs its pages.
        """
        number = next(self._numbers)
        self._handles[number] = handle
        handle.killed = functools.partial(is_killed, ctx.pid)
        unknown = handle.reading is not None and handle.reading.size is None
        known = bool(handle.node.info.version) and handle.node.pending is None
        return FileInfo(fh=number, direct_io=handle.streaming or unknown, keep_cache=known)

    def _invalidate(self, directory: int, name: str) -> None:
        pyfuse3.invalidate_entry_async(directory, os.fsencode(name), ignore_enoent=True)
