# SPDX-License-Identifier: Apache-2.0
"""One version of an image file, open for reading."""

import functools
import os

from storefs import exceptions
from storefs.drivers.base import ImageInfo, Reader
from storefs.drivers.file import properties
from storefs.drivers.file.descriptor import Descriptor, open_regular
from storefs.drivers.file.errors import translated
from storefs.drivers.file.timeout import TimedCalls


def image_info(image_id: str, file: properties.File, status: os.stat_result) -> ImageInfo:
    """What the file's *status* and stamp tell."""
    return ImageInfo(
        image_id,
        status.st_size,
        properties.version(file, status),
        status.st_mtime_ns,
        status.st_blocks * 512,
    )


class FileReader(Reader):
    """Holds the file open, so its bytes stay though the image is replaced or deleted.

    Only writing into the file itself can change them: that shows in its size
    or mtime, which are looked at after the bytes were read.
    """

    max_concurrency = 2
    block_size = 2 * 1024 * 1024

    def __init__(self, path: str, image_id: str, calls: TimedCalls) -> None:
        fd = open_regular(path)
        self._descriptor = Descriptor(fd, image_id)
        self._calls = calls
        try:
            status = os.fstat(fd)
            self.info = image_info(image_id, fd, status)
        except OSError:
            self.close()
            raise
        self._size = status.st_size
        self._file = status.st_dev, status.st_ino
        self._mtimes = frozenset({status.st_mtime_ns})

    def pread(self, length: int, offset: int) -> bytes:
        return self._calls.run(functools.partial(self._read, length, offset))

    def _read(self, length: int, offset: int) -> bytes:
        wanted = max(0, min(length, self._size - offset))
        with translated(self.info.image_id), self._descriptor.use() as fd:
            data = _pread_all(fd, wanted, offset)
            changed = self._changed(fd)
        if changed or len(data) < wanted:
            raise exceptions.ImageChanged(image=self.info.image_id)
        return data

    def _changed(self, fd: int) -> bool:
        """Did another program write? storefs itself may have set the mtime."""
        status = os.fstat(fd)
        if status.st_size == self._size and status.st_mtime_ns in self._mtimes:
            return False
        return properties.version(fd, status) != self.info.version

    def expect_mtime(self, status: os.stat_result, mtime_ns: int) -> None:
        """The mtime of the file with *status*, if it is this one, is about to be set.

        Without it a file system that keeps no stamp could not tell that from a
        change of the bytes.
        """
        if (status.st_dev, status.st_ino) == self._file:
            self._mtimes |= {mtime_ns}

    def close(self) -> None:
        self._descriptor.close()


def _pread_all(fd: int, length: int, offset: int) -> bytes:
    """os.pread gives less than 2 GiB at once."""
    data = os.pread(fd, length, offset)
    if len(data) == length or not data:
        return data
    pieces = [data]
    while data and (have := sum(map(len, pieces))) < length:
        data = os.pread(fd, length - have, offset + have)
        pieces.append(data)
    return b"".join(pieces)
