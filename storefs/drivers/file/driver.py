# SPDX-License-Identifier: Apache-2.0
"""Images as files in a directory, or several.

An image is a regular file directly in a data directory. While it is added it
is a hidden temporary there; publishing links or renames it, so it is never
seen half-written and never overwrites another that came first. No name and no
URI leads out of the data directories.
"""

import functools
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

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
    SupportsDelete,
    SupportsList,
    SupportsLocationMetadata,
    SupportsProperties,
    SupportsRename,
    Writer,
    mtime_property,
)
from storefs.drivers.file import properties as file_properties
from storefs.drivers.file.datadirs import (
    DEFAULT_DATADIR,
    TEMPORARY,
    Datadir,
    Datadirs,
    Found,
    check_name,
    configured,
    file_mode,
)
from storefs.drivers.file.descriptor import open_regular
from storefs.drivers.file.errors import translated
from storefs.drivers.file.metadata import metadata_of, mountpoints
from storefs.drivers.file.publish import sync_directory
from storefs.drivers.file.reader import FileReader, image_info
from storefs.drivers.file.timeout import TimedCalls
from storefs.drivers.file.writer import FileWriter, Policy, remove_leftovers
from storefs.location import StoreLocation

T = TypeVar("T")

_SCHEMES = ("file", "filesystem")

#: How many names one step of a listing takes: one thread hop where there are time-outs.
_LISTED_AT_ONCE = 256

#: What file systems allocate at a time: nothing shorter can be a hole, bytes.
_BLOCK = 4096


class FileLocation(StoreLocation):
    """``file:///data/directory/NAME``; the path is taken as it stands, nothing is quoted.

    The driver finds an image by name in all its data directories, the one of
    *path* first, and then sets *path* to the file it found or makes.
    """

    path = ""

    def process_specs(self) -> None:
        self.scheme = self.specs.get("scheme", _SCHEMES[0])
        self.path = self.specs["path"]

    @property
    def image_id(self) -> str:
        return os.path.basename(self.path)

    def get_uri(self) -> str:
        return f"{self.scheme}://{self.path}"

    def parse_uri(self, uri: str) -> None:
        self.validate_schemas(uri, tuple(f"{scheme}://" for scheme in _SCHEMES))
        self.scheme, _, self.path = uri.partition("://")
        if not self.path or "\0" in self.path:
            raise exceptions.BadStoreUri(uri=uri)


class FileDriver(
    Driver[FileLocation],
    SupportsAdd[FileLocation],
    SupportsDelete[FileLocation],
    SupportsList,
    SupportsCapacity,
    SupportsRename[FileLocation],
    SupportsProperties[FileLocation],
    SupportsLocationMetadata[FileLocation],
):
    """A store in the file system of the host, local or mounted from elsewhere."""

    SCHEMES = _SCHEMES
    LOCATION = FileLocation
    DETAILS = {
        "datadir": "filesystem_store_datadir",
        "chunk_size": "filesystem_store_chunk_size",
        "thin_provisioning": "filesystem_thin_provisioning",
    }
    OPTIONS = (
        cfg.StrOpt(
            "filesystem_store_datadir",
            default=DEFAULT_DATADIR,
            help="The directory of the images. It is made if it is missing.",
        ),
        cfg.MultiStrOpt(
            "filesystem_store_datadirs",
            help="Several directories instead of filesystem_store_datadir, each PATH[:PRIORITY]. "
            "An image goes where it fits: highest priority first, then most free space.",
        ),
        cfg.StrOpt(
            "filesystem_store_metadata_file",
            help="A JSON file with an object, or a list of them, of 'id' and 'mountpoint': "
            "what the metadata of a location says to services that mount the same file system.",
        ),
        cfg.IntOpt(
            "filesystem_store_file_perm",
            default=0,
            help="The permissions of image files, in octal digits; 0 leaves them to the umask.",
        ),
        cfg.IntOpt(
            "filesystem_store_chunk_size",
            default=64 * 1024,
            min=1,
            help="How many zero bytes in a row become a hole, in bytes, "
            "with filesystem_thin_provisioning.",
        ),
        cfg.BoolOpt(
            "filesystem_thin_provisioning",
            default=False,
            help="Write no zeros: leave holes, which take no space.",
        ),
        cfg.IntOpt(
            "filesystem_store_timeout",
            default=0,
            min=0,
            help="After how many seconds a call to the file system is given up, so that "
            "a dead file server does not hang everything; 0 waits for ever.",
        ),
        cfg.IntOpt(
            "filesystem_store_thread_pool_size",
            default=10,
            min=1,
            help="How many such calls may run at once, with filesystem_store_timeout.",
        ),
        cfg.IntOpt(
            "filesystem_store_threadpool_threshold",
            default=75,
            min=1,
            max=100,
            help="At what percentage of filesystem_store_thread_pool_size hanging a warning "
            "is logged.",
        ),
    )

    def __init__(self, options: Options, store_id: str) -> None:
        super().__init__(options, store_id)
        self._lock = threading.Lock()
        self._readers: weakref.WeakSet[FileReader] = weakref.WeakSet()
        self._calls = TimedCalls(
            store_id,
            options.filesystem_store_timeout,
            options.filesystem_store_thread_pool_size,
            options.filesystem_store_threadpool_threshold,
        )
        self._datadirs = self._calls.run(self._prepare)
        hole_block = max(options.filesystem_store_chunk_size, _BLOCK)
        hole_block *= options.filesystem_thin_provisioning
        self._policy = Policy(file_mode(options, store_id), hole_block)
        self._mountpoints = mountpoints(options.filesystem_store_metadata_file, store_id)

    def _prepare(self) -> Datadirs:
        datadirs = configured(self.options, self.store_id)
        for directory in datadirs.all:
            if directory.read_only is None:
                remove_leftovers(directory, self.store_id)
        return datadirs

    @property
    def url_prefix(self) -> str:
        return self._datadirs.url_prefix

    @property
    def writable(self) -> str | None:
        return self._datadirs.read_only

    def locate(self, image_id: str) -> FileLocation:
        check_name(image_id)
        path = os.path.join(self._datadirs.all[0].path, image_id)
        return FileLocation({"scheme": "file", "path": path}, backend_group=self.store_id)

    def location_metadata(self, location: FileLocation) -> Mapping[str, Any]:
        """What filesystem_store_metadata_file says of the mount the image lies in."""
        return metadata_of(location.path, self._mountpoints)

    def stat(self, location: FileLocation) -> ImageInfo:
        return self._call(self._stat, location)

    def _stat(self, location: FileLocation) -> ImageInfo:
        with translated(location.image_id, EACCES=exceptions.Forbidden):
            path, status = self._find(location)
            return image_info(location.image_id, path, status)

    def open(self, location: FileLocation) -> Reader:
        return self._call(self._open, location, discard=lambda late: late.close())

    def _open(self, location: FileLocation) -> Reader:
        with translated(location.image_id, EACCES=exceptions.Forbidden, EPERM=exceptions.Forbidden):
            path, _ = self._find(location)
            reader = FileReader(path, location.image_id, self._calls)
        with self._lock:
            self._readers.add(reader)
        return reader

    def create(self, location: FileLocation, size: int | None, *, replace: bool = False) -> Writer:
        return self._call(self._create, location, size, replace, discard=lambda late: late.abort())

    def _create(self, location: FileLocation, size: int | None, replace: bool) -> Writer:
        if self.writable:
            raise exceptions.StoreAddDisabled(self.writable)
        name = self._datadirs.confine(location.path)
        with translated(name):
            if not replace and self._datadirs.taken(name):
                raise exceptions.Duplicate(image=name)
            directory = self._datadirs.choose(size or 0, name)
            location.path = os.path.join(directory.path, name)
            return FileWriter(self._datadirs, location.path, replace, self._policy, self._calls)

    def delete(self, location: FileLocation) -> None:
        self._call(self._delete, location)

    def _delete(self, location: FileLocation) -> None:
        with translated(
            location.image_id,
            exceptions.Forbidden,
            EACCES=exceptions.Forbidden,
            EPERM=exceptions.Forbidden,
            EROFS=exceptions.Forbidden,
        ):
            path, _ = self._find(location)
            os.unlink(path)
            self._datadirs.remove_others(path)
            sync_directory(os.path.dirname(path))  # else it is there again after a loss of power

    def list(self) -> Iterator[ImageInfo]:
        entries = self._entries()
        while batch := self._call(lambda: [*islice(entries, _LISTED_AT_ONCE)]):
            yield from batch

    def _entries(self) -> Iterator[ImageInfo]:
        for directory in self._datadirs.all:
            with translated(directory.path), os.scandir(directory.path) as entries:
                for entry in entries:
                    info = self._listed(directory, entry)
                    if info is not None:
                        yield info

    def _listed(self, directory: Datadir, entry: "os.DirEntry[str]") -> ImageInfo | None:
        """None for what is no image, is listed already, or has gone meanwhile."""
        if entry.name.startswith(TEMPORARY) or not entry.is_file(follow_symlinks=False):
            return None
        try:
            status = entry.stat(follow_symlinks=False)
            info = image_info(entry.name, entry.path, status)
        except FileNotFoundError:
            return None
        return None if self._datadirs.shadowed(directory, entry.name) else info

    def capacity(self) -> Capacity:
        return self._call(self._capacity)

    def _capacity(self) -> Capacity:
        with translated(self.url_prefix):
            paths = {os.stat(d.path).st_dev: d.path for d in self._datadirs.all}
            found = [os.statvfs(path) for path in paths.values()]
        return Capacity(
            sum(s.f_blocks * s.f_frsize for s in found),
            sum(s.f_bavail * s.f_frsize for s in found),
        )

    def rename(self, source: FileLocation, target: FileLocation) -> None:
        self._call(self._rename, source, target)

    def _rename(self, source: FileLocation, target: FileLocation) -> None:
        """Stay in the source's directory: then it is one step, whatever the target was."""
        name = self._datadirs.confine(target.path)
        with translated(source.image_id):
            path, _ = self._find(source)
            directory = os.path.dirname(path)
            new = os.path.join(directory, name)
            os.rename(path, new)
            self._datadirs.remove_others(new)
            sync_directory(directory)
        target.path = new

    def properties(self, location: FileLocation) -> Mapping[str, str]:
        return self._call(self._on_file, location, file_properties.read)

    def set_properties(self, location: FileLocation, properties: Mapping[str, str]) -> None:
        file_properties.check(properties)
        self._call(self._on_file, location, lambda fd: self._set_properties(fd, properties))

    def _set_properties(self, fd: int, properties: Mapping[str, str]) -> None:
        status = os.fstat(fd)
        with self._lock:
            readers = tuple(self._readers)
        for reader in readers:
            reader.expect_mtime(status, mtime_property(properties, status.st_mtime_ns))
        file_properties.write(fd, properties)

    def _on_file(self, location: FileLocation, function: Callable[[int], T]) -> T:
        with translated(location.image_id):
            path, _ = self._find(location)
            fd = open_regular(path)
            try:
                return function(fd)
            finally:
                os.close(fd)

    def _find(self, location: FileLocation) -> Found:
        found = self._datadirs.find(location.path)
        if found is None:
            raise exceptions.NotFound(image=location.image_id)
        location.path = found[0]
        return found

    def _call(
        self, method: Callable[..., T], *args: Any, discard: Callable[[T], object] | None = None
    ) -> T:
        function = functools.partial(method, *args)
        return self._calls.run(function, discard) if discard else self._calls.run(function)
