# SPDX-License-Identifier: Apache-2.0
"""A pyfuse3 filesystem that does nothing: one file of SIZE zeros, out of memory.

``null_fs.py MOUNTPOINT SIZE``. The ceiling of what any read through pyfuse3 can
reach on this machine.
"""

import errno
import stat
import sys

import pyfuse3
import trio

ZEROS = memoryview(bytes(1024 * 1024))
NAME, INODE = b"null", 2


class Null(pyfuse3.Operations):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def _entry(self, inode: int) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        entry.entry_timeout = entry.attr_timeout = 300
        entry.st_mode = (stat.S_IFDIR | 0o755) if inode == 1 else (stat.S_IFREG | 0o644)
        entry.st_size = self.size if inode == INODE else 0
        return entry

    async def getattr(self, inode, ctx=None):
        return self._entry(inode)

    async def lookup(self, parent_inode, name, ctx=None):
        if name != NAME:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._entry(INODE)

    async def open(self, inode, flags, ctx):
        return pyfuse3.FileInfo(fh=1, keep_cache=True)

    async def read(self, fh, off, size):
        return ZEROS[: max(0, min(size, self.size - off))]


def main() -> None:
    pyfuse3.init(Null(int(sys.argv[2])), sys.argv[1], {"fsname=null", "default_permissions"})
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    main()
