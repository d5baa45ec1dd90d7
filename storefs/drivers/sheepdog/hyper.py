# SPDX-License-Identifier: Apache-2.0
"""The index of a hyper volume (``dog vdi create -y``), which is a tree where others have an array.

Its root takes the place of the array: of depth 1 it lists the data objects there are, of
depth 2 it lists leaves, objects of their own, that do. A node begins with a
magic number and says how many entries it has, each sorted by the number of
the data object. All of it is read at once: 8 bytes for each object.
"""

import array
import bisect
import struct
from collections.abc import Iterator

from storefs.drivers.sheepdog import wire
from storefs.drivers.sheepdog.cluster import succeeded
from storefs.drivers.sheepdog.inode import INDEX, Inode, text_of
from storefs.drivers.sheepdog.vdis import Vdis, sense
from storefs.drivers.sheepdog.wire import Malformed

_HEADER = struct.Struct("<HHI")
_MAGIC = 0x6274

#: number of the data object, id of the VDI that owns it
_LEAF = struct.Struct("<II")
#: the highest number below it, object id of the leaf
_BRANCH = struct.Struct("<I4xQ")

#: bytes of a node: as many as the array has
_NODE = 4 * 1024 * 1024


class SparseIndex:
    """``index[number]`` is the id of the VDI that owns the data object, 0 if there is none."""

    def __init__(self) -> None:
        self._numbers = array.array("I")
        self._owners = array.array("I")

    def append(self, number: int, owner: int) -> None:
        """Numbers come in order, or it is `Malformed`."""
        if owner >= wire.VDI_IDS or (self._numbers and number <= self._numbers[-1]):
            raise Malformed(f"entry {number} of the tree, of VDI {owner:#x}, is out of order")
        self._numbers.append(number)
        self._owners.append(owner)

    def __getitem__(self, number: int) -> int:
        at = bisect.bisect_left(self._numbers, number)
        here = at < len(self._numbers) and self._numbers[at] == number
        return self._owners[at] if here else 0


def read_tree(vdis: Vdis, inode: Inode) -> SparseIndex:
    """The index of hyper volume *inode*; `RemoteServiceUnavailable` where it makes no sense."""
    index = SparseIndex()
    root = wire.inode_object(inode.vid)
    with sense():
        depth, entries = _header(vdis, inode, root, INDEX)
        if depth == 1:
            _read_leaf(vdis, inode, (root, INDEX, entries), index)
        for oid in _leaves(vdis, inode, entries) if depth == 2 else ():
            leaf_depth, entries = _header(vdis, inode, oid, 0)
            if leaf_depth > 1:
                raise Malformed(f"a leaf of {text_of(inode.name)} has depth {leaf_depth}")
            _read_leaf(vdis, inode, (oid, 0, entries), index)
    return index


def _header(vdis: Vdis, inode: Inode, oid: int, at: int) -> tuple[int, int]:
    """Depth of a node and number of its entries; none in a tree nobody has begun."""
    magic, depth, entries = _HEADER.unpack(_read(vdis, inode, oid, at, _HEADER.size))
    if (magic, depth, entries) == (0, 0, 0):
        return 0, 0
    if magic != _MAGIC or depth not in {1, 2}:
        raise Malformed(f"a node of {text_of(inode.name)} has magic {magic:#x}, depth {depth}")
    size = (_LEAF if depth == 1 else _BRANCH).size
    if entries > (_NODE - _HEADER.size) // size:
        raise Malformed(f"a node of {text_of(inode.name)} has {entries} entries")
    return depth, entries


def _leaves(vdis: Vdis, inode: Inode, entries: int) -> Iterator[int]:
    """The object ids of the leaves; those of a clone are its own as well."""
    at = INDEX + _HEADER.size
    data = _read(vdis, inode, wire.inode_object(inode.vid), at, entries * _BRANCH.size)
    for _, oid in _BRANCH.iter_unpack(data):
        if oid >> wire.VID_SHIFT != wire.TREE_OBJECT >> wire.VID_SHIFT | inode.vid:
            raise Malformed(f"{oid:016x} is no leaf of {text_of(inode.name)}")
        yield oid


def _read_leaf(vdis: Vdis, inode: Inode, node: tuple[int, int, int], index: SparseIndex) -> None:
    oid, at, entries = node
    data = _read(vdis, inode, oid, at + _HEADER.size, entries * _LEAF.size)
    for number, owner in _LEAF.iter_unpack(data):
        index.append(number, owner)


def _read(vdis: Vdis, inode: Inode, oid: int, at: int, length: int) -> bytearray:
    data = bytearray(length)
    if length:
        (reply,) = vdis.cluster.call([wire.read_object(oid, memoryview(data), at)])
        succeeded(reply, f"Reading the index of {text_of(inode.name)}")
    return data
