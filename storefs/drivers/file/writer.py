# SPDX-License-Identifier: Apache-2.0
"""An upload into a data directory: a hidden temporary until it is published."""

import contextlib
import dataclasses
import fcntl
import functools
import logging
import os
import secrets
import threading
from collections.abc import Mapping

from storefs import exceptions
from storefs.drivers.base import SupportsReread, Writer
from storefs.drivers.file import properties as file_properties
from storefs.drivers.file.datadirs import UPLOAD, Datadir, Datadirs
from storefs.drivers.file.descriptor import OPEN_FLAGS, Descriptor
from storefs.drivers.file.direct import DirectFile
from storefs.drivers.file.errors import translated
from storefs.drivers.file.publish import (
    data_runs,
    publish_new,
    read_all,
    start_writeback,
    sync_directory,
    write_all,
)
from storefs.drivers.file.timeout import TimedCalls

_LOG = logging.getLogger(__name__)

#: Bytes. From 1 to 8 MiB all write equally fast; 2 take few thread hops and little memory.
PART_SIZE = 2 * 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """How files are written.

    *mode* is their permissions, None leaves them to the umask; *hole_block* is
    how many zero bytes become a hole, 0 for none.
    """

    mode: int | None
    hole_block: int


class FileWriter(Writer, SupportsReread):
    """Writes ``.storefs-upload-*`` beside the images, then gives it the image's name.

    The temporary is locked as long as its writer lives, on whatever host, so
    that a cleaner can tell a dead one. Two writers at once keep the disk busy
    while a third thread hashes; more gain nothing on one file.
    """

    max_concurrency = 2

    def __init__(
        self, datadirs: Datadirs, path: str, replace: bool, policy: Policy, calls: TimedCalls
    ) -> None:
        self._datadirs = datadirs
        self._path = path
        self._directory, self._name = os.path.split(path)
        self._replace = replace
        self._policy = policy
        self._calls = calls
        self._properties: Mapping[str, str] = {}
        self._lock = threading.Lock()
        self._aborted = self._publishing = False
        fd, self._temporary = _new_temporary(self._directory)
        self._descriptor = Descriptor(fd, self._name)
        self._direct = DirectFile(self._temporary, self._name, PART_SIZE)

    def part_size(self, offset: int) -> int:
        return PART_SIZE

    def pwrite(self, data: memoryview, offset: int) -> None:
        self._calls.run(functools.partial(self._write, data, offset))

    def _write(self, data: memoryview, offset: int) -> None:
        block = self._policy.hole_block
        with translated(self._name), self._descriptor.use() as fd:
            for piece, at in data_runs(data, block) if block else [(data, 0)]:
                done = self._direct.write(piece, offset + at)
                if done < len(piece):
                    write_all(fd, piece[done:], offset + at + done)
                    start_writeback(fd, len(piece) - done, offset + at + done)

    def skip(self, length: int, offset: int) -> None:
        """Nothing: what is not written is a hole, and commit sets the size."""

    def reread(self, length: int, offset: int) -> bytes:
        return self._calls.run(functools.partial(self._reread, length, offset))

    def _reread(self, length: int, offset: int) -> bytes:
        """Through the cache: Linux drops from it what is written past it."""
        with translated(self._name), self._descriptor.use() as fd:
            return read_all(fd, length, offset).ljust(length, b"\0")

    def stage(self, properties: Mapping[str, str]) -> bool:
        file_properties.check(properties)
        self._properties = dict(properties)
        return True

    def commit(self, size: int) -> None:
        self._calls.run(functools.partial(self._commit, size))

    def _commit(self, size: int) -> None:
        try:
            with translated(self._name), self._descriptor.use() as fd:
                self._finish(fd, size)
                self._begin_publishing()
                self._publish()
                self._make_durable()
        finally:
            self._discard()

    def _finish(self, fd: int, size: int) -> None:
        """Make the file all that the image is to be, on disk."""
        os.ftruncate(fd, size)
        if self._policy.mode is not None:
            os.fchmod(fd, self._policy.mode)
        file_properties.seal(fd, self._properties)
        os.fsync(fd)

    def _begin_publishing(self) -> None:
        """From here on an abort comes too late; before, it prevents the publication."""
        with self._lock:
            if self._aborted:
                raise exceptions.BackendException(f"The upload of {self._name} was aborted")
            self._publishing = True

    def _publish(self) -> None:
        if self._replace:
            os.replace(self._temporary, self._path)
            self._datadirs.remove_others(self._path)
        elif len(self._datadirs.all) == 1:
            publish_new(self._temporary, self._path, self._datadirs.exclusive)
        else:
            self._publish_in_one_of_many()

    def _publish_in_one_of_many(self) -> None:
        """No link in this directory can notice the same name in another."""
        with self._datadirs.exclusive():
            if self._datadirs.taken(self._name):
                raise exceptions.Duplicate(image=self._name)
            publish_new(self._temporary, self._path, contextlib.nullcontext)

    def _make_durable(self) -> None:
        """What is new is taken back if that fails; what was replaced is gone."""
        try:
            sync_directory(self._directory)
        except OSError:
            if not self._replace:
                os.unlink(self._path)
            raise

    def abort(self) -> None:
        with self._lock:
            if self._publishing:
                return
            self._aborted = True
        self._calls.run(self._discard)

    def _discard(self) -> None:
        """Close, and remove the temporary if it is still there."""
        self._direct.close()
        self._descriptor.close()
        with translated(self._name), contextlib.suppress(FileNotFoundError):
            os.unlink(self._temporary)


def _new_temporary(directory: str) -> tuple[int, str]:
    """A new, locked file; another name where a cleaner was faster than the lock."""
    while True:
        path = os.path.join(directory, UPLOAD + secrets.token_hex(8))
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, 0o666)
        with contextlib.ExitStack() as stack:
            stack.callback(_remove, fd, path)
            if _lock(fd) and os.fstat(fd).st_nlink:
                stack.pop_all()
                return fd, path


def _remove(fd: int, path: str) -> None:
    os.close(fd)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _lock(fd: int) -> bool:
    """Lock the file; False if another holds the lock. Without locks nobody cleans either."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        _LOG.info("no locks on this file system (%s): leftovers will stay", exc.strerror)
    return True


def remove_leftovers(directory: Datadir, store_id: str) -> None:
    """Remove the temporaries whose writer is dead, on whatever host it ran."""
    with os.scandir(directory.path) as entries:
        names = [e.path for e in entries if e.name.startswith(UPLOAD)]
    for path in names:
        try:
            _remove_leftover(path, store_id)
        except BlockingIOError:
            _LOG.debug("store %s: %s is being written", store_id, path)
        except OSError as exc:
            _LOG.info("store %s: %s stays: %s", store_id, path, exc.strerror)


def _remove_leftover(path: str, store_id: str) -> None:
    fd = os.open(path, os.O_RDWR | OPEN_FLAGS)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
        _LOG.info("store %s: removed %s, left by an upload that died", store_id, path)
    finally:
        os.close(fd)
