# SPDX-License-Identifier: Apache-2.0
"""Sheepdog's messages, byte by byte: headers of 48 bytes, little-endian, and what follows them.

Nothing here knows sockets. What comes from the server is checked where it is
parsed: a reply that is not one is `Malformed`.
"""

import dataclasses
import struct

from storefs.drivers.base import Buffer

#: bytes of a header, either way
HEADER = 48

#: the most bytes of data one request may carry or ask for: an object of the usual size
MAX_DATA = 4 * 1024 * 1024

#: how many VDI ids there are; 0 is never used
VDI_IDS = 1 << 24

#: bytes of a bitmap with a bit for each id
BITMAP = VDI_IDS // 8

#: bytes of a name with its NUL
NAME_FIELD = 256

CREATE_AND_WRITE_OBJ = 0x01
READ_OBJ = 0x02
WRITE_OBJ = 0x03
REMOVE_OBJ = 0x04
NEW_VDI = 0x11
GET_VDI_INFO = 0x14
READ_VDIS = 0x15
DEL_VDI = 0x17
GET_CLUSTER_DEFAULT = 0x18
STAT_SHEEP = 0x86
READ_DEL_VDIS = 0xC9

SUCCESS = 0x00
NO_OBJ = 0x02
VDI_EXIST = 0x04
INVALID_PARMS = 0x05
NO_VDI = 0x08
VDI_WRITE = 0x0B
VER_MISMATCH = 0x14
WAIT_FOR_FORMAT = 0x16

_WRITE = 0x01
#: past the daemon's object cache, where it has one: what is answered is stored
_DIRECT = 0x08

_VDI_OBJECT = 1 << 63
#: a node of the tree a hyper volume has in place of its index
TREE_OBJECT = 1 << 60
#: where in an object's id the VDI's is
VID_SHIFT = 32

_COMMON = struct.Struct("<BBHIII")
_OBJECT = struct.Struct("<QQBBBBIII")
_VDI = struct.Struct("<QIBBBBII8x")
_REPLY = struct.Struct("<BBHIII I BBBx I I BB14x")
_STAT = struct.Struct("<32xQQ")


class Malformed(Exception):
    """The server sent what no Sheepdog sends; the text says what."""


def inode_object(vid: int) -> int:
    """The object id of the inode of VDI *vid*."""
    return _VDI_OBJECT | vid << VID_SHIFT


def data_object(vid: int, index: int) -> int:
    """The object id of data object *index* that VDI *vid* owns."""
    return vid << VID_SHIFT | index


@dataclasses.dataclass(slots=True)
class Request:
    """One request. *payload* is sent after the header, *into* is filled by the reply.

    *exact*: a success brings as many bytes as *into* has; else it brings none.
    """

    opcode: int
    fields: bytes = bytes(HEADER - _COMMON.size)
    flags: int = 0
    payload: Buffer = b""
    into: memoryview | None = None

    @property
    def wanted(self) -> int:
        """Bytes of data a success brings."""
        return 0 if self.into is None else len(self.into)

    @property
    def length(self) -> int:
        """Bytes of data either way."""
        return self.wanted + len(self.payload)

    def header(self, number: int) -> bytes:
        """The 48 bytes that go first; *number* comes back in the reply."""
        version = 0x02 if self.opcode < 0x80 else 0x0A
        common = _COMMON.pack(version, self.opcode, self.flags, 0, number, self.length)
        return common + self.fields


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """The header of a reply; *number* and *length* are of no use before they are compared."""

    opcode: int
    number: int
    length: int
    result: int
    raw: bytes = dataclasses.field(repr=False)

    @classmethod
    def parse(cls, raw: bytes) -> "Reply":
        """From 48 bytes, all of which may be anything."""
        _, opcode, _, _, number, length, result, *_ = _REPLY.unpack(raw)
        return cls(opcode, number, length, result, raw)

    @property
    def copies(self) -> int:
        """Of GET_CLUSTER_DEFAULT."""
        return self.raw[20]

    @property
    def copy_policy(self) -> int:
        """Of GET_CLUSTER_DEFAULT: 0 is replication."""
        return self.raw[21]

    @property
    def vid(self) -> int:
        """Of requests for VDIs: an id there can be, or `Malformed`."""
        vid: int = _REPLY.unpack(self.raw)[10]
        if not 0 < vid < VDI_IDS:
            raise Malformed(f"{vid:#x} is no id of a VDI")
        return vid

    @property
    def room(self) -> tuple[int, int]:
        """Of STAT_SHEEP: total and free bytes of the node."""
        total, free = _STAT.unpack(self.raw)
        return total, min(free, total)


def read_object(oid: int, into: memoryview, offset: int = 0) -> Request:
    """Fill *into* from *offset*; never past the end of the object: there is foreign memory."""
    return Request(READ_OBJ, _object(oid, offset), _DIRECT, into=into)


def write_object(
    oid: int,
    data: Buffer,
    offset: int = 0,
    *,
    copies: int = 0,
    policy: int = 0,
    create: bool = False,
) -> Request:
    """Write *data*. *create* makes the object anew: what is not written is zeros.

    Without it the object has to be there.
    """
    opcode = CREATE_AND_WRITE_OBJ if create else WRITE_OBJ
    return Request(opcode, _object(oid, offset, copies, policy), _WRITE | _DIRECT, data)


def remove_object(oid: int) -> Request:
    return Request(REMOVE_OBJ, _object(oid))


def find_vdi(name: bytes) -> Request:
    """The working VDI called *name*."""
    return Request(GET_VDI_INFO, _VDI.pack(0, 0, 0, 0, 0, 0, 0, 0), _WRITE, name_field(name))


def new_vdi(name: bytes, size: int, shift: int = 0) -> Request:
    """A VDI of *size* bytes in objects of 2**\\ *shift* (0: the cluster's default)."""
    return Request(NEW_VDI, _VDI.pack(size, 0, 0, 0, 0, shift, 0, 0), _WRITE, name_field(name))


def delete_vdi(name: bytes) -> Request:
    """Its entries in the index have to be zero already: else the data stays for ever."""
    return Request(DEL_VDI, _VDI.pack(0, 0, 0, 0, 0, 0, 0, 0), _WRITE, name_field(name))


def read_bitmap(opcode: int, into: memoryview) -> Request:
    """READ_VDIS or READ_DEL_VDIS; *into* must have `BITMAP` bytes."""
    return Request(opcode, into=into)


def name_field(name: bytes) -> bytes:
    """*name* with its NULs; no name is longer than 255 bytes, or the daemon cuts it."""
    if not 0 < len(name) < NAME_FIELD or b"\0" in name:
        raise ValueError(f"{name!r} cannot be the name of a VDI")
    return name.ljust(NAME_FIELD, b"\0")


def _object(oid: int, offset: int = 0, copies: int = 0, policy: int = 0) -> bytes:
    return _OBJECT.pack(oid, 0, copies, policy, 0, 0, 0, offset, 0)
