# SPDX-License-Identifier: Apache-2.0
"""A third party's driver, found by its entry point alone: it fails as the image's name says.

The image ``CALL-ERROR`` makes the call CALL raise the exception ERROR, a name in
storefs.exceptions or a built-in one. In ``CALL-ERROR-REST`` the rest is free.
"""

import builtins
from collections.abc import Iterator
from typing import Any

from storefs import exceptions
from storefs.drivers.base import ImageInfo, Reader, Writer
from storefs.drivers.memory import MemoryDriver, MemoryLocation

#: What some exceptions cannot be made without.
_ARGUMENTS: dict[str, tuple[Any, ...]] = {"RedirectException": ("http://localhost/",)}


def fail(call: str, image_id: str) -> None:
    """Raise what *image_id* says for *call*."""
    wanted, _, rest = image_id.partition("-")
    if wanted == call:
        name = rest.partition("-")[0]
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
    def __init__(self, writer: Writer, image_id: str) -> None:
        self._writer, self._image_id = writer, image_id
        self.max_concurrency = writer.max_concurrency

    def part_size(self, offset: int) -> int:
        return self._writer.part_size(offset)

    def pwrite(self, data: memoryview, offset: int) -> None:
        fail("pwrite", self._image_id)
        self._writer.pwrite(data, offset)

    def stage(self, properties: Any) -> bool:
        return self._writer.stage(properties)

    def commit(self, size: int) -> None:
        fail("commit", self._image_id)
        self._writer.commit(size)

    def abort(self) -> None:
        self._writer.abort()
        fail("abort", self._image_id)


class FaultyDriver(MemoryDriver):
    def stat(self, location: MemoryLocation) -> ImageInfo:
        fail("stat", location.image_id)
        return super().stat(location)

    def open(self, location: MemoryLocation) -> Reader:
        fail("open", location.image_id)
        return FaultyReader(super().open(location))

    def create(
        self, location: MemoryLocation, size: int | None, *, replace: bool = False
    ) -> Writer:
        fail("create", location.image_id)
        return FaultyWriter(super().create(location, size, replace=replace), location.image_id)

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
