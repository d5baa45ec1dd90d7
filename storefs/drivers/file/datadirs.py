# SPDX-License-Identifier: Apache-2.0
"""The directories of a file store: which there are, where an image is, where one goes."""

import contextlib
import dataclasses
import fcntl
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from storefs import exceptions
from storefs.drivers.base import check_image_id

_LOG = logging.getLogger(__name__)

#: What uploads are called until they are published; no image begins like this.
TEMPORARY = ".storefs-"
UPLOAD = TEMPORARY + "upload-"

#: Glance's default, which counts as not set when the datadirs are.
DEFAULT_DATADIR = "/var/lib/glance/images"

Found = tuple[str, os.stat_result]


def check_name(name: str) -> None:
    """Raise `Invalid` for what cannot be the name of an image's file."""
    check_image_id(name)
    if name.startswith(TEMPORARY):
        raise exceptions.Invalid(f"{name!r}: names that begin with {TEMPORARY} are temporaries")
    try:
        os.fsencode(name)
    except UnicodeEncodeError as exc:
        raise exceptions.Invalid(f"{name!r} has no form in the file system's encoding") from exc


@dataclasses.dataclass(frozen=True, slots=True)
class Datadir:
    """One directory; *read_only* says why nothing is written there, or is None."""

    path: str
    priority: int = 0
    read_only: str | None = None

    def free(self) -> int:
        """Bytes that may still be written."""
        statvfs = os.statvfs(self.path)
        return statvfs.f_bavail * statvfs.f_frsize


class Datadirs:
    """All of a store's directories, the highest priority first."""

    def __init__(self, dirs: Sequence[Datadir]) -> None:
        self.all = sorted(dirs, key=lambda d: -d.priority)
        self._paths = {d.path for d in self.all}

    @property
    def url_prefix(self) -> str:
        return "file://" + os.path.commonpath([d.path for d in self.all])

    @property
    def read_only(self) -> str | None:
        """Why no image can be added, or None."""
        reasons = [d.read_only for d in self.all]
        return None if None in reasons else "; ".join(filter(None, reasons))

    def confine(self, path: str) -> str:
        """The name of the file at *path*; `BadStoreUri` unless it lies in one of us."""
        parent, name = os.path.split(path)
        try:
            check_name(name)
        except exceptions.Invalid as exc:
            raise exceptions.BadStoreUri(exc.msg) from exc
        if parent not in self._paths and not self._same(parent):
            raise exceptions.BadStoreUri(f"{path} is in no data directory of this store")
        return name

    def _same(self, parent: str) -> bool:
        return os.path.isabs(parent) and os.path.realpath(parent) in {
            os.path.realpath(path) for path in self._paths
        }

    def find(self, path: str) -> Found | None:
        """The image at *path*, or else of that name in any directory."""
        name = self.confine(path)
        candidates = [path, *(os.path.join(d.path, name) for d in self.all)]
        return next(filter(None, map(_image, candidates)), None)

    def taken(self, name: str) -> bool:
        """Is there an image, or anything else, of that name?"""
        return any(_exists(os.path.join(d.path, name)) for d in self.all)

    def shadowed(self, directory: Datadir, name: str) -> bool:
        """Does a directory before *directory* have an image of that name?"""
        before = self.all[: self.all.index(directory)]
        return any(_image(os.path.join(d.path, name)) for d in before)

    def choose(self, size: int, name: str) -> Datadir:
        """Where the image *name* of *size* bytes goes; `StorageFull` if nowhere.

        That is where it already is, if it fits: there one step replaces it.
        """
        for directory in self.all:
            there = directory.read_only is None and _exists(os.path.join(directory.path, name))
            if there and directory.free() >= size:
                return directory
        for priority in sorted({d.priority for d in self.all}, reverse=True):
            dirs = [d for d in self.all if d.priority == priority and d.read_only is None]
            free, best = max(((d.free(), d) for d in dirs), key=lambda f: f[0], default=(-1, None))
            if best is not None and free >= size:
                return best
        raise exceptions.StorageFull(
            f"No data directory has {size} bytes free: {', '.join(d.path for d in self.all)}"
        )

    def remove_others(self, path: str) -> None:
        """Remove the images of the same name from the other directories."""
        parent, name = os.path.split(path)
        for directory in self.all:
            other = os.path.join(directory.path, name)
            if directory.path != parent and _image(other):
                os.unlink(other)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes that do the same out, as far as the file system can."""
        fd = os.open(self.all[0].path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _exists(path: str) -> bool:
    """As os.path.lexists, but an error is an error and not an absence."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _image(path: str) -> Found | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return (path, status) if stat.S_ISREG(status.st_mode) else None


def configured(options: Any, store_id: str) -> Datadirs:
    """The directories the options name, made where missing; `BadStoreConfiguration`."""
    many = options.filesystem_store_datadirs or []
    one = options.filesystem_store_datadir
    if many and one not in (None, "", DEFAULT_DATADIR):
        _bad(store_id, "set filesystem_store_datadir or filesystem_store_datadirs, not both")
    if not many and not one:
        _bad(store_id, "set filesystem_store_datadir to the directory of the images")
    priorities = _priorities(many, store_id) if many else {os.path.abspath(one): 0}
    mode = file_mode(options, store_id)
    return Datadirs([_prepared(path, p, mode, store_id) for path, p in priorities.items()])


def _priorities(entries: Sequence[str], store_id: str) -> dict[str, int]:
    priorities: dict[str, int] = {}
    for entry in entries:
        path, priority = _parse(entry, store_id)
        if priorities.get(path, priority) != priority:
            _bad(store_id, f"filesystem_store_datadirs gives {path} two priorities")
        if path in priorities:
            _LOG.warning("store %s: filesystem_store_datadirs names %s twice", store_id, path)
        priorities[path] = priority
    return priorities


def _parse(entry: str, store_id: str) -> tuple[str, int]:
    path, colon, priority = (part.strip() for part in entry.rpartition(":"))
    if not colon:
        path, priority = priority, "0"
    if not path:
        _bad(store_id, f"filesystem_store_datadirs has no path in {entry!r}")
    try:
        return os.path.abspath(path), int(priority or 0)
    except ValueError:
        _bad(store_id, f"filesystem_store_datadirs: the priority in {entry!r} is no number")


def file_mode(options: Any, store_id: str) -> int | None:
    """filesystem_store_file_perm, whose digits are octal; None leaves it to the umask."""
    digits = options.filesystem_store_file_perm
    if digits <= 0:
        return None
    try:
        mode = int(str(digits), 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        _bad(store_id, f"filesystem_store_file_perm: {digits} are no octal permissions")
    if not mode & stat.S_IRUSR:
        _bad(store_id, f"filesystem_store_file_perm: {digits} does not let the owner read")
    return mode


def _prepared(path: str, priority: int, mode: int | None, store_id: str) -> Datadir:
    try:
        os.makedirs(path, exist_ok=True)
        os.scandir(path).close()
    except OSError as exc:
        _bad(store_id, f"data directory {path} cannot be used: {exc.strerror}", exc)
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
        reason = f"data directory {path} is not writable for uid {os.geteuid()}"
        _LOG.info("store %s: %s: it is read-only", store_id, reason)
        return Datadir(path, priority, reason)
    _let_in(path, mode or 0, store_id)
    return Datadir(path, priority)


def _let_in(path: str, mode: int, store_id: str) -> None:
    """Who may read or write the images must be able to enter their directory."""
    needed = (stat.S_IXGRP if mode & 0o060 else 0) | (stat.S_IXOTH if mode & 0o006 else 0)
    try:
        current = stat.S_IMODE(os.stat(path).st_mode)
        if needed & ~current:
            os.chmod(path, current | needed)
    except OSError as exc:
        _bad(store_id, f"data directory {path} cannot be opened to others: {exc.strerror}", exc)


def _bad(store_id: str, reason: str, cause: Exception | None = None) -> NoReturn:
    raise exceptions.BadStoreConfiguration(store_name=store_id, reason=reason) from cause
