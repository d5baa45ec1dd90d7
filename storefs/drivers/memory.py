# SPDX-License-Identifier: Apache-2.0
"""Images in a dict: what the driver contract means, in the fewest words.

The other drivers are measured against it by the contract suite, the model
tests mount it, and it is handy for trying things out. Nothing survives the
process.
"""

import dataclasses
import itertools
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping

from oslo_config import cfg

from storefs import exceptions
from storefs.drivers.base import (
    Capacity,
    Driver,
    ImageInfo,
    Options,
    Reader,
    SupportsAdd,
    SupportsCapacity,
    SupportsCopy,
    SupportsDelete,
    SupportsList,
    SupportsProperties,
    SupportsRename,
    SupportsReread,
    Writer,
    check_image_id,
    mtime_property,
)
from storefs.location import StoreLocation

_PREFIX = "memory://"


class MemoryLocation(StoreLocation):
    """``memory://<image id, percent-quoted>``."""

    image_id = ""

    def process_specs(self) -> None:
        self.scheme = "memory"
        self.image_id = self.specs["image_id"]

    def get_uri(self) -> str:
        return _PREFIX + urllib.parse.quote(self.image_id, safe="", errors="surrogateescape")

    def parse_uri(self, uri: str) -> None:
        self.validate_schemas(uri, (_PREFIX,))
        image_id = urllib.parse.unquote(uri.removeprefix(_PREFIX), errors="surrogateescape")
        try:
            check_image_id(image_id)
        except exceptions.Invalid as exc:
            raise exceptions.BadStoreUri(exc.msg) from exc
        self.scheme = "memory"
        self.image_id = image_id


@dataclasses.dataclass(frozen=True, slots=True)
class _Image:
    """One published version; *data* is never written again."""

    data: memoryview
    generation: int
    mtime_ns: int
    properties: Mapping[str, str]

    def info(self, image_id: str) -> ImageInfo:
        return ImageInfo(image_id, len(self.data), str(self.generation), self.mtime_ns)

    def with_properties(self, properties: Mapping[str, str]) -> "_Image":
        merged = {**self.properties, **properties}
        mtime_ns = mtime_property(merged, self.mtime_ns)
        merged.pop("mtime_ns", None)
        return dataclasses.replace(self, mtime_ns=mtime_ns, properties=merged)


class MemoryReader(Reader):
    """Slices of a published version: no copy is made."""

    max_concurrency = 4

    def __init__(self, info: ImageInfo, data: memoryview) -> None:
        self.info = info
        self._data = data

    def pread(self, length: int, offset: int) -> memoryview:
        return self._data[offset : offset + length]


class MemoryWriter(Writer, SupportsReread):
    """Collects parts in one buffer, counted against the store's capacity."""

    max_concurrency = 4

    def __init__(self, driver: "MemoryDriver", image_id: str, replace: bool) -> None:
        self._driver = driver
        self._image_id = image_id
        self._replace = replace
        self._lock = threading.Lock()
        self._buffer: bytearray | None = bytearray()
        self._properties: Mapping[str, str] = {}

    def part_size(self, offset: int) -> int:
        size: int = self._driver.options.memory_store_part_size
        return size

    def pwrite(self, data: memoryview, offset: int) -> None:
        with self._lock:
            self._grow(offset + len(data))[offset : offset + len(data)] = data

    def skip(self, length: int, offset: int) -> None:
        with self._lock:
            self._grow(offset + length)

    def reread(self, length: int, offset: int) -> bytes:
        with self._lock, memoryview(self._grow(offset + length)) as written:
            return bytes(written[offset : offset + length])

    def _grow(self, size: int) -> bytearray:
        """The buffer, with zeros up to *size* at least; `StorageFull`."""
        if self._buffer is None:
            raise exceptions.BackendException(f"The upload of {self._image_id} has ended")
        missing = size - len(self._buffer)
        if missing > 0:
            self._driver.reserve(missing)
            self._buffer.extend(bytes(missing))
        return self._buffer

    def stage(self, properties: Mapping[str, str]) -> bool:
        mtime_property(properties, 0)
        self._properties = dict(properties)
        return True

    def commit(self, size: int) -> None:
        with self._lock:
            buffer = self._grow(size)
            surplus = len(buffer) - size
            data = memoryview(buffer)[:size].toreadonly()
            self._driver.publish(self._image_id, data, self._properties, replace=self._replace)
            self._driver.reserve(-surplus)
            self._buffer = None

    def abort(self) -> None:
        with self._lock:
            if self._buffer is not None:
                self._driver.reserve(-len(self._buffer))
                self._buffer = None


class MemoryDriver(
    Driver[MemoryLocation],
    SupportsAdd[MemoryLocation],
    SupportsDelete[MemoryLocation],
    SupportsList,
    SupportsCapacity,
    SupportsRename[MemoryLocation],
    SupportsCopy[MemoryLocation],
    SupportsProperties[MemoryLocation],
):
    """A dict of images under one lock; a version is a number never used again."""

    SCHEMES = ("memory",)
    LOCATION = MemoryLocation
    OPTIONS = (
        cfg.IntOpt(
            "memory_store_capacity",
            default=1024**3,
            min=0,
            help="How many bytes of images, those being added included, the store may hold.",
        ),
        cfg.IntOpt(
            "memory_store_part_size",
            default=1024**2,
            min=1,
            help="How many bytes the parts have in which an image is added.",
        ),
    )

    def __init__(self, options: Options, store_id: str) -> None:
        super().__init__(options, store_id)
        self._lock = threading.Lock()
        self._images: dict[str, _Image] = {}
        self._used = 0
        self._generations = itertools.count(1)

    def locate(self, image_id: str) -> MemoryLocation:
        check_image_id(image_id)
        return MemoryLocation({"image_id": image_id}, backend_group=self.store_id)

    def stat(self, location: MemoryLocation) -> ImageInfo:
        return self._image(location).info(location.image_id)

    def open(self, location: MemoryLocation) -> Reader:
        image = self._image(location)
        return MemoryReader(image.info(location.image_id), image.data)

    def create(
        self, location: MemoryLocation, size: int | None, *, replace: bool = False
    ) -> Writer:
        if not replace and location.image_id in self._images:
            raise exceptions.Duplicate(image=location.image_id)
        if size is not None and size > self.capacity().free:
            raise exceptions.StorageFull
        return MemoryWriter(self, location.image_id, replace)

    def delete(self, location: MemoryLocation) -> None:
        with self._lock:
            self._used -= len(self._image(location).data)
            del self._images[location.image_id]

    def list(self) -> Iterator[ImageInfo]:
        for image_id, image in tuple(self._images.items()):
            yield image.info(image_id)

    def capacity(self) -> Capacity:
        total: int = self.options.memory_store_capacity
        return Capacity(total, max(0, total - self._used))

    def rename(self, source: MemoryLocation, target: MemoryLocation) -> None:
        with self._lock:
            image = self._image(source)
            if source.image_id != target.image_id:
                self._put(target.image_id, image)
                del self._images[source.image_id]

    def copy(self, source: MemoryLocation, target: MemoryLocation) -> None:
        image = self._image(source)
        self.reserve(len(image.data))
        with self._lock:
            generation = next(self._generations)
            self._put(target.image_id, dataclasses.replace(image, generation=generation))

    def properties(self, location: MemoryLocation) -> Mapping[str, str]:
        image = self._image(location)
        return {**image.properties, "mtime_ns": str(image.mtime_ns)}

    def set_properties(self, location: MemoryLocation, properties: Mapping[str, str]) -> None:
        with self._lock:
            image = self._image(location)
            self._images[location.image_id] = image.with_properties(properties)

    def reserve(self, length: int) -> None:
        """Count *length* more bytes (fewer, if negative) as used; `StorageFull`."""
        with self._lock:
            if length > 0 and self._used + length > self.options.memory_store_capacity:
                raise exceptions.StorageFull
            self._used += length

    def publish(
        self, image_id: str, data: memoryview, properties: Mapping[str, str], *, replace: bool
    ) -> None:
        """Make *data*, reserved before, the image; `Duplicate`."""
        with self._lock:
            if not replace and image_id in self._images:
                raise exceptions.Duplicate(image=image_id)
            image = _Image(data, next(self._generations), time.time_ns(), {})
            self._put(image_id, image.with_properties(properties))

    def _image(self, location: MemoryLocation) -> _Image:
        try:
            return self._images[location.image_id]
        except KeyError as exc:
            raise exceptions.NotFound(image=location.image_id) from exc

    def _put(self, image_id: str, image: _Image) -> None:
        replaced = self._images.get(image_id)
        if replaced is not None:
            self._used -= len(replaced.data)
        self._images[image_id] = image
