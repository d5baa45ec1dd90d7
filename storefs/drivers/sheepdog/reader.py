# SPDX-License-Identifier: Apache-2.0
"""Reading a VDI: its index is read once, its objects as they are asked for."""

import array
import itertools
from collections.abc import Iterator

from storefs import exceptions
from storefs.drivers.base import Reader
from storefs.drivers.sheepdog import wire
from storefs.drivers.sheepdog.cluster import succeeded
from storefs.drivers.sheepdog.hyper import SparseIndex, read_tree
from storefs.drivers.sheepdog.inode import CTIME, PROPERTIES, Inode, text_of
from storefs.drivers.sheepdog.vdis import Vdis
from storefs.drivers.sheepdog.wire import MAX_DATA, Request

#: How often an image is opened anew that is replaced in the meantime.
_TRIES = 5


class SheepdogReader(Reader):
    """One version of an image, as its index was when it was opened.

    Objects are owned by the VDI itself or by those it was cloned from; where there
    is none are zeros. An object that is gone shows that the VDI is. Where the
    cluster gives ids a second time it could also be another VDI's by now: so
    it is asked, after the bytes have come, whether the VDI is the same one.
    """

    def __init__(self, vdis: Vdis, name: str, connections: int) -> None:
        self.max_concurrency = connections
        self._vdis = vdis
        inode = vdis.image(name)
        for _ in range(_TRIES):
            self._inode, self.info = inode, inode.info
            self._index: SparseIndex | array.array[int] = (
                read_tree(vdis, inode) if inode.hyper else vdis.index(inode)
            )
            if _same(vdis.inode(inode.vid), inode):
                return
            inode = vdis.image(name)
        raise self._changed()

    def pread(self, length: int, offset: int) -> memoryview:
        length = max(0, min(length, self._inode.size - offset))
        data = memoryview(bytearray(length))
        requests = list(self._requests(data, offset))
        if requests:
            for reply in self._vdis.cluster.call(requests):
                if reply.result == wire.NO_OBJ:
                    raise self._missing()
                succeeded(reply, f"Reading {text_of(self._inode.name)}")
            self._check()
        return data

    def _requests(self, data: memoryview, offset: int) -> Iterator[Request]:
        """What fills *data*: never past the end of an object."""
        for start, length in pieces(offset, len(data), self._inode.object_size):
            index, within = divmod(start, self._inode.object_size)
            owner = self._index[index]
            if owner:
                into = data[start - offset : start - offset + length]
                yield wire.read_object(wire.data_object(owner, index), into, within)

    def _check(self) -> None:
        """Raise `ImageChanged` if the VDI's id is another one's now."""
        ctime = bytearray(8)
        oid = wire.inode_object(self._inode.vid)
        (reply,) = self._vdis.cluster.call([wire.read_object(oid, memoryview(ctime), CTIME)])
        if reply.result == wire.NO_OBJ or int.from_bytes(ctime, "little") != self._inode.ctime:
            raise self._changed()
        succeeded(reply, f"Reading {text_of(self._inode.name)}")

    def _missing(self) -> Exception:
        if not _same(self._vdis.inode(self._inode.vid), self._inode):
            return self._changed()
        return exceptions.BackendException(
            f"{text_of(self._inode.name)}: the cluster has lost an object of it; `dog vdi check` "
            "tells more"
        )

    def _changed(self) -> Exception:
        return exceptions.ImageChanged(image=text_of(self._inode.name))


def pieces(offset: int, length: int, object_size: int) -> Iterator[tuple[int, int]]:
    """Cut a range at the borders of objects, and into what one request may carry."""
    step = min(object_size, MAX_DATA)
    end = offset + length
    borders = itertools.chain(range(offset - offset % step + step, end, step), [end])
    for border in borders:
        if border > offset:
            yield offset, border - offset
            offset = border


def _same(now: Inode | None, inode: Inode) -> bool:
    """Is *inode* still what it was when *now* was read?"""
    return now is not None and now.raw[:PROPERTIES] == inode.raw[:PROPERTIES]
