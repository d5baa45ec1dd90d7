# SPDX-License-Identifier: Apache-2.0
"""Steps of a publication that Linux has and Python has not, and their substitutes."""

import contextlib
import ctypes
import errno
import functools
import os
from collections.abc import Callable, Iterator

#: linux/fs.h
_SYNC_FILE_RANGE_WRITE = 2
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
_NO_FLAGS = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)

_Exclusive = Callable[[], contextlib.AbstractContextManager[None]]


@functools.cache
def _libc(name: str) -> Callable[..., int] | None:
    """A function of the C library that sets errno, or None where it has none."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    return function if callable(function) else None


def start_writeback(fd: int, length: int, offset: int) -> None:
    """Let the kernel begin to write these bytes to disk, so that fsync is short.

    Only a hint: where it cannot be given nothing happens.
    """
    sync_file_range = _libc("sync_file_range")
    if sync_file_range is not None:
        offset64, length64 = ctypes.c_int64(offset), ctypes.c_int64(length)
        sync_file_range(fd, offset64, length64, _SYNC_FILE_RANGE_WRITE)


def write_all(fd: int, data: memoryview, offset: int) -> None:
    """os.pwrite may write less than it was given."""
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


def read_all(fd: int, length: int, offset: int) -> bytes:
    """os.pread may read less than it was asked for; this does so where the file ends."""
    pieces = []
    while length > 0 and (piece := os.pread(fd, length, offset)):
        pieces.append(piece)
        length, offset = length - len(piece), offset + len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def data_runs(data: memoryview, block: int) -> Iterator[tuple[memoryview, int]]:
    """The stretches of *data* without the *block*-long pieces that are all zeros.

    With their offsets. The first byte alone decides about most pieces of most
    images; the rest are compared with a constant, which is memcmp.
    """
    zeros = bytes(block)
    begin = 0
    for at in range(0, len(data), block):
        piece = data[at : at + block]
        if piece[0] == 0 and bytes(piece) == zeros[: len(piece)]:
            if begin < at:
                yield data[begin:at], begin
            begin = at + len(piece)
    if begin < len(data):
        yield data[begin:], begin


def publish_new(temporary: str, path: str, exclusive: _Exclusive) -> None:
    """Give the file its name; FileExistsError, and nothing else happened, if that is taken.

    Without hard links a rename that does not replace is the next best, and
    without that a look and a rename while *exclusive* holds.
    """
    try:
        os.link(temporary, path, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINKS:
            raise
        _rename_new(temporary, path, exclusive)
    else:
        _drop_link(temporary, path)


def _drop_link(temporary: str, path: str) -> None:
    try:
        os.unlink(temporary)
    except OSError:
        os.unlink(path)
        raise


def _rename_new(temporary: str, path: str, exclusive: _Exclusive) -> None:
    if _rename_noreplace(temporary, path):
        return
    with exclusive():
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        os.rename(temporary, path)


def _rename_noreplace(temporary: str, path: str) -> bool:
    """renameat2(2); False where the library or the file system has none."""
    renameat2 = _libc("renameat2")
    if renameat2 is None:
        return False
    source, target = os.fsencode(temporary), os.fsencode(path)
    if renameat2(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_FLAGS:
        return False
    raise OSError(number, os.strerror(number), path)


def sync_directory(path: str) -> None:
    """Make the names in it durable, where directories can be synchronized."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(fd)
