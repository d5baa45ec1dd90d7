# SPDX-License-Identifier: Apache-2.0
"""VDIs: found by name, listed, made and renamed.

Whatever a server says that cannot be is an error here, told as
`RemoteServiceUnavailable`.
"""

import array
import contextlib
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence

from storefs import exceptions
from storefs.drivers.base import Buffer
from storefs.drivers.sheepdog import wire
from storefs.drivers.sheepdog.cluster import BATCH, Cluster, succeeded
from storefs.drivers.sheepdog.errors import error_of
from storefs.drivers.sheepdog.inode import (
    HEAD,
    INDEX,
    INODE,
    PROPERTIES,
    SIZE,
    Inode,
    bytes_of,
    pack_properties,
    text_of,
)
from storefs.drivers.sheepdog.names import is_hidden
from storefs.drivers.sheepdog.wire import Malformed, Reply, Request

LOG = logging.getLogger(__name__)

#: How often a name is looked up that leads to another VDI before its inode is read.
_TRIES = 5

#: How many entries of an index one request reads or writes, 64 GiB of an image.
ENTRIES = 16 * 1024

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
            if not found(reply, what):
                return None
            with sense():
                vid = reply.vid
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
        with sense():
            return Inode.parse(bytes(head), vid)

    def index(self, inode: Inode, objects: int | None = None) -> "array.array[int]":
        """Which VDI owns each object of the image, or of so many; 0 where there are zeros."""
        count = inode.objects if objects is None else objects
        index = array.array("I", bytes(4 * count))
        view = memoryview(index).cast("B")
        oid = wire.inode_object(inode.vid)
        requests = [
            wire.read_object(oid, view[start : start + 4 * ENTRIES], INDEX + start)
            for start in range(0, len(view), 4 * ENTRIES)
        ]
        for reply in self.cluster.call(requests):
            succeeded(reply, f"Reading the index of {text_of(inode.name)}")
        if sys.byteorder == "big":
            index.byteswap()
        with sense():
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
        what = f"Creating {text_of(name)}"
        if reply.result == wire.VDI_WRITE:
            self._check_room(what)
        if not found(reply, what):
            raise error_of(reply.result, what)
        with sense():
            vid = reply.vid
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
        for start in range(0, len(view), 4 * ENTRIES):
            self.write_head(inode, view[start : start + 4 * ENTRIES], INDEX + 4 * first + start)

    def _check_room(self, what: str) -> None:
        """A sheep that has no room for an inode says no more than that it cannot write it."""
        total, free = self.cluster.ask(Request(wire.STAT_SHEEP), what).room
        if total and free < 2 * INODE:
            raise exceptions.StorageFull(f"{what}: the cluster has {free} bytes left")

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
        if not any(used):
            self._check_format()
        ids = [
            match.start() * 8 + bit
            for match in _SOME_BIT.finditer(used)
            for bit in range(8)
            if (used[match.start()] & ~deleted[match.start()]) >> bit & 1
        ]
        return [vid for vid in reversed(ids) if vid]

    def _check_format(self) -> None:
        """A cluster that was never formatted shows no VDI, and has no number of copies."""
        what = "Listing VDIs"
        if not self.cluster.ask(Request(wire.GET_CLUSTER_DEFAULT), what).copies:
            raise error_of(wire.WAIT_FOR_FORMAT, what)

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


def found(reply: Reply, what: str) -> bool:
    """Did a request that looks a name up find it? Whatever else happened is raised.

    "No such object" is about an inode on the way to the name: it is not known what it was.
    """
    if reply.result == wire.NO_OBJ:
        raise exceptions.BackendException(
            f"{what}: the cluster has lost the inode of a VDI; `dog vdi check` tells more"
        )
    return reply.result != wire.NO_VDI and bool(succeeded(reply, what))


@contextlib.contextmanager
def sense() -> Iterator[None]:
    """What the server says in here makes sense, or it is `RemoteServiceUnavailable`."""
    try:
        yield
    except Malformed as exc:
        raise exceptions.RemoteServiceUnavailable(
            f"Sheepdog's answer makes no sense: {exc}"
        ) from exc
