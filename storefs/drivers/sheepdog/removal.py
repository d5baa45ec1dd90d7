# SPDX-License-Identifier: Apache-2.0
"""Deleting a VDI: its index is cleared, and then it loses its name for good.

The sheep removes the objects an index lets go of by and by, after it has answered. Where
the cluster gives ids a second time (``dog cluster format -R``) the next VDI of the
same id would lose its objects to that: there they are waited for.
"""

import array
import time
from collections.abc import Iterable

from storefs import exceptions
from storefs.drivers.sheepdog import wire
from storefs.drivers.sheepdog.cluster import succeeded
from storefs.drivers.sheepdog.inode import Inode, text_of
from storefs.drivers.sheepdog.names import vdi_hash
from storefs.drivers.sheepdog.vdis import ENTRIES, Vdis, found

#: How often a VDI is cleared that another program writes into meanwhile.
_TRIES = 5

#: An id is as far behind the hash of its name as others were in its way, of which there are
#: a few; where ids are given again it is the lowest free one, wherever the hash is.
_FAR = 4096

#: The waits between two looks whether an object is gone, seconds.
_SHORTEST, _LONGEST = 0.005, 0.1


def destroy(
    vdis: Vdis, inode: Inode, name: bytes, objects: int, strays: Iterable[int] = ()
) -> None:
    """Delete VDI *inode*, which has the hidden *name*, its first *objects* objects before it.

    In this order: a VDI that is deleted before its index is cleared keeps its data for
    ever, with its name, and the sheep calls that a success. *strays* are objects that may
    be there and are in no index. The tree of a hyper volume the sheep walks itself.
    """
    _remove(vdis, inode, strays)
    for _ in range(_TRIES):
        if not inode.hyper:
            _clear(vdis, inode, objects)
        (reply,) = vdis.cluster.call([wire.delete_vdi(name)])
        if not found(reply, f"Deleting {text_of(name)}"):
            return
        (reply,) = vdis.cluster.call([wire.find_vdi(name)])
        if not found(reply, f"Deleting {text_of(name)}"):
            return
    raise exceptions.InUseByStore(
        f"{text_of(name)} cannot be deleted: another program, such as a running qemu, writes into "
        "it all the time"
    )


def _remove(vdis: Vdis, inode: Inode, numbers: Iterable[int]) -> None:
    requests = [wire.remove_object(wire.data_object(inode.vid, n)) for n in numbers]
    for reply in vdis.cluster.call(requests):
        if reply.result != wire.NO_OBJ:
            succeeded(reply, f"Removing an object of {text_of(inode.name)}")


def _clear(vdis: Vdis, inode: Inode, objects: int) -> None:
    last = _last_own(vdis.index(inode, objects), inode.vid) if _given_again(inode) else []
    vdis.write_index(inode, 0, array.array("I", bytes(4 * objects)))
    for number in last:
        _await_end(vdis, inode, number)


def _given_again(inode: Inode) -> bool:
    """Does the cluster give ids a second time?"""
    return (inode.vid - vdi_hash(inode.name)) % wire.VDI_IDS > _FAR


def _last_own(index: "array.array[int]", vid: int) -> list[int]:
    """The objects that go last: those of one request go one after the other."""
    starts = range(0, len(index), ENTRIES)
    own = ([n for n in range(s, min(s + ENTRIES, len(index))) if index[n] == vid] for s in starts)
    return [numbers[-1] for numbers in own if numbers]


def _await_end(vdis: Vdis, inode: Inode, number: int) -> None:
    until = time.monotonic() + vdis.cluster.settings.timeout
    wait, byte = _SHORTEST, memoryview(bytearray(1))
    while True:
        (reply,) = vdis.cluster.call([wire.read_object(wire.data_object(inode.vid, number), byte)])
        if reply.result == wire.NO_OBJ:
            return
        succeeded(reply, f"Deleting {text_of(inode.name)}")
        if time.monotonic() > until:
            raise exceptions.TimeoutError(f"The objects of {text_of(inode.name)} are still there")
        time.sleep(wait)
        wait = min(2 * wait, _LONGEST)
