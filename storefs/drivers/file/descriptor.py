# SPDX-License-Identifier: Apache-2.0
"""A file descriptor that several threads use and any of them may close."""

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterator

from storefs import exceptions

#: A symbolic link is no image, and a FIFO must not hang the one who looks.
OPEN_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_regular(path: str) -> int:
    """Open *path* for reading; FileNotFoundError if it is no regular file."""
    fd = os.open(path, os.O_RDONLY | OPEN_FLAGS)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        raise FileNotFoundError(errno.ENOENT, "not a regular file", path)
    except OSError:
        os.close(fd)
        raise


class Descriptor:
    """Owns *fd*, and closes it when the last who uses it is done.

    So its number is never given to another file while somebody still reads or
    writes through it.
    """

    def __init__(self, fd: int, image_id: str) -> None:
        self._fd = fd
        self._image_id = image_id
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False

    @contextlib.contextmanager
    def use(self) -> Iterator[int]:
        """The number, valid inside; `BackendException` if closed before or meanwhile."""
        with self._lock:
            self._check()
            self._users += 1
        try:
            yield self._fd
        finally:
            self._leave()
        self._check()

    def close(self) -> None:
        """Nobody may begin to use it; may be called more than once."""
        with self._lock:
            first, self._closed = not self._closed, True
            if first and not self._users:
                os.close(self._fd)

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._closed and not self._users:
                os.close(self._fd)

    def _check(self) -> None:
        if self._closed:
            raise exceptions.BackendException(f"Image {self._image_id} has been closed")
