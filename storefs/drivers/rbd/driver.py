# SPDX-License-Identifier: Apache-2.0
"""Images as RBD images of one Ceph pool, by librados and librbd.

A published image has the protected snapshot ``snap``, of which Nova and Cinder make
copy-on-write clones; it is what is read. Images others have put there without one are read
as they are. Hashes and mtime are the image's metadata.
"""

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
    check_name,
)
from storefs.drivers.rbd import properties as rbd_properties
from storefs.drivers.rbd import sdk
from storefs.drivers.rbd.capacity import capacity
from storefs.drivers.rbd.cluster import Access, Cluster
from storefs.drivers.rbd.images import Images, Version
from storefs.drivers.rbd.io import MiB
from storefs.drivers.rbd.location import SCHEME, SNAPSHOT, RbdLocation
from storefs.drivers.rbd.options import OPTIONS
from storefs.drivers.rbd.target import TEMPORARY, RbdTarget
from storefs.drivers.rbd.writer import RbdWriter
from storefs.drivers.state import state_directory

#: The longest name: librbd's own programs read no longer one.
_LONGEST_NAME = 1024


class RbdDriver(
    Driver[RbdLocation],
    SupportsAdd[RbdLocation],
    SupportsDelete[RbdLocation],
    SupportsList,
    SupportsRename[RbdLocation],
    SupportsProperties[RbdLocation],
    SupportsCapacity,
):
    """One pool of a Ceph cluster. Connects when it is first used."""

    SCHEMES = (SCHEME,)
    LOCATION = RbdLocation
    OPTIONS = OPTIONS
    DETAILS = {
        "chunk_size": ("rbd_store_chunk_size", MiB),
        "pool": "rbd_store_pool",
        "thin_provisioning": "rbd_thin_provisioning",
    }

    def __init__(self, options: Options, store_id: str) -> None:
        super().__init__(options, store_id)
        self._pool: str = options.rbd_store_pool
        access = Access(
            options.rbd_store_ceph_conf,
            options.rbd_store_user or "admin",
            options.rados_connect_timeout,
        )
        self._cluster = Cluster(sdk.load(store_id), access, store_id)
        self._images = Images(self._cluster)
        self._target = RbdTarget(self._cluster, self._pool, state_directory())
        self._target.sweep_aside()

    @property
    def url_prefix(self) -> str:
        fsid = self._cluster.fsid
        return f"{SCHEME}://{fsid}/{self._pool}/" if fsid else f"{SCHEME}://"

    def locate(self, image_id: str) -> RbdLocation:
        check_name(image_id, "RBD", _LONGEST_NAME)
        if image_id.startswith(TEMPORARY):
            raise exceptions.Invalid(
                f"{image_id!r}: names that begin with {TEMPORARY} are temporaries"
            )
        specs = {
            "fsid": lambda: self._cluster.fsid,
            "pool": self._pool,
            "image": image_id,
            "snapshot": SNAPSHOT,
        }
        return RbdLocation(specs, backend_group=self.store_id)

    def stat(self, location: RbdLocation) -> ImageInfo:
        return self._find(location).info

    def open(self, location: RbdLocation) -> Reader:
        return self._images.open(self._find(location))

    def list(self) -> Iterator[ImageInfo]:
        return self._images.list(self._pool)

    def create(self, location: RbdLocation, size: int | None, *, replace: bool = False) -> Writer:
        pool = self._pool_of(location)
        if not replace and self._target.find(pool, location.image) is not None:
            raise exceptions.Duplicate(image=location.image)
        return RbdWriter(
            self._target,
            pool,
            location.image,
            size,
            _object_size(self.options.rbd_store_chunk_size),
            replace=replace,
            sparse=self.options.rbd_thin_provisioning,
        )

    def delete(self, location: RbdLocation) -> None:
        self._target.delete(self._pool_of(location), location.image)

    def rename(self, source: RbdLocation, target: RbdLocation) -> None:
        pool = self._pool_of(source)
        if source.image == target.image:
            self._find(source)
        else:
            self._target.rename(pool, source.image, target.image, replace=True)

    def properties(self, location: RbdLocation) -> Mapping[str, str]:
        return rbd_properties.properties_of(self._find(location).header)

    def set_properties(self, location: RbdLocation, properties: Mapping[str, str]) -> None:
        rbd_properties.check(properties)
        self._images.set_properties(self._find(location), properties)

    def capacity(self) -> Capacity:
        return capacity(self._cluster, self._pool)

    def close(self) -> None:
        self._target.close()

    def _pool_of(self, location: RbdLocation) -> str:
        """The pool; `BadStoreUri` for an image of another cluster."""
        ours = self._cluster.fsid
        if location.fsid is not None and ours is not None and location.fsid != ours:
            raise exceptions.BadStoreUri(
                f"The image is in the Ceph cluster {location.fsid}, and store {self.store_id} is "
                f"in {ours}"
            )
        return location.pool or self._pool

    def _find(self, location: RbdLocation) -> Version:
        pool = self._pool_of(location)
        if (pool, location.image) in self._target.changing:
            # Between two renames nothing has the name.
            with self._target.changing.hold((pool, location.image)):
                return self._images.find(pool, location.image, location.snapshot)
        return self._images.find(pool, location.image, location.snapshot)


def _object_size(chunk_size: int) -> int:
    """Bytes; RBD's objects have sizes that are powers of two."""
    return MiB << (chunk_size.bit_length() - 1)
