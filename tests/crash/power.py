# SPDX-License-Identifier: Apache-2.0
"""A disk that loses its power: ext4 in a file, shut down without writing anything more.

FS_IOC_SHUTDOWN with NOLOGFLUSH (the ``godown`` of xfstests) stops the file
system at once: what is only in memory - dirty pages, names and sizes of the
running transaction - is lost, everything that fsync(2) has answered for is
there after the journal was replayed. Not simulated is a disk that lies about
its own cache. So that nothing reaches the disk by luck, ext4 neither commits
every 5 seconds nor flushes files that a rename replaces.
"""

import fcntl
import os
import struct
import subprocess
from pathlib import Path

#: linux/fs.h: _IOR('X', 125, __u32), and its flag
_SHUTDOWN = 0x8004587D
_NOLOGFLUSH = 2

_OPTIONS = "loop,noauto_da_alloc,commit=1000"

#: Enough for all writers' images and their uploads, MiB.
SIZE = 768


class Disk:
    """A mounted file system of SIZE MiB below *directory*; only root can have one."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "disk"
        self.path = directory / "on-disk"
        self.path.mkdir()
        with self._file.open("wb") as file:
            file.truncate(SIZE << 20)
        subprocess.run(["mkfs.ext4", "-q", self._file], check=True, capture_output=True)
        self.mount()

    def mount(self) -> None:
        """The power is back; the journal is replayed."""
        command = ["mount", "-o", _OPTIONS, self._file, self.path]
        subprocess.run(command, check=True, capture_output=True)

    def power_off(self) -> None:
        """From now on nothing can be read or written."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NOLOGFLUSH))
        finally:
            os.close(descriptor)

    def umount(self) -> None:
        """Nobody may have anything open on it."""
        subprocess.run(["umount", self.path], check=True, capture_output=True)

    def close(self) -> None:
        """Take it away, whatever is open."""
        subprocess.run(["umount", "-l", self.path], check=False, capture_output=True)
