# SPDX-License-Identifier: Apache-2.0
"""The head of an inode: what a VDI is, and what storefs keeps in it.

A head is 4664 bytes. Of these 4092 are unused since Sheepdog 0.9; there storefs
keeps an image's hashes and mtime: they are read with the head, so a listing has
them for nothing, are written in the one request that publishes, and go when the
VDI goes. (The attributes of a VDI are objects of their own that outlive it, and
a hidden VDI beside each image could be lost or left.)
"""

import dataclasses
import json
import struct
import zlib
from collections.abc import Mapping

from storefs import exceptions
from storefs.drivers.base import ImageInfo
from storefs.drivers.sheepdog.wire import NAME_FIELD, Malformed, name_field

#: bytes of the head
HEAD = 4664

#: where the index begins: a u32 for each data object
INDEX = HEAD

#: how many objects a VDI may have
MAX_OBJECTS = 1 << 20

#: bytes of an inode: the head, the index and what the sheep counts
INODE = HEAD + 12 * MAX_OBJECTS

#: where the creation time is: with it an id that was given again shows
CTIME = 512

SIZE = 536
SNAP_ID = 556
_PROPERTIES = 572

_FIELDS = struct.Struct("<QQ8xQ8xBBBBII")
_MAGIC = b"storefs1"
_KEPT = struct.Struct("<8sIIQ")  # magic, length, CRC-32, the size of the image it is about

#: objects of 4 KiB to 2 GiB: offsets in them are 32 bits
_SHIFTS = range(12, 32)


@dataclasses.dataclass(frozen=True, slots=True)
class Inode:
    """*name* in bytes, empty for what is left of a deleted VDI; *ctime* as Sheepdog has it."""

    vid: int
    name: bytes
    ctime: int
    snap_ctime: int
    size: int
    policy: int
    store_policy: int
    copies: int
    shift: int
    snap_id: int
    raw: bytes = dataclasses.field(repr=False)

    @classmethod
    def parse(cls, raw: bytes, vid: int) -> "Inode":
        """From the `HEAD` bytes of inode *vid*; `Malformed`."""
        if len(raw) != HEAD:
            raise Malformed(f"the head of an inode has {len(raw)} bytes")
        ctime, snap_ctime, size, policy, store_policy, copies, shift, snap_id, own = (
            _FIELDS.unpack_from(raw, CTIME)
        )
        name = raw[:NAME_FIELD].partition(b"\0")[0]
        if name and (own != vid or shift not in _SHIFTS or size >= 1 << 63):
            raise Malformed(
                f"inode {vid:06x} says it is {own:06x}, {size} bytes in objects of 2**{shift}"
            )
        return cls(
            vid, name, ctime, snap_ctime, size, policy, store_policy, copies, shift, snap_id, raw
        )

    @property
    def object_size(self) -> int:
        return 1 << self.shift

    @property
    def max_size(self) -> int:
        """The largest size the index has entries for."""
        return MAX_OBJECTS << self.shift

    @property
    def objects(self) -> int:
        """How many entries of the index are about bytes of the image."""
        return min(-(-self.size >> self.shift), MAX_OBJECTS)

    @property
    def hyper(self) -> bool:
        """Is the index a B-tree? Those storefs reads, and never writes into."""
        return self.store_policy != 0

    @property
    def reserved(self) -> bool:
        """A size no VDI can have: somebody is about to publish under this name."""
        return not self.hyper and self.size > self.max_size

    @property
    def info(self) -> ImageInfo:
        """Id and creation time are of one VDI alone; who resizes it changes the bytes."""
        nanoseconds = (self.ctime >> 32) * 10**9 + (self.ctime & 0xFFFFFFFF)
        mtime_ns = _number(self.properties.get("mtime_ns", ""), nanoseconds)
        version = f"{self.vid:06x}-{self.ctime:x}-{self.size:x}"
        return ImageInfo(text_of(self.name), self.size, version, mtime_ns)

    @property
    def properties(self) -> dict[str, str]:
        """What is kept about these bytes; nothing if that is damaged, or about others."""
        magic, length, crc, size = _KEPT.unpack_from(self.raw, _PROPERTIES)
        start = _PROPERTIES + _KEPT.size
        kept = self.raw[start : start + length]
        if magic != _MAGIC or len(kept) != length or crc != zlib.crc32(kept) or size != self.size:
            return {}
        try:
            found = json.loads(kept)
        except ValueError:
            return {}
        if not isinstance(found, dict):
            return {}
        return {k: v for k, v in found.items() if isinstance(k, str) and isinstance(v, str)}

    def with_(
        self, *, name: bytes, size: int, snap_id: int, properties: Mapping[str, str]
    ) -> "Inode":
        """The same VDI under another name, with other contents of its head."""
        raw = bytearray(self.raw)
        raw[:NAME_FIELD] = name_field(name)
        raw[SIZE : SIZE + 8] = size.to_bytes(8, "little")
        raw[SNAP_ID : SNAP_ID + 4] = snap_id.to_bytes(4, "little")
        kept = pack_properties(properties, size)
        raw[_PROPERTIES : _PROPERTIES + len(kept)] = kept
        return Inode.parse(bytes(raw), self.vid)


def pack_properties(properties: Mapping[str, str], size: int) -> bytes:
    """The form in which they are kept, about an image of *size* bytes; `Invalid`."""
    kept = json.dumps(dict(properties), separators=(",", ":")).encode()
    if _KEPT.size + len(kept) > HEAD - _PROPERTIES:
        raise exceptions.Invalid(
            f"{len(kept)} bytes of properties do not fit into the inode of a VDI"
        )
    return _KEPT.pack(_MAGIC, len(kept), zlib.crc32(kept), size) + kept


def _number(text: str, default: int) -> int:
    """*text* as a time the kernel can take, else *default*."""
    try:
        number = int(text)
    except ValueError:
        return default
    return number if -(2**63) <= number < 2**63 else default


#: where `pack_properties` go
PROPERTIES = _PROPERTIES


def text_of(name: bytes) -> str:
    """The name as an image id; bytes that are no UTF-8 as in file names."""
    return name.decode("utf-8", "surrogateescape")


def bytes_of(image_id: str) -> bytes:
    """The inverse of `text_of`; UnicodeEncodeError."""
    return image_id.encode("utf-8", "surrogateescape")
