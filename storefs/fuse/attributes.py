# SPDX-License-Identifier: Apache-2.0
"""What stat(2) and statfs(2) show."""

import errno
import os
import stat
import time
from collections.abc import Callable

import pyfuse3
from pyfuse3 import EntryAttributes, FUSEError

from storefs.drivers.base import Capacity
from storefs.streams.engine import Settings
from storefs.streams.listing import NAME_MAX
from storefs.tree import Directory, Node

#: Largest write the kernel sends (256 pages); cp takes st_blksize for its own.
BLOCK_SIZE = 1024 * 1024

#: What statfs shows for a store that cannot say, bytes: room enough for any image.
UNKNOWN = Capacity(1 << 50, 1 << 50)


#: How long the kernel may keep a store's directory, seconds: as long as the mount.
#: libfuse 3.14 does not offer the kernel parallel directory operations, so names are
#: looked up one after the other in each directory. A name in the root that has to
#: wait for a dead store must not stand in the way of the other stores.
DIRECTORY_TIMEOUT = 10 * 365 * 24 * 3600


class Attributes:
    """Owner, mode and time-outs are the mount's; the rest is the image's."""

    def __init__(self, settings: Settings, is_replaced: Callable[[Node], bool]) -> None:
        self._settings = settings
        self._is_replaced = is_replaced
        self._mounted_ns = time.time_ns()

    def entry(self, found: Directory | Node) -> EntryAttributes:
        entry = EntryAttributes()
        entry.st_ino = found.inode
        entry.st_uid, entry.st_gid = self._settings.uid, self._settings.gid
        entry.st_blksize = BLOCK_SIZE
        entry.entry_timeout = entry.attr_timeout = self._settings.attribute_timeout
        if isinstance(found, Directory):
            entry.st_mode = stat.S_IFDIR | (0o777 & ~self._settings.umask)
            entry.st_nlink = 2
            entry.st_mtime_ns = entry.st_ctime_ns = entry.st_atime_ns = self._mounted_ns
            entry.entry_timeout = entry.attr_timeout = DIRECTORY_TIMEOUT
        else:
            self._describe(entry, found)
        return entry

    def _describe(self, entry: EntryAttributes, node: Node) -> None:
        info = node.info
        size, allocated = info.size or 0, info.allocated
        entry.st_mode = stat.S_IFREG | (0o666 & ~self._settings.umask)
        entry.st_nlink = 1 if node.named else 0
        if node.pending is not None:
            size, allocated = node.pending.size, None
        if node.writers or not node.named or self._is_replaced(node):
            entry.entry_timeout = entry.attr_timeout = 0  # it changes when they close
        mtime_ns = info.mtime_ns
        if node.pending is not None and node.pending.mtime_ns is not None:
            mtime_ns = node.pending.mtime_ns
        entry.st_size = size
        entry.st_blocks = -(-(size if allocated is None else allocated) // 512)
        entry.st_mtime_ns = entry.st_ctime_ns = entry.st_atime_ns = mtime_ns


def name_of(name: bytes) -> str:
    """A name the kernel gave us; it would take up to 1024 bytes."""
    if len(name) > NAME_MAX:
        raise FUSEError(errno.ENAMETOOLONG)
    return os.fsdecode(name)


def statvfs_data(capacity: Capacity | None) -> pyfuse3.StatvfsData:
    """A store's capacity, or room for anything where it cannot say."""
    capacity = capacity or UNKNOWN
    data = pyfuse3.StatvfsData()
    data.f_bsize = BLOCK_SIZE
    data.f_frsize = 4096
    data.f_blocks = capacity.total // data.f_frsize
    data.f_bfree = data.f_bavail = capacity.free // data.f_frsize
    data.f_files = data.f_ffree = data.f_favail = 1 << 32
    data.f_namemax = NAME_MAX
    return data
