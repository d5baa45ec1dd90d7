# SPDX-License-Identifier: Apache-2.0
"""What the objects of a fake sheep are, and how those go that nobody refers to any more."""

import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

#: where the index of an inode begins, and where it ends
HEAD = 4664
INDEX_END = HEAD + 4 * (1 << 20)

#: what the tree of a hyper volume begins with: a magic number, the depth, how many entries
TREE = struct.Struct("<HHI")
MAGIC = 0x6274
LEAF = struct.Struct("<II")  # number of the object, id of its VDI
BRANCH = struct.Struct("<I4xQ")  # highest number in it, object id of the leaf

_PATIENCE = 10.0


class Stored:
    """An object: zeros where nobody wrote, and no end for who writes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.data = bytearray()

    def write(self, data: bytes, offset: int) -> None:
        if offset > len(self.data):
            self.data.extend(bytes(offset - len(self.data)))
        self.data[offset : offset + len(data)] = data
        self.size = max(self.size, offset + len(data))

    def read(self, length: int, offset: int) -> bytes:
        """All of *length*: what follows the end is what the memory held before."""
        inside = max(0, min(length, self.size - offset))
        data = bytes(self.data[offset : offset + inside])
        return data + bytes(inside - len(data)) + b"\xde\xad" * ((length - inside + 1) // 2)


class Reclaim:
    """Calls *remove* a moment after an index let go of objects: the answer comes before."""

    def __init__(self, remove: Callable[[Iterable[int]], None], lag: float) -> None:
        self.lag = lag
        self._remove = remove
        self._waiting = 0
        self._changed = threading.Condition()

    def later(self, oids: list[int]) -> None:
        if not oids:
            return
        with self._changed:
            self._waiting += 1
        timer = threading.Timer(self.lag, self._now, (oids,))
        timer.daemon = True
        timer.start()

    def settle(self) -> None:
        """Wait until everything is gone that was let go."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._waiting, _PATIENCE)

    def _now(self, oids: list[int]) -> None:
        self._remove(oids)
        with self._changed:
            self._waiting -= 1
            self._changed.notify_all()


def owners(inode: Stored, objects: Mapping[int, Stored]) -> Iterator[tuple[int, int]]:
    """Number and owner of each data object *inode* refers to."""
    if not inode.data[553:554].strip(b"\0"):
        for number, (owner,) in enumerate(struct.iter_unpack("<I", inode.data[HEAD:INDEX_END])):
            if owner:
                yield number, owner
        return
    for leaf in _leaves(inode.read(INDEX_END - HEAD, HEAD), objects):
        _, _, entries = TREE.unpack_from(leaf)
        yield from LEAF.iter_unpack(leaf[TREE.size : TREE.size + entries * LEAF.size])


def _leaves(root: bytes, objects: Mapping[int, Stored]) -> Iterator[bytes]:
    magic, depth, entries = TREE.unpack_from(root)
    if magic != MAGIC:
        return  # nobody has written into it, or somebody over it
    if depth == 1:
        yield root
        return
    for _, oid in BRANCH.iter_unpack(root[TREE.size : TREE.size + entries * BRANCH.size]):
        yield objects[oid].read(INDEX_END - HEAD, 0)
