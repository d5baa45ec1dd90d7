# SPDX-License-Identifier: Apache-2.0
"""What is known of images without opening them: RBD's own objects, read directly.

An image NAME is ``rbd_id.NAME``, which holds its id, and ``rbd_header.ID``, whose omap
holds size, times, snapshots and the image's metadata: two reads, where opening it takes
a dozen. The layout is that of format 2, unchanged since Ceph 0.56 (rbd_types.h,
cls_rbd_types.h).
"""

import dataclasses
import struct
from collections.abc import Mapping
from typing import Any

from storefs.drivers.rbd.sdk import Sdk

#: Omap entries asked for at once; an OSD gives 1024 at most.
_ENTRIES = 1000

_METADATA = "metadata_"
_SNAPSHOT = "snapshot_"


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    snap_id: int
    name: str
    size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """One image: *size* in bytes is the head's, *modified_ns* counts from the epoch."""

    image_id: str
    size: int
    object_size: int
    features: int
    #: not 0 where RBD's map of the objects cannot be trusted
    flags: int
    modified_ns: int
    data_prefix: str
    snapshots: tuple[Snapshot, ...]
    metadata: Mapping[str, str]

    def snapshot(self, name: str) -> Snapshot | None:
        return next((found for found in self.snapshots if found.name == name), None)


def version_of(image_id: str, snap_id: int) -> str:
    """A snapshot is one version for ever."""
    return f"{image_id}@{snap_id}"


def header_object(image_id: str) -> str:
    return f"rbd_header.{image_id}"


def snapshot_key(snap_id: int) -> str:
    return f"{_SNAPSHOT}{snap_id:016x}"


def find_id(sdk: Sdk, ioctx: Any, name: str) -> str | None:
    """The id of the image called *name*; None if there is none."""
    try:
        data = ioctx.read(f"rbd_id.{name}")
    except sdk.rados.ObjectNotFound:
        return None
    return _text(data, 0)[0]


def find_header(sdk: Sdk, ioctx: Any, image_id: str) -> Header | None:
    """The header of image *image_id*; None if it is gone."""
    entries: dict[str, bytes] = {}
    after = ""
    while True:
        found = _entries(sdk, ioctx, image_id, after)
        if found is None:
            return None
        entries.update(found)
        if len(found) < _ENTRIES:
            return _header(image_id, entries)
        after = next(reversed(found))  # an image of many snapshots


def read_snapshot(sdk: Sdk, ioctx: Any, image_id: str, snap_id: int) -> Snapshot | None:
    """The snapshot as it is now; None if it, or all of the image, is gone."""
    key = snapshot_key(snap_id)
    with sdk.rados.ReadOpCtx() as operation:
        entries, _ = ioctx.get_omap_vals_by_keys(operation, (key,))
        try:
            ioctx.operate_read_op(operation, header_object(image_id))
        except sdk.rados.ObjectNotFound:
            return None
        found = dict(entries)
    return _snapshot(found[key]) if key in found else None


def _entries(sdk: Sdk, ioctx: Any, image_id: str, after: str) -> dict[str, bytes] | None:
    """Those of its header behind *after*; None if there is no such image."""
    with sdk.rados.ReadOpCtx() as operation:
        entries, _ = ioctx.get_omap_vals(operation, after, "", _ENTRIES)
        try:
            ioctx.operate_read_op(operation, header_object(image_id))
        except sdk.rados.ObjectNotFound:
            return None
        return dict(entries)


def _header(image_id: str, entries: Mapping[str, bytes]) -> Header | None:
    """None for what is no complete header: one that is being made or removed."""
    if "size" not in entries or "object_prefix" not in entries:
        return None
    return Header(
        image_id,
        size=_number(entries["size"]),
        object_size=1 << entries["order"][0],
        features=_number(entries.get("features", bytes(8))),
        flags=_number(entries.get("flags", bytes(8))),
        modified_ns=_time_ns(entries.get("modify_timestamp") or entries.get("create_timestamp")),
        data_prefix=_text(entries["object_prefix"], 0)[0],
        snapshots=tuple(
            _snapshot(data) for key, data in entries.items() if key.startswith(_SNAPSHOT)
        ),
        metadata={
            key.removeprefix(_METADATA): data.decode(errors="replace")
            for key, data in entries.items()
            if key.startswith(_METADATA)
        },
    )


def _number(data: bytes) -> int:
    return int(struct.unpack_from("<Q", data)[0])


def _time_ns(data: bytes | None) -> int:
    """Seconds and nanoseconds; images made before Ceph 13 have none."""
    if data is None or len(data) < 8:
        return 0
    seconds, nanoseconds = struct.unpack_from("<II", data)
    return int(seconds) * 10**9 + int(nanoseconds)


def _snapshot(data: bytes) -> Snapshot:
    """The first members of cls_rbd_snap: version, compat, length; then id, name, size."""
    snap_id = struct.unpack_from("<Q", data, 6)[0]
    name, end = _text(data, 14)
    return Snapshot(snap_id, name, struct.unpack_from("<Q", data, end)[0])


def _text(data: bytes, offset: int) -> tuple[str, int]:
    """A string of Ceph's encoding, and where it ends."""
    begin = offset + 4
    end = begin + int(struct.unpack_from("<I", data, offset)[0])
    return data[begin:end].decode(errors="surrogateescape"), end
