# SPDX-License-Identifier: Apache-2.0
"""Hashes and mtime of an image, kept with its file.

Properties are extended attributes ``user.storefs.NAME``. Beside them stands
``user.storefs.stamp``: for which size and mtimes of the file they were
written. A file that another program has changed since no longer fits its
stamp, and its hashes are not shown.

The stamp holds one thing more: the mtime the file had when its bytes were
published, from which its version is made. So storefs can set the mtime and the
version, by which readers and caches know the bytes, stays. It names the mtime
before and after the last such change: it is written first, and a reader
between the two steps finds it valid.

A file system without extended attributes keeps the mtime alone.
"""

import dataclasses
import errno
import os
from collections.abc import Mapping

from storefs import exceptions
from storefs.drivers.base import mtime_property

_PREFIX = "user.storefs."
_STAMP = "stamp"

_UNSUPPORTED = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_ABSENT = (errno.ENODATA, *_UNSUPPORTED)

#: A path, whose last part is not followed, or a file descriptor.
File = str | int


@dataclasses.dataclass(frozen=True, slots=True)
class Stamp:
    """*size* and *mtimes* of the file it fits; *origin_ns* is the mtime of the bytes."""

    size: int
    origin_ns: int
    mtimes: frozenset[int]

    def fits(self, status: os.stat_result) -> bool:
        return self.size == status.st_size and status.st_mtime_ns in self.mtimes

    def encode(self) -> bytes:
        return ":".join(map(str, (self.size, self.origin_ns, *sorted(self.mtimes)))).encode()


def _decode(value: bytes) -> Stamp | None:
    try:
        size, origin_ns, *mtimes = map(int, value.split(b":"))
    except ValueError:
        return None
    return Stamp(size, origin_ns, frozenset(mtimes))


def valid_stamp(file: File, status: os.stat_result) -> Stamp | None:
    """The file's stamp, if it fits *status*."""
    value = _get(file, _STAMP)
    stamp = _decode(value) if value else None
    return stamp if stamp and stamp.fits(status) else None


def version(file: File, status: os.stat_result) -> str:
    """What changes whenever the bytes may have; not when storefs sets the mtime."""
    stamp = valid_stamp(file, status)
    origin_ns = stamp.origin_ns if stamp else status.st_mtime_ns
    return f"{status.st_ino:x}-{status.st_size:x}-{origin_ns:x}"


def read(fd: int) -> dict[str, str]:
    """The properties that belong to the bytes, and ``mtime_ns``."""
    status = os.fstat(fd)
    names = _names(fd) if valid_stamp(fd, status) else []
    values = {name: _get(fd, name) for name in names}
    kept = {name: value.decode(errors="replace") for name, value in values.items() if value}
    return {**kept, "mtime_ns": str(status.st_mtime_ns)}


def write(fd: int, properties: Mapping[str, str]) -> None:
    """Merge *properties* into the file's; its version stays."""
    check(properties)
    status = os.fstat(fd)
    stamp = valid_stamp(fd, status)
    if stamp is None:
        _forget(fd)
    origin_ns = stamp.origin_ns if stamp else status.st_mtime_ns
    mtime_ns = mtime_property(properties, status.st_mtime_ns)
    mtimes = frozenset({status.st_mtime_ns, mtime_ns})
    _set(fd, _STAMP, Stamp(status.st_size, origin_ns, mtimes).encode())
    for name, value in properties.items():
        if name != "mtime_ns":
            _set(fd, name, value.encode())
    _set_mtime(fd, status.st_atime_ns, mtime_ns)
    _confirm(fd, Stamp(status.st_size, origin_ns, mtimes))


def seal(fd: int, properties: Mapping[str, str]) -> None:
    """Give a file that is about to be published its properties and its version.

    The mtime is first set to what it is: over NFS that sends the bytes, and the
    server's later idea of their mtime would void the stamp. The version is made
    of this one and not of the property ``mtime_ns``: two images may well be
    given the same size and mtime, and the second the inode of the first.
    """
    status = os.fstat(fd)
    os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
    write(fd, properties)


def check(properties: Mapping[str, str]) -> None:
    """Raise `Invalid` for what cannot be kept."""
    mtime_property(properties, 0)
    if _STAMP in properties:
        raise exceptions.Invalid(f"{_STAMP!r} is the file driver's own property")


def _confirm(fd: int, stamp: Stamp) -> None:
    """Restamp where the file system keeps coarser times than it was given."""
    status = os.fstat(fd)
    if not stamp.fits(status):
        mtimes = stamp.mtimes | {status.st_mtime_ns}
        _set(fd, _STAMP, dataclasses.replace(stamp, mtimes=mtimes).encode())


def _set_mtime(fd: int, atime_ns: int, mtime_ns: int) -> None:
    try:
        os.utime(fd, ns=(atime_ns, mtime_ns))
    except OverflowError as exc:
        raise exceptions.Invalid(f"No file can have the mtime {mtime_ns} ns") from exc


def _names(fd: int) -> list[str]:
    try:
        names = os.listxattr(fd)
    except OSError as exc:
        if exc.errno in _UNSUPPORTED:
            return []
        raise
    found = (name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX))
    return [name for name in found if name != _STAMP]


def _forget(fd: int) -> None:
    for name in _names(fd):
        os.removexattr(fd, _PREFIX + name)


def _get(file: File, name: str) -> bytes | None:
    try:
        return os.getxattr(file, _PREFIX + name, follow_symlinks=isinstance(file, int))
    except OSError as exc:
        if exc.errno in _ABSENT:
            return None
        raise


def _set(fd: int, name: str, value: bytes) -> None:
    try:
        os.setxattr(fd, _PREFIX + name, value)
    except OSError as exc:
        if exc.errno not in _UNSUPPORTED:
            raise
