# SPDX-License-Identifier: Apache-2.0
"""The directory on local disk where images wait that are not written from start to end.

::

    ID.lock    held locked by the process that works on the image
    ID.json    the promise: what has to become of it (`Record`), if there is one
    ID.N       the layers that the promise names, and one that is being written

A lock nobody holds belongs to a process that is gone. With a promise beside it
the image is published by whoever mounts the same store next; without one it is
removed. All functions block; a promise is on disk when `Entry.promise` returns.
"""

import contextlib
import dataclasses
import errno
import fcntl
import itertools
import json
import logging
import os
import pathlib
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from storefs.streams.layers import Layer
from storefs.streams.ranges import Ranges

log = logging.getLogger(__name__)

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Record:
    """A promise. Sizes in bytes.

    *uri* is where the image goes, without credentials: a store of the same name
    that keeps its images elsewhere is another store. *base* is the version it
    was written over (None: there was none), *base_size* that version's size. When the
    upload is complete *uploaded* is noted before it is published: ``size``,
    ``os_hash_algo`` and ``os_hash_value`` of it, and ``layers``, how many of them are in it.
    Of two promises for one name the one with the later *sealed_ns* holds; *outdated* is what
    of the other may be in the store. *deleted*: it is to go, from the store as well.
    *renamed*: it replaces whatever has the name. *successor*: a stream of that was about to
    replace it.
    """

    store: str
    uri: str
    image: str
    size: int
    base: str | None = None
    base_size: int = 0
    mtime_ns: int | None = None
    uploaded: dict[str, Any] | None = None
    sealed_ns: int = 0
    outdated: dict[str, Any] | None = None
    deleted: bool = False
    renamed: bool = False
    successor: dict[str, Any] | None = None


class Spool:
    """The directory and its room.

    *limit* is how much all images in it may hold together, *floor* how much of
    the file system stays free, in bytes; 0 for no limit.
    """

    def __init__(self, path: pathlib.Path, limit: int = 0, floor: int = 0) -> None:
        self.path = path
        self.limit = limit
        self.floor = floor
        #: what the ranges of all layers have; changed on the event loop only
        self.used = 0

    def entry(self) -> "Entry":
        """Files for one more image; nothing is promised yet."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            entry = Entry(self, secrets.token_hex(8))
            if entry.lock(os.O_CREAT | os.O_EXCL):
                return entry

    def leftovers(self) -> Iterator[tuple["Entry", Record, list[Layer]]]:
        """What processes that are gone promised, oldest first, locked for this one.

        What they had not promised is removed, and what cannot be read left alone.
        """
        for path in sorted(self.path.glob("*.lock"), key=_age):
            entry = Entry(self, path.stem)
            try:
                if not entry.lock(0):
                    continue
                promised = entry.load()
            except (OSError, ValueError, KeyError, TypeError) as exc:
                entry.unlock()
                log.warning("%s cannot be read and stays as it is: %s", entry.record_path, exc)
                continue
            if promised is None:
                log.info("Removed %s: nobody had been promised anything of it", path.stem)
                entry.remove()
            else:
                yield (entry, *promised)

    def pending(self, *, orphaned: bool = False) -> list[Record]:
        """Every promise in the directory, for showing only; *orphaned*: nobody works on."""
        records = []
        for path in sorted(self.path.glob("*.json"), key=_age):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                record = _record(json.loads(path.read_text("utf-8")))
                if not orphaned or not Entry(self, path.stem).busy():
                    records.append(record)
        return records

    def check_room(self, length: int) -> None:
        """OSError ENOSPC unless *length* more bytes may be written; changes nothing."""
        if self.limit and self.used + length > self.limit:
            raise OSError(
                errno.ENOSPC,
                f"the spool has used up its spool_limit of {self.limit >> 20} MiB",
                str(self.path),
            )
        stat = os.statvfs(self.path)
        if self.floor and stat.f_bavail * stat.f_frsize - length < self.floor:
            raise OSError(
                errno.ENOSPC,
                f"less than spool_min_free ({self.floor >> 20} MiB) would be left free",
                str(self.path),
            )


class Entry:
    """The files of one image in the spool."""

    def __init__(self, spool: Spool, name: str) -> None:
        self.spool = spool
        self.name = name
        self._lock = -1
        self._numbers = itertools.count(1)

    @property
    def record_path(self) -> pathlib.Path:
        return self.spool.path / f"{self.name}.json"

    @property
    def _lock_path(self) -> pathlib.Path:
        return self.spool.path / f"{self.name}.lock"

    def lock(self, flags: int) -> bool:
        """Take it; False if another process has it, or was faster in removing it."""
        try:
            descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
        except (FileNotFoundError, FileExistsError):
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        if not os.fstat(descriptor).st_nlink:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def busy(self) -> bool:
        """Does a process work on it?"""
        if not self.lock(0):
            return True
        self.unlock()
        return False

    def unlock(self) -> None:
        """Let another process have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def layer(self) -> Layer:
        """A new file to write into."""
        self.spool.check_room(0)
        path = self.spool.path / f"{self.name}.{next(self._numbers)}"
        return Layer(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    def write(self, layer: Layer, data: memoryview, offset: int) -> None:
        """OSError ENOSPC if the spool has no room for it."""
        if (more := layer.ranges.missing(offset, offset + len(data))) > 0:
            self.spool.check_room(more)
        layer.write(data, offset)

    def promise(self, record: Record, layers: Sequence[Layer], new: Sequence[Layer] = ()) -> None:
        """Make *record*, made of *layers*, durable; *new* are those never synchronized."""
        for layer in new:
            os.fdatasync(layer.descriptor)
        data = dataclasses.asdict(record) | {
            "format": FORMAT,
            "layers": [
                {"file": a.path.name, "visible": a.visible, "ranges": list(a.ranges)}
                for a in layers
            ],
        }
        temporary = self.record_path.with_suffix(".new")
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(data, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.record_path)
        self._sync_directory()

    def withdraw(self) -> None:
        """It is published, deleted, or was never meant: durably no promise any more."""
        if self.record_path.exists():
            self.record_path.unlink()
            self._sync_directory()

    def load(self) -> tuple[Record, list[Layer]] | None:
        """What was promised, and what it is made of; other files of it are removed.

        None if nothing was. OSError, ValueError, KeyError, TypeError if it cannot be read.
        """
        try:
            data = json.loads(self.record_path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        record = _record(data)
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']} is not one this storefs knows")
        layers = [self._layer_of(item) for item in data["layers"]]
        self._remove_but({layer.path for layer in layers})
        last = max((int(layer.path.suffix[1:]) for layer in layers), default=0)
        self._numbers = itertools.count(last + 1)
        return record, layers

    def remove(self) -> None:
        """All of it."""
        self.withdraw()
        self._remove_but(set())
        self._lock_path.unlink(missing_ok=True)
        self.unlock()

    def _layer_of(self, item: dict[str, Any]) -> Layer:
        path = self.spool.path / item["file"]
        ranges = Ranges((start, end) for start, end in item["ranges"])
        return Layer(path, os.open(path, os.O_RDWR | os.O_CLOEXEC), ranges, item["visible"])

    def _remove_but(self, kept: set[pathlib.Path]) -> None:
        kept = kept | {self._lock_path, self.record_path}
        for path in self.spool.path.glob(f"{self.name}.*"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def _sync_directory(self) -> None:
        descriptor = os.open(self.spool.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _record(data: Any) -> Record:
    if not isinstance(data, dict):
        raise TypeError("it is no record")
    names = {field.name for field in dataclasses.fields(Record)}
    return Record(**{name: value for name, value in data.items() if name in names})


def _age(path: pathlib.Path) -> tuple[int, str]:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime_ns, path.name
    return 0, path.name
