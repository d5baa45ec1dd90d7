# SPDX-License-Identifier: Apache-2.0
"""How much of an image there is: st_blocks, from the map of objects RBD keeps.

The map is the object ``rbd_object_map.ID[.SNAPSHOT]``: the length of a header, the header
with the number of objects, and two bits for each object, the first ones in the high bits;
0 is an object that does not exist (object_map_types.h, bit_vector.hpp). It is read as it
is: librbd's own way, diff_iterate, ends the process where the map has another length than
it expects (a failed assertion, seen in 16.2.15 with images that are being replaced).
"""

from typing import Any

from storefs.drivers.rbd.header import Header, Snapshot
from storefs.drivers.rbd.sdk import Sdk

#: More than what is before and behind the bits.
_HEADER = 4096

#: RBD_FEATURE_OBJECT_MAP
OBJECT_MAP = 8

#: How many of the four objects in a byte there are, for every byte.
_OBJECTS = bytes(sum(bool(byte >> shift & 3) for shift in (0, 2, 4, 6)) for byte in range(256))


def allocation(sdk: Sdk, ioctx: Any, header: Header, snapshot: Snapshot | None) -> int | None:
    """Bytes of the objects one version of an image has; None where no map tells.

    It is read by one plain call: aio_read of python3-rados 16.2.15 shortens the bytes it
    has handed out, which has ended the process (glibc's abort in the callback).
    """
    if not header.features & OBJECT_MAP or header.flags:
        return None
    name = f"rbd_object_map.{header.image_id}"
    name += f".{snapshot.snap_id:016x}" if snapshot else ""
    size = snapshot.size if snapshot else header.size
    length = _HEADER + -(-size // header.object_size) // 4 + 1
    try:
        data = ioctx.read(name, length)
    except (sdk.rados.ObjectNotFound, sdk.rados.PermissionDeniedError):
        return None
    return allocated(data, size, header.object_size)


def allocated(data: bytes, size: int, object_size: int) -> int | None:
    """What map *data* says of an image of *size* bytes; None if it is another image's."""
    begin = 4 + int.from_bytes(data[:4], "little")
    count = int.from_bytes(data[begin - 8 : begin], "little")
    if begin < 12 or count != -(-size // object_size) or len(data) < begin + (count + 3) // 4:
        return None
    states = data[begin : begin + (count + 3) // 4]
    return sum(states.translate(_OBJECTS)) * object_size
