# SPDX-License-Identifier: Apache-2.0
"""A file that gives names to images on web servers: ``name = URL``, a line each.

Lines that begin with ``#`` and empty ones are kept as they are, a line that
says nothing sensible is reported once with its number, and the file is read
again whenever it has changed. Changes made here replace the file atomically
under a lock, so that no reader sees half of it and no other process's change
is lost.
"""

import contextlib
import dataclasses
import fcntl
import logging
import os
import pathlib
import re
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TextIO, cast

from storefs import exceptions
from storefs.drivers.base import check_image_id

LOG = logging.getLogger(__name__)

#: Characters no name can have here: of a path, of other lines, of no file name.
_NEVER = r"/\x00-\x1f\x7f\ud800-\udc7f\udd00-\udfff"

#: As there is no "/" in a name, the first "= http" with or without blanks ends it.
_LINE = re.compile(
    rf"(?P<name>[^\s={_NEVER}](?:[^{_NEVER}]*?[^\s{_NEVER}])?)\s*=\s*(?P<url>https?://\S+)"
)

#: How long another process may hold the lock, seconds; it needs milliseconds.
_LOCK_TIMEOUT = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class _Snapshot:
    """What the file said, and by what it is seen to have changed."""

    identity: tuple[int, ...] | None = None
    urls: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Catalog:
    """The names in the file at *path*, which need not exist; thread-safe.

    *check* raises `BadStoreUri` for a URL that cannot be one.
    """

    def __init__(self, path: pathlib.Path, check: Callable[[str], object]) -> None:
        self._path = path
        self._check = check
        self._lock = threading.Lock()
        self._snapshot = _Snapshot()

    def urls(self) -> Mapping[str, str]:
        """Name -> URL, as the file has it now."""
        with self._lock:
            identity = self._identity()
            if identity != self._snapshot.identity:
                lines = self._lines() if identity else []
                self._snapshot = _Snapshot(identity, self._parsed(lines))
            return self._snapshot.urls

    def add(self, name: str, url: str) -> None:
        """Durably; `Duplicate`, `BadStoreUri`, `Invalid` for a name the file cannot hold."""
        check_image_id(name)
        self._check(url)
        match = _LINE.fullmatch(f"{name} = {url}")
        if match is None or (match["name"], match["url"]) != (name, url) or name[0] == "#":
            raise exceptions.Invalid(
                f"{name!r} cannot be a name in {self._path}: it may not begin with '#' or '=', "
                "and neither begin nor end with blanks nor hold control characters"
            )
        with self._changed() as lines:
            if _named(lines, name):
                raise exceptions.Duplicate(image=name)
            lines.append(f"{name} = {url}\n")

    def remove(self, name: str) -> None:
        """Durably; `NotFound`."""
        with self._changed() as lines:
            found = _named(lines, name)
            if not found:
                raise exceptions.NotFound(image=name)
            lines[:] = [line for line in lines if line not in found]

    def _identity(self) -> tuple[int, ...] | None:
        """Of the file's present content; None where there is no file."""
        with self._translated():
            try:
                found = self._path.stat()
            except FileNotFoundError:
                return None
            return (found.st_ino, found.st_size, found.st_mtime_ns)

    def _lines(self) -> list[str]:
        with self._translated():
            try:
                with _opened(self._path, "r") as file:
                    return list(file)
            except FileNotFoundError:
                return []

    def _parsed(self, lines: list[str]) -> Mapping[str, str]:
        urls: dict[str, str] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            try:
                name, url = self._entry(line)
                if name in urls:
                    raise exceptions.Duplicate("the name is taken by an earlier line")
                urls[name] = url
            except exceptions.GlanceStoreException as exc:
                LOG.warning("%s:%d is ignored: %s", self._path, number, exc.msg)
        return urls

    def _entry(self, line: str) -> tuple[str, str]:
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise exceptions.Invalid("expected NAME = http[s]://HOST/PATH, without '/' in the name")
        check_image_id(match["name"])
        self._check(match["url"])
        return match["name"], match["url"]

    @contextlib.contextmanager
    def _changed(self) -> Iterator[list[str]]:
        """The lines to change, written back at the end unless something is raised."""
        with self._translated(), _locked(self._path.resolve()) as path:
            lines = self._lines()
            if lines and not lines[-1].endswith("\n"):
                lines[-1] += "\n"
            yield lines
            _replace(path, "".join(lines))

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise exceptions.StorageWriteDenied(
                f"The catalogue of names {self._path} cannot be used: {exc.strerror}"
            ) from exc


def _named(lines: list[str], name: str) -> list[str]:
    matches = ((line, _LINE.fullmatch(line.strip())) for line in lines)
    return [line for line, match in matches if match and match["name"] == name]


def _opened(file: int | str | pathlib.Path, mode: str) -> TextIO:
    """Only a line feed ends a line; bytes that are no UTF-8 stay what they are."""
    return cast(TextIO, open(file, mode, encoding="utf-8", errors="surrogateescape", newline="\n"))


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """No other process changes *path*, which is made if it is missing, meanwhile.

    The lock is on the file itself, so that nothing is left lying about. It may
    have been replaced while we waited: then the lock is worth nothing.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    while True:
        # URLs may hold passwords: a new file is its owner's alone.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _flock(descriptor, path)
            if _is_at(descriptor, path):
                yield path
                return
        finally:
            os.close(descriptor)


def _flock(descriptor: int, path: pathlib.Path) -> None:
    deadline = time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as exc:
            if time.monotonic() > deadline:
                raise exceptions.TimeoutError(
                    f"Another process has locked {path} for {_LOCK_TIMEOUT:g} seconds"
                ) from exc
        time.sleep(0.005)


def _is_at(descriptor: int, path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _replace(path: pathlib.Path, text: str) -> None:
    """Durably put *text* into the place of *path*, with its mode and owner."""
    old = path.stat()
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with _opened(descriptor, "w") as file:
            file.write(text)
            file.flush()
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, old.st_uid, old.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
