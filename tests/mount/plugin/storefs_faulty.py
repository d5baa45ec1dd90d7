# SPDX-License-Identifier: Apache-2.0
"""A third party's driver, found by its entry point alone: it fails as the image's name says.

The image ``CALL-ERROR`` makes the call CALL raise the exception ERROR, a name in
storefs.exceptions or a built-in one. In ``CALL-ERROR-REST`` the rest is free.
``CALL@3-ERROR`` is about the third such call alone. ``Stalled`` stands for
TimeoutError after `STALL` seconds, ``Slow`` for no error after as long, ``Dead``
for none after an hour. The
calls are the driver's and the writer's; ``published`` is the `stat` that follows
a commit. ``changing`` is an image that others replace all the time.
"""

import builtins
import collections
import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

from storefs import exceptions
from storefs.drivers.base import Buffer, ImageInfo, Reader, SupportsReread, Writer
from storefs.drivers.memory import MemoryDriver, MemoryLocation

#: What some exceptions cannot be made without.
_ARGUMENTS: dict[str, tuple[Any, ...]] = {"RedirectException": ("http://localhost/",)}


#: What a call of a store that stalls takes, in seconds.
STALL = 1.0

_counted: collections.Counter[tuple[str, str]] = collections.Counter()
_counting = threading.Lock()


def fail(call: str, image_id: str) -> None:
    """Raise what *image_id* says for *call*."""
    wanted, _, rest = image_id.partition("-")
    wanted, _, number = wanted.partition("@")
    if wanted != call:
        return
    with _counting:
        _counted[call, image_id] += 1
        if number not in ("", str(_counted[call, image_id])):
            return
    name = rest.partition("-")[0]
    if name in ("Stalled", "Slow", "Dead"):
        time.sleep(3600 if name == "Dead" else STALL)
        if name == "Slow":
            return
        name = "TimeoutError"
    error = getattr(exceptions, name, None) or getattr(builtins, name)
    raise error(*_ARGUMENTS.get(name, ("on purpose",)))


class FaultyReader(Reader):
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.info, self.max_concurrency = reader.info, reader.max_concurrency

    def pread(self, length: int, offset: int) -> Any:
        fail("pread", self.info.image_id)
        return self._reader.pread(length, offset)


class FaultyWriter(Writer):
    def __init__(self, driver: "FaultyDriver", writer: Writer, image_id: str) -> None:
        self._driver, self._writer, self._image_id = driver, writer, image_id
        self.max_concurrency = writer.max_concurrency

    def part_size(self, offset: int) -> int:
        return self._writer.part_size(offset)

    def pwrite(self, data: memoryview, offset: int) -> None:
        fail("pwrite", self._image_id)
        self._writer.pwrite(data, offset)

    def skip(self, length: int, offset: int) -> None:
        fail("skip", self._image_id)
        self._writer.skip(length, offset)

    def stage(self, properties: Any) -> bool:
        fail("stage", self._image_id)
        return self._writer.stage(properties)

    def commit(self, size: int) -> None:
        fail("commit", self._image_id)
        self._writer.commit(size)
        self._driver.just_published.add(self._image_id)

    def abort(self) -> None:
        self._writer.abort()
        fail("abort", self._image_id)


class RereadingWriter(FaultyWriter, SupportsReread):
    """Of images whose names begin with ``reread``; the others cannot be had back."""

    def reread(self, length: int, offset: int) -> Buffer:
        fail("reread", self._image_id)
        assert isinstance(self._writer, SupportsReread)
        return self._writer.reread(length, offset)


class FaultyDriver(MemoryDriver):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.just_published: set[str] = set()
        self._versions = itertools.count(10**9)

    def stat(self, location: MemoryLocation) -> ImageInfo:
        fail("stat", location.image_id)
        if location.image_id in self.just_published:
            self.just_published.remove(location.image_id)
            fail("published", location.image_id)
        info = super().stat(location)
        if location.image_id == "changing":
            return dataclasses.replace(info, version=str(next(self._versions)))
        return info

    def open(self, location: MemoryLocation) -> Reader:
        fail("open", location.image_id)
        return FaultyReader(super().open(location))

    def create(
        self, location: MemoryLocation, size: int | None, *, replace: bool = False
    ) -> Writer:
        fail("create", location.image_id)
        writer = super().create(location, size, replace=replace)
        rereads = location.image_id.startswith("reread")
        faulty = RereadingWriter if rereads else FaultyWriter
        return faulty(self, writer, location.image_id)

    def delete(self, location: MemoryLocation) -> None:
        fail("delete", location.image_id)
        super().delete(location)

    def rename(self, source: MemoryLocation, target: MemoryLocation) -> None:
        fail("rename", source.image_id)
        super().rename(source, target)

    def list(self) -> Iterator[ImageInfo]:
        for info in super().list():
            fail("list", info.image_id)
            yield info
