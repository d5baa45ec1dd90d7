# SPDX-License-Identifier: Apache-2.0
"""Images as files in the datastores of a vCenter or ESXi server.

A file is read and written by HTTPS below /folder, and renamed, deleted and
listed by vSphere's API. Hashes and mtime are in a hidden file beside it. Names:
a driver serves the directory and the datastores of its options, and no
location leads out of these.
"""

import contextlib
from collections.abc import Iterator, Mapping

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
    SupportsProperties,
    SupportsRename,
    Writer,
    mtime_property,
)
from storefs.drivers.mtimes import Mtimes
from storefs.drivers.name_locks import NameLocks
from storefs.drivers.state import state_directory
from storefs.drivers.vmware import notes
from storefs.drivers.vmware.datastores import choose
from storefs.drivers.vmware.folder import File, Folder
from storefs.drivers.vmware.location import SCHEMES, VmwareLocation
from storefs.drivers.vmware.names import file_name, image_of, temporary_name
from storefs.drivers.vmware.options import OPTIONS
from storefs.drivers.vmware.reader import VmwareReader
from storefs.drivers.vmware.server import Server
from storefs.drivers.vmware.uploads import Uploads
from storefs.drivers.vmware.writer import VmwareWriter

_Found = tuple[Folder, File]


class VmwareDriver(
    Driver[VmwareLocation],
    SupportsAdd[VmwareLocation],
    SupportsDelete[VmwareLocation],
    SupportsList,
    SupportsCapacity,
    SupportsRename[VmwareLocation],
    SupportsProperties[VmwareLocation],
):
    """One directory in each of several datastores."""

    SCHEMES = SCHEMES
    LOCATION = VmwareLocation
    OPTIONS = OPTIONS

    def __init__(self, options: Options, store_id: str) -> None:
        super().__init__(options, store_id)
        self._server = Server(options, store_id)
        self._folders = self._server.folders
        self._mtimes = Mtimes()
        self._names = NameLocks[str]()
        place = f"{self._server.netloc}/{self._server.directory}"
        self._uploads = Uploads(state_directory(), place, self._folders)
        self._uploads.sweep_aside()

    @property
    def url_prefix(self) -> str:
        return self.locate("image").get_uri().partition("image?")[0]

    def locate(self, image_id: str) -> VmwareLocation:
        datastore = self._folders[0].datastore
        specs = {
            "netloc": self._server.netloc,
            "directory": self._server.directory,
            "name": file_name(image_id),
            "datacenter": datastore.datacenter,
            "datastore": datastore.name,
        }
        return VmwareLocation(specs, backend_group=self.store_id)

    def stat(self, location: VmwareLocation) -> ImageInfo:
        folder, file = self._find(location)
        return self._info(folder, location.name, file)

    def open(self, location: VmwareLocation) -> Reader:
        folder, file = self._find(location)
        info = self._info(folder, location.name, file)
        connections: int = self.options.vmware_store_read_connections
        return VmwareReader(folder, location.name, file, info, connections)

    def list(self) -> Iterator[ImageInfo]:
        seen: set[str] = set()
        for folder in self._folders:
            for name, file in folder.files():
                image_id = image_of(name)
                if image_id is not None and image_id not in seen:
                    seen.add(image_id)
                    mtime_ns = self._mtimes.of(folder.path(name), file.version, file.mtime_ns)
                    yield ImageInfo(image_id, file.size, file.version, mtime_ns)

    def capacity(self) -> Capacity:
        spaces = [folder.space() for folder in self._folders]
        return Capacity(sum(s.total for s in spaces), sum(s.free for s in spaces))

    def create(
        self, location: VmwareLocation, size: int | None, *, replace: bool = False
    ) -> Writer:
        there = self._look(location)
        if there is not None and not replace:
            raise exceptions.Duplicate(image=location.image_id)
        if there is not None and there[0].space().free >= (size or 1):
            folder = there[0]  # where one step replaces it
        else:
            folder = choose(self._folders, size)
        _move_to(location, folder)
        name = location.name

        def publish(temporary: str, file: File) -> None:
            self._publish(folder, temporary, name, file, replace=replace)

        return VmwareWriter(
            folder, self._uploads, name, size, publish=publish, settle=there is not None
        )

    def delete(self, location: VmwareLocation) -> None:
        with self._names.hold(location.name):
            found, _ = self._find(location)
            for folder in [found, *self._others(found)]:
                with contextlib.suppress(exceptions.NotFound):
                    self._remove(folder, location.name)

    def rename(self, source: VmwareLocation, target: VmwareLocation) -> None:
        with self._names.hold(source.name, target.name):
            folder, file = self._find(source)
            self._folder(target)
            _move_to(target, folder)
            if source.name == target.name:
                return
            self._rename(folder, source.name, target.name, file)
            self._remove_others(folder, target.name)

    def properties(self, location: VmwareLocation) -> Mapping[str, str]:
        folder, file = self._find(location)
        return notes.read(folder, location.name, file)

    def set_properties(self, location: VmwareLocation, properties: Mapping[str, str]) -> None:
        mtime_property(properties, 0)
        with self._names.hold(location.name):
            folder, file = self._find(location)
            kept = notes.read(folder, location.name, file)
            self._write_note(folder, location.name, file, {**kept, **properties})

    def close(self) -> None:
        self._server.close()
        self._uploads.close()

    # -- finding -------------------------------------------------------------------

    def _find(self, location: VmwareLocation) -> _Found:
        """Where the image is, in whichever datastore; *location* then says so. `NotFound`."""
        found = self._look(location)
        if found is None:
            raise exceptions.NotFound(image=location.image_id)
        _move_to(location, found[0])
        return found

    def _look(self, location: VmwareLocation) -> _Found | None:
        named = self._folder(location)
        for folder in [named, *self._others(named)]:
            with contextlib.suppress(exceptions.NotFound):
                return folder, folder.head(location.name)
        return None

    def _folder(self, location: VmwareLocation) -> Folder:
        """The folder *location* names; `BadStoreUri` for what is none of this store's."""
        ours = self.locate("image")
        same = (location.host, location.directory) == (ours.host, ours.directory)
        for folder in self._folders if same else ():
            datastore = folder.datastore
            where = location.datacenter.strip("/"), location.datastore
            if where == (datastore.datacenter, datastore.name):
                return folder
        raise exceptions.BadStoreUri(
            f"{location.safe_uri()} is in no directory of this store: see vmware_server_host, "
            "vmware_store_image_dir and vmware_datastores"
        )

    def _others(self, folder: Folder) -> Iterator[Folder]:
        return (other for other in self._folders if other is not folder)

    def _info(self, folder: Folder, name: str, file: File) -> ImageInfo:
        """With the mtime the image was given."""
        path = folder.path(name)
        mtime_ns = self._mtimes.fresh(path, file.version)
        if mtime_ns is None:
            mtime_ns = notes.mtime_ns(folder, name, file)
            self._mtimes.learn(path, file.version, mtime_ns)
        return ImageInfo(image_of(name) or name, file.size, file.version, mtime_ns)

    # -- changing ------------------------------------------------------------------

    def _publish(
        self, folder: Folder, temporary: str, name: str, file: File, *, replace: bool
    ) -> None:
        """One of our own at a time: vSphere looks only into the datastore it writes to."""
        with self._names.hold(name):
            if not replace:
                self._check_absent(name)
            _move_surely(folder, temporary, name, file, replace=replace)
            self._remove_others(folder, name)
        self._mtimes.forget(folder.path(name))

    def _check_absent(self, name: str) -> None:
        for folder in self._folders:
            with contextlib.suppress(exceptions.NotFound):
                folder.head(name)
                raise exceptions.Duplicate(image=name)

    def _rename(self, folder: Folder, source: str, target: str, file: File) -> None:
        folder.settle(target)
        if _version(folder, target) == file.version:
            # Who has the old image open could not tell the two apart.
            self._rename_copy(folder, source, target)
            return
        _move_surely(folder, source, target, file, replace=True)
        notes.move(folder, source, target)
        self._mtimes.forget(folder.path(target))

    def _rename_copy(self, folder: Folder, source: str, target: str) -> None:
        """The same with another version, which copies get."""
        kept = notes.read(folder, source, folder.head(source))
        temporary = temporary_name()
        self._uploads.begun(folder, temporary)
        try:
            folder.copy(source, temporary)
            file = folder.head(temporary)
            _move_surely(folder, temporary, target, file, replace=True)
        except BaseException:
            self._uploads.drop(folder, temporary)
            raise
        self._uploads.ended(temporary)
        self._write_note(folder, target, file, kept)
        self._remove(folder, source)

    def _write_note(
        self, folder: Folder, name: str, file: File, properties: Mapping[str, str]
    ) -> None:
        temporary = temporary_name()
        self._uploads.begun(folder, temporary)
        try:
            notes.write(folder, temporary, name, file, properties)
        except BaseException:
            self._uploads.drop(folder, temporary)
            raise
        self._uploads.ended(temporary)
        self._mtimes.forget(folder.path(name))

    def _remove_others(self, folder: Folder, name: str) -> None:
        """The images of that name in other datastores, which it now stands for."""
        for other in self._others(folder):
            with contextlib.suppress(exceptions.NotFound):
                self._remove(other, name)

    def _remove(self, folder: Folder, name: str) -> None:
        folder.head(name)  # a folder would go with all that is in it
        folder.settle(name)
        folder.delete(name)
        notes.remove(folder, name)
        self._mtimes.forget(folder.path(name))


def _move_to(location: VmwareLocation, folder: Folder) -> None:
    location.datacenter, location.datastore = folder.datastore.datacenter, folder.datastore.name


def _version(folder: Folder, name: str) -> str | None:
    try:
        return folder.head(name).version
    except exceptions.NotFound:
        return None


def _move_surely(folder: Folder, source: str, target: str, file: File, *, replace: bool) -> None:
    """`Folder.move`; where its answer got lost, see what came of it."""
    try:
        folder.move(source, target, replace=replace)
    except (exceptions.RemoteServiceUnavailable, exceptions.TimeoutError):
        if _version(folder, source) is not None or _version(folder, target) != file.version:
            raise
