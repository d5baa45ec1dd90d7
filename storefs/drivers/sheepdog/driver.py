# SPDX-License-Identifier: Apache-2.0
"""Images as VDIs of a Sheepdog cluster, in Sheepdog's own protocol over TCP.

No program of Sheepdog's is needed on this host. A VDI is read through its index and
written object by object; its hashes and mtime are in its inode.
"""

import dataclasses
import threading
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
    Writer,
    check_image_id,
    mtime_property,
)
from storefs.drivers.sheepdog import wire
from storefs.drivers.sheepdog.inode import MAX_OBJECTS
from storefs.drivers.sheepdog.location import (
    SheepdogLocation,
    check_name,
    prefix_of,
)
from storefs.drivers.sheepdog.options import OPTIONS
from storefs.drivers.sheepdog.reader import SheepdogReader
from storefs.drivers.sheepdog.sites import Sites
from storefs.drivers.sheepdog.vdis import Vdis
from storefs.drivers.sheepdog.wire import Request
from storefs.drivers.sheepdog.writer import SheepdogWriter

_MIB = 1024 * 1024

#: The largest VDI there is: an index of 2**20 objects of 2**31 bytes.
_LARGEST = MAX_OBJECTS << 31


class SheepdogDriver(
    Driver[SheepdogLocation],
    SupportsAdd[SheepdogLocation],
    SupportsDelete[SheepdogLocation],
    SupportsList,
    SupportsCapacity,
    SupportsProperties[SheepdogLocation],
):
    """One cluster. VDIs cannot be copied, and get another name only if it has the same hash."""

    SCHEMES = ("sheepdog",)
    LOCATION = SheepdogLocation
    OPTIONS = OPTIONS

    def __init__(self, options: Options, store_id: str) -> None:
        super().__init__(options, store_id)
        self._sites = Sites(options, store_id)
        self._own = self._sites.own
        self._prefix: str = options.sheepdog_store_prefix or ""
        self._merging = threading.Lock()
        self._own.leavings.journal.sweep_aside()

    @property
    def url_prefix(self) -> str:
        return prefix_of(self._sites.gateways[0])

    def locate(self, image_id: str) -> SheepdogLocation:
        check_image_id(image_id)
        name = self._prefix + image_id
        check_name(name)
        specs = {"gateway": self._sites.gateways[0], "image": name}
        return SheepdogLocation(specs, backend_group=self.store_id)

    def stat(self, location: SheepdogLocation) -> ImageInfo:
        return self._named(self._vdis(location).image(location.vdi).info)

    def open(self, location: SheepdogLocation) -> Reader:
        connections: int = self.options.sheepdog_store_connections
        reader = SheepdogReader(self._vdis(location), location.vdi, connections)
        reader.info = self._named(reader.info)
        return reader

    def list(self) -> Iterator[ImageInfo]:
        for inode in self._own.vdis.list():
            info = inode.info
            if len(info.image_id) > len(self._prefix) and info.image_id.startswith(self._prefix):
                yield self._named(info)

    def create(
        self, location: SheepdogLocation, size: int | None, *, replace: bool = False
    ) -> Writer:
        if size is not None and size > _LARGEST:
            raise exceptions.ImageTooLarge(f"VDIs have {_LARGEST} bytes at most")
        if not replace and self._exists(location):
            raise exceptions.Duplicate(image=location.vdi)
        under_way = self.options.sheepdog_store_chunk_size * _MIB // wire.MAX_DATA
        lanes = max(1, min(self.options.sheepdog_store_connections, under_way))
        return SheepdogWriter(self._sites.of(location), location.vdi, lanes, replace=replace)

    def delete(self, location: SheepdogLocation) -> None:
        site = self._sites.of(location)
        site.delete(site.vdis.image(location.vdi))

    def properties(self, location: SheepdogLocation) -> Mapping[str, str]:
        inode = self._vdis(location).image(location.vdi)
        return {**inode.properties, "mtime_ns": str(inode.info.mtime_ns)}

    def set_properties(self, location: SheepdogLocation, properties: Mapping[str, str]) -> None:
        mtime_property(properties, 0)
        vdis = self._vdis(location)
        with self._merging:
            inode = vdis.image(location.vdi)
            vdis.write_properties(inode, {**inode.properties, **properties})

    def capacity(self) -> Capacity:
        """Of the nodes that are named as gateways; a byte of an image takes one in each copy."""
        cluster = self._own.vdis.cluster
        default = cluster.ask(Request(wire.GET_CLUSTER_DEFAULT), "Asking for the cluster's default")
        copies = 1 if default.copy_policy else max(1, default.copies)
        rooms = [
            cluster.at(gateway, Request(wire.STAT_SHEEP), "Asking for the room").room
            for gateway in self._sites.gateways
        ]
        total, free = (sum(room[n] for room in rooms) // copies for n in range(2))
        return Capacity(total, free)

    def close(self) -> None:
        self._sites.close()

    def _vdis(self, location: SheepdogLocation) -> Vdis:
        return self._sites.of(location).vdis

    def _named(self, info: ImageInfo) -> ImageInfo:
        """With the image's id in place of the VDI's name."""
        return dataclasses.replace(info, image_id=info.image_id.removeprefix(self._prefix))

    def _exists(self, location: SheepdogLocation) -> bool:
        try:
            self.stat(location)
        except exceptions.NotFound:
            return False
        return True
