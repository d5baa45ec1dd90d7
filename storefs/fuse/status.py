# SPDX-License-Identifier: Apache-2.0
"""``.storefs/uploads`` in the mount's root: not listed, readable by name.

It is written when it is opened, like a file of /proc, and has no size before.
"""

import errno
import os
import stat
from collections.abc import Callable
from typing import Any

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext

from storefs.drivers.base import Buffer
from storefs.fuse.operations import StoreOperations
from storefs.streams.uploads import report
from storefs.streams.vfs import Vfs
from storefs.tree import ROOT_INODE, STATUS_INODE, UPLOADS_INODE

#: How the directory is called, and what is in it.
DIRECTORY, UPLOADS = b".storefs", b"uploads"

_OWN = {STATUS_INODE, UPLOADS_INODE}


class MountOperations(StoreOperations):
    """The stores, and beside them what the mount says of itself."""

    def __init__(self, vfs: Vfs) -> None:
        super().__init__(vfs)
        self._reports: dict[int, Buffer] = {}
        self._own_listings: set[int] = set()
        self._report: Callable[[], str] = lambda: report(vfs.files)

    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        if parent_inode == ROOT_INODE and name == DIRECTORY:
            return self._own(STATUS_INODE)
        if parent_inode == STATUS_INODE:
            return self._own(_child(name))
        return await super().lookup(parent_inode, name, ctx)

    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return self._own(inode) if inode in _OWN else await super().getattr(inode, ctx)

    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        if inode != UPLOADS_INODE:
            return await super().open(inode, flags, ctx)
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise FUSEError(errno.EPERM)
        number = next(self._numbers)
        self._reports[number] = self._report().encode()
        return FileInfo(fh=number, direct_io=True)

    async def read(self, fh: int, off: int, size: int) -> Buffer:  # type: ignore[override]
        if (text := self._reports.get(fh)) is not None:
            return text[off : off + size]
        return await super().read(fh, off, size)

    async def flush(self, fh: int) -> None:
        if fh not in self._reports:
            await super().flush(fh)

    async def fsync(self, fh: int, datasync: bool) -> None:
        if fh not in self._reports:
            await super().fsync(fh, datasync)

    async def release(self, fh: int) -> None:
        if self._reports.pop(fh, None) is None:
            await super().release(fh)

    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        if inode != STATUS_INODE:
            return await super().opendir(inode, ctx)
        number = next(self._numbers)
        self._own_listings.add(number)
        return number

    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        if fh not in self._own_listings:
            await super().readdir(fh, start_id, token)
        elif start_id == 0:
            pyfuse3.readdir_reply(token, UPLOADS, self._own(UPLOADS_INODE), 1)

    async def releasedir(self, fh: int) -> None:
        if fh in self._own_listings:
            self._own_listings.remove(fh)
        else:
            await super().releasedir(fh)

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        if parent_inode == STATUS_INODE:
            raise FUSEError(errno.EPERM)
        return await super().create(parent_inode, name, mode, flags, ctx)

    def _own(self, inode: int) -> EntryAttributes:
        entry = self._attributes.entry(self._tree.root)
        entry.st_ino = inode
        if inode == UPLOADS_INODE:
            entry.st_mode, entry.st_nlink = stat.S_IFREG | 0o444, 1
        else:
            entry.st_mode = stat.S_IFDIR | 0o555
        return entry


def _child(name: bytes) -> int:
    found = {b".": STATUS_INODE, b"..": ROOT_INODE, UPLOADS: UPLOADS_INODE}.get(name)
    if found is None:
        raise FUSEError(errno.ENOENT)
    return found
