# SPDX-License-Identifier: Apache-2.0
"""Writing past the page cache, where the file system can.

An image that is added is rarely read at once, and on this way in its bytes were
already copied twice. Going through the cache costs another copy, the pages, and
the wait for their writing at the end: 0.4 to 0.9 CPU seconds a GiB on two cores
that the hashes need.
"""

import contextlib
import errno
import mmap
import os

from storefs.drivers.file.descriptor import OPEN_FLAGS, Descriptor

#: What O_DIRECT wants offsets, lengths and addresses to be multiples of, bytes; no
#: disk has larger logical blocks. A mapping begins at a page.
_ALIGNMENT = 4096

_UNSUPPORTED = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


class DirectFile:
    """A second way into the file at *path*, for parts of up to *longest* bytes.

    `write` may be called by several threads at once.
    """

    def __init__(self, path: str, image_id: str, longest: int) -> None:
        self._longest = longest
        self._free: list[mmap.mmap] = []
        self._descriptor: Descriptor | None = None
        with contextlib.suppress(OSError):  # then there is only the one through the cache
            fd = os.open(path, os.O_WRONLY | os.O_DIRECT | OPEN_FLAGS)
            self._descriptor = Descriptor(fd, image_id)

    def write(self, data: memoryview, offset: int) -> int:
        """How many bytes from the beginning of *data* were written; 0 where that cannot be."""
        length = len(data)
        if self._descriptor is None or offset % _ALIGNMENT or length % _ALIGNMENT:
            return 0
        if not 0 < length <= self._longest:
            return 0
        with self._descriptor.use() as fd:
            return self._write(fd, data, offset)

    def close(self) -> None:
        if self._descriptor is not None:
            self._descriptor.close()

    def _write(self, fd: int, data: memoryview, offset: int) -> int:
        buffer = self._free.pop() if self._free else mmap.mmap(-1, self._longest)
        try:
            with memoryview(buffer) as whole, whole[: len(data)] as aligned:
                aligned[:] = data
                return os.pwrite(fd, aligned, offset)
        except OSError as exc:
            if exc.errno not in _UNSUPPORTED:
                raise
            return 0
        finally:
            self._free.append(buffer)
