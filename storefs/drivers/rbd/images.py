# SPDX-License-Identifier: Apache-2.0
"""The images of a pool as they are now: one, all of them, one opened."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from storefs import exceptions
from storefs.drivers.base import ImageInfo
from storefs.drivers.rbd import properties as rbd_properties
from storefs.drivers.rbd.allocation import allocation
from storefs.drivers.rbd.cluster import Cluster
from storefs.drivers.rbd.header import Header, Snapshot, find_header, find_id, version_of
from storefs.drivers.rbd.location import SNAPSHOT
from storefs.drivers.rbd.reader import RbdReader
from storefs.drivers.rbd.target import TEMPORARY

S = TypeVar("S")
T = TypeVar("T")

#: How many images a listing reads at once: each takes two ways to an OSD and back.
LANES = 16


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
            header = find_header(self._sdk, ioctx, image_id) if image_id else None
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
        """All but temporaries; many are read at once."""
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

        def read(image: tuple[str, str]) -> ImageInfo | None:
            image_id, name = image
            header = find_header(self._sdk, ioctx, image_id)
            if header is None:
                return None
            return self._info(ioctx, name, header, header.snapshot(SNAPSHOT))

        return (info for info in _ahead(read, names.items()) if info is not None)

    def _version(
        self, ioctx: Any, pool: str, name: str, header: Header, wanted: str
    ) -> Version | None:
        snapshot = header.snapshot(wanted)
        if snapshot is None and wanted != SNAPSHOT:
            return None
        return Version(pool, header, snapshot, self._info(ioctx, name, header, snapshot))

    def _info(self, ioctx: Any, name: str, header: Header, snapshot: Snapshot | None) -> ImageInfo:
        """The head is one version until it is seen to be changed."""
        allocated = allocation(self._sdk, ioctx, header, snapshot)
        if snapshot is not None:
            version, size = version_of(header.image_id, snapshot.snap_id), snapshot.size
        else:
            version, size = f"{header.image_id}.{header.modified_ns}.{header.size}", header.size
        return ImageInfo(name, size, version, rbd_properties.mtime_ns(header), allocated)


def _ahead(work: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """What *work* gives for each of *items*, in their order, `LANES` of them at once."""
    window: collections.deque[Future[T]] = collections.deque()
    lanes = ThreadPoolExecutor(LANES, thread_name_prefix="rbd-listing")
    try:
        for item in items:
            window.append(lanes.submit(work, item))
            if len(window) > 2 * LANES:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    finally:
        lanes.shutdown(cancel_futures=True)  # it was left, or one has failed


def _hidden(name: str) -> bool:
    return name.startswith(TEMPORARY)
