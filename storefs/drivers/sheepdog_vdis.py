# SPDX-License-Identifier: Apache-2.0
"""VDIs: found by name, listed, made, renamed and deleted.

Whatever a server says that cannot be is an error here, told as
`RemoteServiceUnavailable`.
"""

import array
import contextlib
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from storefs import exceptions
from storefs.drivers import sheepdog_wire as wire
from storefs.drivers.base import Buffer
from storefs.drivers.sheepdog_cluster import BATCH, Cluster, succeeded
from storefs.drivers.sheepdog_errors import error_of
from storefs.drivers.sheepdog_inode import (
    HEAD,
    INDEX,
    PROPERTIES,
    SIZE,
    Inode,
    bytes_of,
    pack_properties,
    text_of,
)
from storefs.drivers.sheepdog_names import is_hidden
from storefs.drivers.sheepdog_wire import Malformed, Request

LOG = logging.getLogger(__name__)

#: How often a name is looked up that leads to another VDI before its inode is read.
_TRIES = 5

#: How many entries of an index one request reads or writes, 64 GiB of an image.
_ENTRIES = 16 * 1024

_SOME_BIT = re.compile(rb"[^\x00]")


class Vdis:
    """The VDIs of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def image(self, name: str) -> Inode:
        """The published image that is VDI *name*; `NotFound`."""
        inode = self.current(bytes_of(name))
        if inode is None or inode.reserved:
            raise exceptions.NotFound(image=name)
        return inode

    def current(self, name: bytes) -> Inode | None:
        """The working VDI called *name*, whatever it is; None if there is none."""
        what = f"Looking up {text_of(name)}"
        for _ in range(_TRIES):
            (reply,) = self.cluster.call([wire.find_vdi(name)])
            if reply.result == wire.NO_VDI:
                return None
            with _sense():
                vid = succeeded(reply, what).vid
            inode = self.inode(vid)
            if inode is not None and inode.name == name and not inode.snap_ctime:
                return inode
        return None

    def inode(self, vid: int) -> Inode | None:
        """The head of inode *vid*; None if there is no such inode."""
        head = bytearray(HEAD)
        (reply,) = self.cluster.call([wire.read_object(wire.inode_object(vid), memoryview(head))])
        if reply.result == wire.NO_OBJ:
            return None
        succeeded(reply, f"Reading inode {vid:06x}")
        with _sense():
            return Inode.parse(bytes(head), vid)

    def index(self, inode: Inode, objects: int | None = None) -> "array.array[int]":
        """Which VDI owns each object of the image, or of so many; 0 where there are zeros."""
        count = inode.objects if objects is None else objects
        index = array.array("I", bytes(4 * count))
        view = memoryview(index).cast("B")
        oid = wire.inode_object(inode.vid)
        requests = [
            wire.read_object(oid, view[start : start + 4 * _ENTRIES], INDEX + start)
            for start in range(0, len(view), 4 * _ENTRIES)
        ]
        for reply in self.cluster.call(requests):
            succeeded(reply, f"Reading the index of {text_of(inode.name)}")
        if sys.byteorder == "big":
            index.byteswap()
        with _sense():
            if max(index, default=0) >= wire.VDI_IDS:
                raise Malformed(f"the index of {text_of(inode.name)} names what is no VDI")
        return index

    def list(self) -> Iterator[Inode]:
        """Every published image, lazily.

        The highest id first: should a name be there twice for a moment, it is the one
        that is found.
        """
        seen: set[bytes] = set()
        ids = self._ids()
        for first in range(0, len(ids), BATCH):
            for inode in self._heads(ids[first : first + BATCH]):
                hidden = inode.snap_ctime or inode.reserved or is_hidden(inode.name)
                if inode.name and not hidden and inode.name not in seen:
                    seen.add(inode.name)
                    yield inode

    def create(self, name: bytes, size: int, shift: int = 0) -> Inode | None:
        """A new VDI; None if there is one of that name, be it by an earlier attempt."""
        (reply,) = self.cluster.call([wire.new_vdi(name, size, shift)])
        if reply.result == wire.VDI_EXIST:
            return None
        with _sense():
            vid = succeeded(reply, f"Creating {text_of(name)}").vid
        inode = self.inode(vid)
        if inode is None or inode.name != name:
            raise exceptions.RemoteServiceUnavailable(
                f"{text_of(name)} was created, and is not there"
            )
        return inode

    def rename(self, inode: Inode, name: bytes) -> None:
        """Write another name with the same hash; a size that cannot be becomes 0."""
        renamed = inode.with_(
            name=name,
            size=0 if inode.reserved else inode.size,
            snap_id=inode.snap_id,
            properties={},
        )
        end = SIZE + 8 if inode.reserved else wire.NAME_FIELD
        self.write_head(inode, renamed.raw[:end])

    def write_head(self, inode: Inode, data: Buffer, offset: int = 0) -> None:
        """Write into the head, or the index, in one request."""
        request = wire.write_object(
            wire.inode_object(inode.vid), data, offset, copies=inode.copies, policy=inode.policy
        )
        self.cluster.ask(request, f"Writing the inode of {text_of(inode.name)}")

    def write_properties(self, inode: Inode, properties: Mapping[str, str]) -> None:
        self.write_head(inode, pack_properties(properties, inode.size), PROPERTIES)

    def write_index(self, inode: Inode, first: int, entries: "array.array[int]") -> None:
        """Write *entries* from index *first* on."""
        if sys.byteorder == "big":
            entries = entries[:]
            entries.byteswap()
        view = memoryview(entries).cast("B")
        for start in range(0, len(view), 4 * _ENTRIES):
            self.write_head(inode, view[start : start + 4 * _ENTRIES], INDEX + 4 * first + start)

    def destroy(self, inode: Inode, name: bytes, objects: int, strays: Iterable[int] = ()) -> None:
        """Delete VDI *inode*, which has the hidden *name*, its first *objects* objects before it.

        In this order: a VDI that is deleted before its index is cleared keeps its data for
        ever. *strays* are objects that may be there and are in no index.
        """
        self._remove(inode, strays)
        self.write_index(inode, 0, array.array("I", bytes(4 * objects)))
        (reply,) = self.cluster.call([wire.delete_vdi(name)])
        if reply.result != wire.NO_VDI:
            succeeded(reply, f"Deleting {text_of(name)}")

    def _remove(self, inode: Inode, indices: Iterable[int]) -> None:
        requests = [wire.remove_object(wire.data_object(inode.vid, i)) for i in indices]
        for reply in self.cluster.call(requests):
            if reply.result != wire.NO_OBJ:
                succeeded(reply, f"Removing an object of {text_of(inode.name)}")

    def _ids(self) -> Sequence[int]:
        """The ids in use, the highest first."""
        used, deleted = bytearray(wire.BITMAP), bytearray(wire.BITMAP)
        requests = [
            wire.read_bitmap(wire.READ_VDIS, memoryview(used)),
            wire.read_bitmap(wire.READ_DEL_VDIS, memoryview(deleted)),
        ]
        in_use, gone = self.cluster.call(requests)
        succeeded(in_use, "Listing VDIs")
        if gone.result in {wire.INVALID_PARMS, wire.VER_MISMATCH}:
            deleted = bytearray(wire.BITMAP)  # older ones do not tell them apart
        else:
            succeeded(gone, "Listing deleted VDIs")
        ids = [
            match.start() * 8 + bit
            for match in _SOME_BIT.finditer(used)
            for bit in range(8)
            if (used[match.start()] & ~deleted[match.start()]) >> bit & 1
        ]
        return [vid for vid in reversed(ids) if vid]

    def _heads(self, ids: Sequence[int]) -> Iterator[Inode]:
        """The inodes of *ids* that are there and make sense."""
        heads = memoryview(bytearray(HEAD * len(ids)))
        pieces = [heads[n * HEAD : (n + 1) * HEAD] for n in range(len(ids))]
        requests: list[Request] = [
            wire.read_object(wire.inode_object(vid), piece) for vid, piece in zip(ids, pieces)
        ]
        for vid, piece, reply in zip(ids, pieces, self.cluster.call(requests)):
            if reply.result == wire.NO_OBJ:
                continue
            if reply.result != wire.SUCCESS:
                raise error_of(reply.result, f"Reading inode {vid:06x}")
            try:
                yield Inode.parse(bytes(piece), vid)
            except Malformed as exc:
                LOG.info("A VDI is left out of the listing: %s", exc)


@contextlib.contextmanager
def _sense() -> Iterator[None]:
    """What the server says in here makes sense, or it is `RemoteServiceUnavailable`."""
    try:
        yield
    except Malformed as exc:
        raise exceptions.RemoteServiceUnavailable(
            f"Sheepdog's answer makes no sense: {exc}"
        ) from exc
