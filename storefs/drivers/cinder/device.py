# SPDX-License-Identifier: Apache-2.0
"""The bytes of a volume that is attached to this host: a file, a block device or an RBD image."""

import abc
import errno
import os
import stat
from collections.abc import Sequence
from typing import Any

from storefs import exceptions
from storefs.drivers.base import Buffer
from storefs.drivers.rbd.io import ImageReads, ImageWrites, MiB, OpenImage

#: Cinder makes its RBD images of objects this long.
_OBJECT_SIZE = 4 * MiB

#: More than any volume has: what is read is bounded by the image, not by the volume.
_END = 1 << 62

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Device(abc.ABC):
    """An attached volume, used by many threads at once.

    *fresh*: what nobody has written reads as zeros in a new volume.
    """

    fresh = True

    @abc.abstractmethod
    def pread(self, length: int, offset: int) -> Buffer:
        """Exactly *length* bytes, or an error: never fewer."""

    def preadv(self, length: int, offset: int) -> Sequence[Buffer]:
        """The same, in the pieces in which it arrived."""
        return [self.pread(length, offset)]

    @abc.abstractmethod
    def pwrite(self, data: memoryview, offset: int) -> None:
        """All of *data*; no reference to it is kept."""

    def pwritev(self, pieces: Sequence[memoryview], offset: int) -> None:
        """All of *pieces*, one after the other."""
        for piece in pieces:
            self.pwrite(piece, offset)
            offset += len(piece)

    @abc.abstractmethod
    def flush(self) -> None:
        """What was written is durable afterwards."""

    @abc.abstractmethod
    def close(self) -> None:
        """Waits for what is under way; may be called again."""


class RbdDevice(Device):
    """The image os-brick has opened, driven past its one-call-at-a-time wrapper."""

    def __init__(self, wrapper: Any, what: str) -> None:
        self._open = OpenImage(_Borrowed(wrapper), what)
        self._reads = ImageReads(self._open, _END)
        self._writes = ImageWrites(self._open, _OBJECT_SIZE)

    def pread(self, length: int, offset: int) -> Buffer:
        return self._reads.read(length, offset)

    def preadv(self, length: int, offset: int) -> Sequence[Buffer]:
        return self._reads.read_pieces(length, offset)

    def pwrite(self, data: memoryview, offset: int) -> None:
        self._writes.write(data, offset)

    def pwritev(self, pieces: Sequence[memoryview], offset: int) -> None:
        self._writes.write_pieces(pieces, offset)

    def flush(self) -> None:
        self._writes.flush()

    def close(self) -> None:
        self._open.close()


class _Borrowed:
    """os-brick closes the image: it has a connection and a file to clean up with it."""

    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapper.rbd_image, name)

    def close(self) -> None:
        """Nothing: see above."""


class FileDevice(Device):
    """A file on an NFS share, or a block device."""

    def __init__(self, path: str, what: str, *, writable: bool) -> None:
        self._what = what
        flags = os.O_RDWR if writable else os.O_RDONLY
        try:
            self._descriptor = os.open(path, flags | os.O_CLOEXEC)
            mode = os.fstat(self._descriptor).st_mode
        except OSError as exc:
            raise self._failure(exc) from exc
        self.fresh = stat.S_ISREG(mode)
        self._open = OpenImage(_Descriptor(self._descriptor), what)

    def pread(self, length: int, offset: int) -> Buffer:
        data = bytearray(length)
        view = memoryview(data)
        with self._open.use():
            while view:
                view = view[self._read_into(view, offset + length - len(view)) :]
        return data

    def pwrite(self, data: memoryview, offset: int) -> None:
        with self._open.use():
            while data:
                written = self._write(data, offset)
                data, offset = data[written:], offset + written

    def flush(self) -> None:
        with self._open.use():
            try:
                os.fsync(self._descriptor)
            except OSError as exc:
                raise self._failure(exc) from exc

    def close(self) -> None:
        self._open.close()

    def _read_into(self, view: memoryview, offset: int) -> int:
        try:
            got = os.preadv(self._descriptor, [view], offset)
        except OSError as exc:
            raise self._failure(exc) from exc
        if not got:
            raise exceptions.ImageChanged(f"{self._what} became shorter while it was open")
        return got

    def _write(self, data: memoryview, offset: int) -> int:
        try:
            return os.pwrite(self._descriptor, data, offset)
        except OSError as exc:
            raise self._failure(exc) from exc

    def _failure(self, exc: OSError) -> Exception:
        text = f"{self._what}: {exc.strerror}"
        if exc.errno in _FULL:
            return exceptions.StorageFull(text)
        if exc.errno in {errno.EACCES, errno.EPERM}:
            return exceptions.Forbidden(
                f"{text}: storefs has to be root, or in the group that may use the device"
            )
        return exceptions.BackendException(text)


class _Descriptor:
    """A file descriptor that `OpenImage` closes when nobody uses it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        os.close(self._descriptor)
