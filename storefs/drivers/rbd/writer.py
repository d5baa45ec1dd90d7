# SPDX-License-Identifier: Apache-2.0
"""An image on its way into a pool: under a name of its own until it is complete."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from storefs.drivers.base import ImageInfo, SupportsReread, Writer, mtime_property
from storefs.drivers.open_upload import OpenUpload
from storefs.drivers.rbd import properties as rbd_properties
from storefs.drivers.rbd.allocation import OBJECT_MAP
from storefs.drivers.rbd.header import version_of
from storefs.drivers.rbd.io import ImageReads, ImageWrites, MiB, OpenImage
from storefs.drivers.rbd.location import SNAPSHOT
from storefs.drivers.rbd.target import RbdTarget, temporary

#: What one call of `pwrite` brings at least: a window of objects where these are small.
_PART = 8 * MiB

#: An image of unknown size begins with the first, and is made longer by as much as it is
#: long, up to the other: each time librbd lets nothing be written for some 70 ms.
#: What it is too long in the end is cut off, which looks for every object that may be
#: there: 0.2 s for 8 GiB where the pool keeps no object maps.
_LEAST_STEP = 1024 * MiB
_LARGEST_STEP = 4096 * MiB

#: RBD_FEATURE_LAYERING, without which there are no clones.
_LAYERING = 1


class RbdWriter(Writer, SupportsReread):
    """One image. *size* is a hint; *open_image* opens it for writing."""

    #: measured: 750-820 MiB/s with 4, and the same with 8
    max_concurrency = 4

    def __init__(
        self,
        target: RbdTarget,
        pool: str,
        image_id: str,
        size: int | None,
        object_size: int,
        *,
        replace: bool,
        sparse: bool,
    ) -> None:
        self._target = target
        self._pool = pool
        self._name = image_id
        self._replace = replace
        self._object_size = object_size
        self._part_size = max(object_size, _PART)
        self._properties: Mapping[str, str] = {}
        self._growing = threading.Lock()
        self._size = size or _LEAST_STEP
        self._temporary = temporary("upload", image_id)
        self._image = self._create()
        self._writes = ImageWrites(self._image, object_size, fresh=sparse)
        self._open = OpenUpload(image_id)

    def part_size(self, offset: int) -> int:
        return self._part_size

    def pwrite(self, data: memoryview, offset: int) -> None:
        self.pwritev([data], offset)

    def pwritev(self, pieces: list[memoryview], offset: int) -> None:
        """Long pieces are not joined."""
        with self._open.part():
            self._make_room(offset + sum(map(len, pieces)))
            self._writes.write_pieces(pieces, offset)

    def skip(self, length: int, offset: int) -> None:
        """A hole: there is nothing to do for what nobody wrote."""
        with self._open.part():
            pass

    def reread(self, length: int, offset: int) -> bytes:
        with self._open.part():
            data = ImageReads(self._image, self._size).read(length, offset)
        return bytes(data).ljust(length, b"\0")  # it may end in what was skipped

    def stage(self, properties: Mapping[str, str]) -> bool:
        """An image without an mtime gets one: what `commit` tells is then all there is."""
        rbd_properties.check(properties)
        self._properties = {"mtime_ns": str(time.time_ns()), **properties}
        return True

    def commit(self, size: int) -> ImageInfo | None:
        with self._open.publication():
            info = self._target.cluster.aside(self._image.what, lambda: self._seal(size))
            self._open.check_open()
            self._target.rename(self._pool, self._temporary, self._name, replace=self._replace)
        self._target.journal.ended(self._temporary)
        return info

    def abort(self) -> None:
        """Removes the image when its parts are through."""
        self._open.abort(self._drop)

    def _drop(self) -> None:
        self._target.give_up(self._pool, self._temporary, self._image)

    def _seal(self, size: int) -> ImageInfo | None:
        """Everything but the name; closed, for what has another name is another image to librbd."""
        with self._image.use() as image:
            image.flush()
            if size != self._size:
                image.resize(size)
            rbd_properties.write(image, image.id(), {}, self._properties)
            image.create_snap(SNAPSHOT)
            image.protect_snap(SNAPSHOT)
            info = self._info(image, size)
        self._image.close()
        return info

    def _info(self, image: Any, size: int) -> ImageInfo | None:
        """What is there now, if it has an mtime of its own; nothing is asked of an OSD."""
        if not self._properties:
            return None
        mtime_ns = mtime_property(self._properties, 0)
        version = version_of(image.id(), image.snap_get_id(SNAPSHOT))
        mapped = image.features() & OBJECT_MAP and not image.flags()
        allocated = self._writes.objects * self._object_size if mapped else None
        return ImageInfo(self._name, size, version, mtime_ns, allocated)

    def _create(self) -> OpenImage:
        """Make the image and open it; leaves nothing if that fails."""
        self._target.begun(self._pool, self._temporary)
        try:
            cluster = self._target.cluster
            features = _features(cluster.sdk.rbd, cluster.default("rbd_default_features"))
            return cluster.open(self._pool, f"Image {self._name}", self._maker(features))
        except BaseException:
            self._target.discard(self._pool, self._temporary)
            raise

    def _maker(self, features: int) -> Callable[[Any], Any]:
        rbd = self._target.cluster.sdk.rbd

        def make(ioctx: Any) -> Any:
            order = self._object_size.bit_length() - 1
            rbd.RBD().create(
                ioctx, self._temporary, self._size, order, old_format=False, features=features
            )
            return rbd.Image(ioctx, self._temporary)

        return make

    def _make_room(self, end: int) -> None:
        with self._growing:
            if end > self._size:
                step = min(max(self._size, _LEAST_STEP), _LARGEST_STEP)
                size = max(end, self._size + step)
                with self._image.use() as image:
                    image.resize(size)
                self._size = size


def _features(rbd: Any, default: str) -> int:
    """What Ceph's configuration wants of new images, and layering: Nova clones them."""
    if default.isdigit():
        return int(default) | _LAYERING
    return int(rbd.RBD().features_from_string(default)) | _LAYERING
