# SPDX-License-Identifier: Apache-2.0
"""What a fake sheep keeps: objects, inodes and ids, as the protocol's description has them."""

import dataclasses
import os
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from tests.servers.sheep_objects import HEAD, INDEX_END, MAGIC, TREE, Reclaim, Stored, owners

IDS = 1 << 24
INODE_SIZE = INDEX_END + 8 * (1 << 20)

SUCCESS, NO_OBJ, VDI_EXIST, INVALID, NO_VDI, NO_WRITE = 0x00, 0x02, 0x04, 0x05, 0x08, 0x0B
NO_TAG, FULL, VERSION, NO_SPACE, UNFORMATTED, READ_ONLY = 0x0E, 0x13, 0x14, 0x15, 0x16, 0x1A

_OBJECT = struct.Struct("<QQBBBBIII")
_VDI = struct.Struct("<QIBBBBII8x")


@dataclasses.dataclass
class Asked:
    """One request as it arrived."""

    opcode: int
    version: int
    flags: int
    number: int
    length: int
    fields: bytes
    payload: bytes

    @property
    def oid(self) -> int:
        return _OBJECT.unpack(self.fields)[0]

    @property
    def offset(self) -> int:
        return _OBJECT.unpack(self.fields)[7]


@dataclasses.dataclass
class Answer:
    """What goes back; *tail* are bytes 20 to 48 of the header."""

    result: int = SUCCESS
    data: bytes = b""
    tail: bytes = bytes(28)


class Cluster:
    """The objects and VDIs; one lock for all of it.

    *lag* is how many seconds objects stay that no index refers to any more.
    """

    def __init__(
        self, shift: int = 22, *, recycle: bool = False, copies: int = 1, lag: float = 0.02
    ) -> None:
        self.shift = shift
        self.recycle = recycle
        self.copies = copies
        self.formatted = True
        self.capacity = 1 << 40
        self.objects: dict[int, Stored] = {}
        self.used = bytearray(IDS // 8)
        self.deleted = bytearray(IDS // 8)
        #: VDI -> the one all its ancestors come from, where it is not itself
        self.families: dict[int, int] = {}
        self.lock = threading.RLock()
        self.reclaim = Reclaim(self._forget, lag)

    # -- what tests look at -----------------------------------------------------

    def data_objects(self, vid: int | None = None) -> list[int]:
        """The ids of all data objects, or of those of one VDI, once what was let go is gone."""
        self.reclaim.settle()
        data = [oid for oid in self.objects if not oid >> 56]
        return [oid for oid in data if vid is None or oid >> 32 == vid]

    def names(self) -> dict[bytes, int]:
        """Every VDI that has a name: name -> id; snapshots are left out."""
        found = {}
        for oid in self.objects:
            if oid >> 63 and not self._u64(self.objects[oid], 520):
                name = self._name(self.objects[oid])
                if name:
                    found[name] = oid >> 32 & 0xFFFFFF
        return found

    def orphans(self) -> list[int]:
        """Data objects no inode refers to."""
        data = self.data_objects()
        referred = {
            owner << 32 | number
            for oid in list(self.objects)
            if oid >> 63
            for number, owner in owners(self.objects[oid], self.objects)
        }
        return [oid for oid in data if oid not in referred]

    def restart(self) -> None:
        """What a daemon knows that starts again: that of its inodes."""
        with self.lock:
            self.used[:] = self.deleted[:] = bytes(IDS // 8)
            for oid, inode in self.objects.items():
                if oid >> 63:
                    self._mark(self.used, oid >> 32 & 0xFFFFFF)
                    if not self._name(inode):
                        self._mark(self.deleted, oid >> 32 & 0xFFFFFF)

    # -- requests ---------------------------------------------------------------

    def handle(self, asked: Asked) -> Answer:
        with self.lock:
            if asked.version > 2 if asked.opcode < 0x80 else asked.version != 0x0A:
                return Answer(VERSION)
            handler = self._HANDLERS.get(asked.opcode)
            if handler is None:
                return Answer(INVALID)
            if not self.formatted and asked.opcode not in {0x15, 0x18, 0x84, 0x86, 0xC9}:
                return Answer(UNFORMATTED)
            return handler(self, asked)

    def _create_object(self, asked: Asked) -> Answer:
        oid, cow, _, _, _, _, _, offset, _ = _OBJECT.unpack(asked.fields)
        if self._read_only(oid):
            return Answer(READ_ONLY)
        if self._full():
            return Answer(NO_SPACE)
        stored = Stored(self._object_size(oid))
        if asked.flags & 0x02:
            if cow not in self.objects:
                return Answer(NO_OBJ)
            stored.data[:] = self.objects[cow].data
        stored.write(asked.payload, offset)
        self.objects[oid] = stored
        return Answer()

    def _read_object(self, asked: Asked) -> Answer:
        stored = self.objects.get(asked.oid)
        if stored is None:
            return Answer(NO_OBJ)
        return Answer(data=stored.read(asked.length, asked.offset))

    def _write_object(self, asked: Asked) -> Answer:
        if self._read_only(asked.oid):
            return Answer(READ_ONLY)
        stored = self.objects.get(asked.oid)
        if stored is None:
            return Answer(NO_OBJ)
        offset, end = asked.offset, asked.offset + len(asked.payload)
        in_index = asked.oid >> 63 and offset >= HEAD and end <= INDEX_END
        before = stored.read(len(asked.payload), offset) if in_index else b""
        stored.write(asked.payload, offset)
        if in_index:
            self._dropped(before, asked.payload, (offset - HEAD) // 4)
        return Answer()

    def _remove_object(self, asked: Asked) -> Answer:
        return Answer(SUCCESS if self.objects.pop(asked.oid, None) else NO_OBJ)

    def _exist(self, asked: Asked) -> Answer:
        return Answer(SUCCESS if asked.oid in self.objects else NO_OBJ)

    def _new_vdi(self, asked: Asked) -> Answer:
        garbage = Answer(VDI_EXIST, tail=os.urandom(28))
        if len(asked.payload) != 256:
            garbage.result = INVALID
            return garbage
        size, base, copies, policy, store, shift, snapid, _ = _VDI.unpack(asked.fields)
        name = asked.payload.partition(b"\0")[0]
        found = self._lookup(name)
        if (found is None) is bool(snapid):
            garbage.result = NO_VDI if snapid else VDI_EXIST
            return garbage
        vid = self._free_id(name)
        if not vid or self._full():  # who has no room for an inode does not say so
            garbage.result = NO_WRITE if vid else FULL
            return garbage
        number = 1 + max((self._u32(s, 556) for s in self._of_name(name)), default=0)
        head = bytearray(HEAD)
        head[: len(name)] = name
        now = time.time_ns()
        struct.pack_into("<QQ", head, 512, (now // 10**9) << 32 | now % 10**9, 0)
        struct.pack_into("<Q", head, 536, size)
        shift = shift or self.shift
        struct.pack_into("<BBBB", head, 552, policy, store, copies or self.copies, shift)
        struct.pack_into("<III", head, 556, number, vid, base)
        inode = Stored(INODE_SIZE)
        inode.write(bytes(head), 0)
        if store and not base:
            inode.write(TREE.pack(MAGIC, 1, 0), HEAD)
        if base:
            self.families[vid] = self.families.get(base, base)
            parent = self.objects[1 << 63 | base << 32]
            if snapid:
                parent.write(head[512:520], 520)
            inode.write(bytes(parent.data[HEAD:INDEX_END]), HEAD)
        self.objects[1 << 63 | vid << 32] = inode
        self._mark(self.used, vid)
        return self._vdi_answer(vid)

    def _find_vdi(self, asked: Asked) -> Answer:
        if len(asked.payload) not in {256, 512}:
            return Answer(INVALID)
        name, tag = asked.payload[:256].partition(b"\0")[0], asked.payload[256:].rstrip(b"\0")
        snapid = _VDI.unpack(asked.fields)[6]
        if tag or snapid:
            return self._find_snapshot(name, tag, snapid)
        vid = self._lookup(name)
        return Answer(NO_VDI) if vid is None else self._vdi_answer(vid)

    def _find_snapshot(self, name: bytes, tag: bytes, snapid: int) -> Answer:
        stored = self._of_name(name)
        working = any(not self._u64(inode, 520) for inode in stored)
        for inode in stored:
            told = bytes(inode.data[256:512]).partition(b"\0")[0]
            fits = (tag and told == tag) or (snapid and self._u32(inode, 556) == snapid)
            if self._u64(inode, 520) and fits:
                return self._vdi_answer(self._u32(inode, 560))
        return Answer(NO_TAG if working else NO_VDI)

    def _delete_vdi(self, asked: Asked) -> Answer:
        found = self._find_vdi(asked)
        if found.result != SUCCESS:
            return found
        vid = struct.unpack_from("<I", found.tail, 4)[0]
        inode = self.objects[1 << 63 | vid << 32]
        self._mark(self.deleted, vid)
        if inode.data[553]:  # the tree of a hyper volume it walks itself, and at once
            walk = owners(inode, self.objects)
            self._forget([vid << 32 | number for number, owner in walk if owner == vid])
        elif any(inode.data[HEAD : HEAD + 4 * (-(-self._u64(inode, 536) >> inode.data[555]))]):
            return found  # the trap: it says it was deleted, and everything stays
        inode.write(bytes(256), 0)
        inode.write(bytes(8), 536)
        del inode.data[HEAD:]
        if self.recycle:
            self._collect(vid)
        return found

    def _collect(self, vid: int) -> None:
        """Give ids back when all of a family is deleted."""
        root = self.families.get(vid, vid)
        family = [root, *(child for child, of in self.families.items() if of == root)]
        if any(self._name(self.objects[1 << 63 | member << 32]) for member in family):
            return
        for member in family:
            del self.objects[1 << 63 | member << 32]
            self.families.pop(member, None)
            for bits in (self.used, self.deleted):
                bits[member // 8] &= ~(1 << member % 8)

    def _read_vdis(self, asked: Asked) -> Answer:
        if asked.length != IDS // 8:
            return Answer(INVALID)
        return Answer(data=bytes(self.used if asked.opcode == 0x15 else self.deleted))

    def _defaults(self, asked: Asked) -> Answer:
        told = (self.copies, 0, self.shift) if self.formatted else (0, 0, 0)
        return Answer(tail=bytes(told) + bytes(25))

    def _room(self, asked: Asked) -> Answer:
        used = sum(len(stored.data) for stored in self.objects.values())
        return Answer(
            tail=bytes(12) + struct.pack("<QQ", self.capacity, max(0, self.capacity - used))
        )

    def _format(self, asked: Asked) -> Answer:
        self.objects.clear()
        self.used[:] = self.deleted[:] = bytes(IDS // 8)
        self.copies, self.shift = asked.fields[16] or 3, asked.fields[28] or 22
        self.formatted = True
        return Answer()

    _HANDLERS: dict[int, Callable[[Any, Asked], Answer]] = {
        0x01: _create_object,
        0x02: _read_object,
        0x03: _write_object,
        0x04: _remove_object,
        0x11: _new_vdi,
        0x14: _find_vdi,
        0x15: _read_vdis,
        0x17: _delete_vdi,
        0x18: _defaults,
        0x84: _format,
        0x86: _room,
        0xBD: _exist,
        0xC9: _read_vdis,
    }

    # -- names and ids ----------------------------------------------------------

    def _ids(self, name: bytes) -> list[int]:
        """The ids *name* may have: the run of used ones from its hash on, the last one first."""
        if self.recycle:
            return sorted((o >> 32 & 0xFFFFFF for o in self.objects if o >> 63), reverse=True)
        run, vid = [], fnv(name) or 1
        while self._in_use(vid):
            run.append(vid)
            vid = vid + 1 if vid + 1 < IDS else 1
        return run[::-1]

    def _of_name(self, name: bytes) -> list[Stored]:
        stored = [self.objects[1 << 63 | vid << 32] for vid in self._ids(name)]
        return [inode for inode in stored if self._name(inode) == name]

    def _lookup(self, name: bytes) -> int | None:
        """The working VDI: the latest of the name, if that is no snapshot.

        Where ids are given again a snapshot is found as if it were one.
        """
        inodes = self._of_name(name)
        if not inodes or (self._u64(inodes[0], 520) and not self.recycle):
            return None
        return self._u32(inodes[0], 560)

    def _free_id(self, name: bytes) -> int:
        vid = first = 1 if self.recycle else fnv(name) or 1
        while self._in_use(vid):
            vid = vid + 1 if vid + 1 < IDS else 1
            if vid == first:
                return 0
        return vid

    @staticmethod
    def _mark(bits: bytearray, vid: int) -> None:
        bits[vid // 8] |= 1 << vid % 8

    def _in_use(self, vid: int) -> bool:
        return bool(self.used[vid // 8] >> vid % 8 & 1)

    def _vdi_answer(self, vid: int) -> Answer:
        inode = self.objects[1 << 63 | vid << 32]
        tail = bytearray(28)
        struct.pack_into("<I", tail, 4, vid)
        tail[12:14] = inode.data[554:556]
        return Answer(tail=bytes(tail))

    # -- objects ----------------------------------------------------------------

    def _dropped(self, before: bytes, after: bytes, first: int) -> None:
        """The objects whose last reference an index has lost go, soon."""
        lost = []
        for number in range(len(after) // 4):
            old = int.from_bytes(before[4 * number : 4 * number + 4], "little")
            new = int.from_bytes(after[4 * number : 4 * number + 4], "little")
            if old and old != new and not self._referred(old, first + number):
                lost.append(old << 32 | first + number)
        self.reclaim.later(lost)

    def _forget(self, oids: Iterable[int]) -> None:
        with self.lock:
            for oid in oids:
                self.objects.pop(oid, None)

    def _referred(self, owner: int, index: int) -> bool:
        at = HEAD + 4 * index
        entry = owner.to_bytes(4, "little")
        return any(s.data[at : at + 4] == entry for o, s in self.objects.items() if o >> 63)

    def _read_only(self, oid: int) -> bool:
        owner = self.objects.get(1 << 63 | (oid >> 32 & 0xFFFFFF) << 32)
        return not oid >> 56 and owner is not None and bool(self._u64(owner, 520))

    def _object_size(self, oid: int) -> int:
        owner = self.objects.get(1 << 63 | (oid >> 32 & 0xFFFFFF) << 32)
        return 1 << (owner.data[555] if owner else self.shift)

    def _full(self) -> bool:
        return sum(len(stored.data) for stored in self.objects.values()) > self.capacity

    @staticmethod
    def _name(inode: Stored) -> bytes:
        return bytes(inode.data[:256]).partition(b"\0")[0]

    @staticmethod
    def _u32(inode: Stored, at: int) -> int:
        return int.from_bytes(inode.data[at : at + 4], "little")

    @staticmethod
    def _u64(inode: Stored, at: int) -> int:
        return int.from_bytes(inode.data[at : at + 8], "little")


def fnv(name: bytes) -> int:
    """FNV-1a of 64 bits, of which the lowest 24 are taken."""
    value = 0xCBF29CE484222325
    for byte in name:
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return value % IDS
