# SPDX-License-Identifier: Apache-2.0
"""An image on its way into a pool: under a name of its own until it is complete."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from storefs.drivers import rbd_properties
from storefs.drivers.base import SupportsReread, Writer
from storefs.drivers.open_upload import OpenUpload
from storefs.drivers.rbd_io import ImageReads, ImageWrites, MiB, OpenImage
from storefs.drivers.rbd_location import SNAPSHOT
from storefs.drivers.rbd_target import RbdTarget, temporary

#: What one call of `pwrite` brings at least: a window of objects where these are small.
_PART = 8 * MiB

#: An image of unknown size is made longer by as much as it is long, between these two.
#: What it is too long in the end is cut off, which looks for every object that may be
#: there: 0.2 s for 8 GiB where the pool keeps no object maps.
_LEAST_STEP = 64 * MiB
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
        self._part_size = max(object_size, _PART)
        self._properties: Mapping[str, str] = {}
        self._growing = threading.Lock()
        self._size = size or 0
        self._temporary = temporary("upload", image_id)
        self._image = self._create(object_size)
        self._writes = ImageWrites(self._image, object_size, fresh=sparse)
        self._open = OpenUpload(image_id)

    def part_size(self, offset: int) -> int:
        return self._part_size

    def pwrite(self, data: memoryview, offset: int) -> None:
        with self._open.part():
            self._make_room(offset + len(data))
            self._writes.write(data, offset)

    def skip(self, length: int, offset: int) -> None:
        """A hole: there is nothing to do for what nobody wrote."""
        with self._open.part():
            pass

    def reread(self, length: int, offset: int) -> bytes:
        with self._open.part():
            data = ImageReads(self._image, self._size).read(length, offset)
        return bytes(data).ljust(length, b"\0")  # it may end in what was skipped

    def stage(self, properties: Mapping[str, str]) -> bool:
        rbd_properties.check(properties)
        self._properties = dict(properties)
        return True

    def commit(self, size: int) -> None:
        with self._open.publication():
            self._target.cluster.aside(self._image.what, lambda: self._seal(size))
            self._open.check_open()
            self._target.rename(self._pool, self._temporary, self._name, replace=self._replace)
        self._target.journal.ended(self._temporary)

    def abort(self) -> None:
        """Removes the image when its parts are through."""
        self._open.abort(self._drop)

    def _drop(self) -> None:
        self._target.give_up(self._pool, self._temporary, self._image)

    def _seal(self, size: int) -> None:
        """Everything but the name; closed, for what has another name is another image to librbd."""
        with self._image.use() as image:
            image.flush()
            if size != self._size:
                image.resize(size)
            rbd_properties.write(image, image.id(), {}, self._properties)
            image.create_snap(SNAPSHOT)
            image.protect_snap(SNAPSHOT)
        self._image.close()

    def _create(self, object_size: int) -> OpenImage:
        """Make the image and open it; leaves nothing if that fails."""
        self._target.begun(self._pool, self._temporary)
        try:
            cluster = self._target.cluster
            features = _features(cluster.sdk.rbd, cluster.default("rbd_default_features"))
            return cluster.open(
                self._pool, f"Image {self._name}", self._maker(object_size, features)
            )
        except BaseException:
            self._target.discard(self._pool, self._temporary)
            raise

    def _maker(self, object_size: int, features: int) -> Callable[[Any], Any]:
        rbd = self._target.cluster.sdk.rbd

        def make(ioctx: Any) -> Any:
            order = object_size.bit_length() - 1
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
