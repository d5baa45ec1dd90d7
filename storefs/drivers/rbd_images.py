# SPDX-License-Identifier: Apache-2.0
"""The images of a pool as they are now: one, all of them, one opened."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from storefs import exceptions
from storefs.drivers import rbd_properties
from storefs.drivers.base import ImageInfo
from storefs.drivers.rbd_allocation import AllocationRead
from storefs.drivers.rbd_cluster import Cluster
from storefs.drivers.rbd_header import (
    Header,
    Snapshot,
    find_header,
    find_headers,
    find_id,
)
from storefs.drivers.rbd_location import SNAPSHOT
from storefs.drivers.rbd_reader import RbdReader
from storefs.drivers.rbd_target import TEMPORARY


@dataclasses.dataclass(frozen=True, slots=True)
class Version:
    """What of an image is read: *snapshot*, or the head where there is none."""

    pool: str
    header: Header
    snapshot: Snapshot | None
    info: ImageInfo


class Images:
    """Reads of names and headers; thread-safe."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._sdk = cluster.sdk

    def find(self, pool: str, name: str, snapshot: str) -> Version:
        """`NotFound`, also for a *snapshot* that is not Glance's and not there."""

        def find(ioctx: Any) -> Version | None:
            image_id = find_id(self._sdk, ioctx, name)
            header = find_header(ioctx, image_id) if image_id else None
            if header is None:
                return None
            return self._version(ioctx, pool, name, header, snapshot)

        found = self._cluster.call(pool, f"Image {name}", find)
        if found is None:
            raise exceptions.NotFound(image=name)
        return found

    def open(self, version: Version) -> RbdReader:
        """A reader of just that version; `NotFound` if it is gone meanwhile."""
        what = f"Image {version.info.image_id}"

        def open_(ioctx: Any) -> Any:
            return self._sdk.rbd.Image(
                ioctx,
                image_id=version.header.image_id,
                snapshot=version.snapshot.name if version.snapshot else None,
                read_only=True,
            )

        image = self._cluster.open(version.pool, what, open_)
        return RbdReader(
            self._cluster, version.pool, image, version.info, version.header, version.snapshot
        )

    def list(self, pool: str) -> Iterator[ImageInfo]:
        """All but temporaries; headers come many at once."""
        found = self._cluster.call(
            pool, f"Pool {pool}", lambda ioctx: list(self._sdk.rbd.RBD().list2(ioctx))
        )
        # Images of format 1 have no id; nothing has made them since Ceph 13.
        names = {i["id"]: i["name"] for i in found if i["id"] and not _hidden(i["name"])}
        # Nothing is asked before the first one is wanted; errors then are the SDK's.
        with self._cluster.using(pool, f"Pool {pool}") as ioctx:
            yield from self._infos(ioctx, names)

    def set_properties(self, version: Version, properties: Mapping[str, str]) -> None:
        header = version.header

        def set_(ioctx: Any) -> None:
            with self._sdk.rbd.Image(ioctx, image_id=header.image_id) as image:
                rbd_properties.write(image, header.image_id, header.metadata, properties)

        self._cluster.call_aside(version.pool, f"Image {version.info.image_id}", set_)

    def _infos(self, ioctx: Any, names: Mapping[str, str]) -> Iterator[ImageInfo]:
        """Of the images *names* by id; those that are gone meanwhile are left out."""
        headers = (header for header in find_headers(ioctx, names) if header is not None)
        for header in headers:
            read = AllocationRead(self._sdk, ioctx, header, header.snapshot(SNAPSHOT))
            yield _info(names[read.header.image_id], read)

    def _version(
        self, ioctx: Any, pool: str, name: str, header: Header, wanted: str
    ) -> Version | None:
        snapshot = header.snapshot(wanted)
        if snapshot is None and wanted != SNAPSHOT:
            return None
        info = _info(name, AllocationRead(self._sdk, ioctx, header, snapshot))
        return Version(pool, header, snapshot, info)


def _info(name: str, read: AllocationRead) -> ImageInfo:
    """A snapshot is one version for ever; the head is one until it is seen to be changed."""
    header, snapshot = read.header, read.snapshot
    if snapshot is not None:
        version, size = f"{header.image_id}@{snapshot.snap_id}", snapshot.size
    else:
        version, size = f"{header.image_id}.{header.modified_ns}.{header.size}", header.size
    return ImageInfo(name, size, version, rbd_properties.mtime_ns(header), read.result())


def _hidden(name: str) -> bool:
    return name.startswith(TEMPORARY)
