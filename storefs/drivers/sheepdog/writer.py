# SPDX-License-Identifier: Apache-2.0
"""An image on its way in: a VDI with a hidden name, which gets its own when it is complete."""

import array
import threading
from collections.abc import Iterator, Mapping

from storefs import exceptions
from storefs.drivers.base import SupportsReread, Writer, mtime_property
from storefs.drivers.open_upload import OpenUpload
from storefs.drivers.sheepdog import wire
from storefs.drivers.sheepdog.cluster import succeeded
from storefs.drivers.sheepdog.inode import Inode, bytes_of, pack_properties, text_of
from storefs.drivers.sheepdog.leavings import Leavings
from storefs.drivers.sheepdog.names import hidden_name
from storefs.drivers.sheepdog.publish import Publisher, Undecided
from storefs.drivers.sheepdog.reader import pieces
from storefs.drivers.sheepdog.vdis import Vdis
from storefs.drivers.sheepdog.wire import Request

#: The journal knows of objects in steps of so many, 4 GiB of an image.
_NOTED = 1024

#: How far apart two new entries of the index may be to be written at once.
_SPAN = 1024


class Draft:
    """The VDI of an upload: its inode, its index, and which objects may be there.

    Objects are noted, stored and entered into the index, in that order: of a storefs that is
    killed every object is known. Entries that come while others are written
    are written together.
    """

    def __init__(self, vdis: Vdis, leavings: Leavings, name: str, size: int) -> None:
        self._vdis = vdis
        self._leavings = leavings
        hidden = hidden_name("new", bytes_of(name))
        leavings.drafts(hidden, 0)
        inode = vdis.create(hidden, size) or vdis.current(hidden)
        if inode is None:
            raise exceptions.RemoteServiceUnavailable(f"{text_of(hidden)} was not created")
        self.inode: Inode = inode
        self._index = array.array("I")
        self._noted = 0
        self._begun: set[int] = set()
        self._new: set[int] = set()
        self._lock = threading.Lock()
        self._entering = threading.Lock()
        self._creating = threading.Lock()

    def write(self, data: memoryview, offset: int) -> None:
        """Store *data*; when this returns the index knows of it."""
        size = self.inode.object_size
        cut = list(pieces(offset, len(data), size))
        last = (offset + len(data) - 1) // size
        self._note(last + 1)
        if size > wire.MAX_DATA:
            # Parts share an object: who comes first creates it, and the others wait for that.
            with self._creating:
                self._send(data, offset, cut)
        else:
            self._send(data, offset, cut)
        self._enter(range(offset // size, last + 1))

    def read(self, length: int, offset: int) -> memoryview:
        """What was written there; zeros where there is no object."""
        data = memoryview(bytearray(length))
        requests = []
        for start, size in pieces(offset, length, self.inode.object_size):
            number, within = divmod(start, self.inode.object_size)
            if number < len(self._index) and self._index[number]:
                oid = wire.data_object(self.inode.vid, number)
                into = data[start - offset : start - offset + size]
                requests.append(wire.read_object(oid, into, within))
        if requests:
            for reply in self._vdis.cluster.call(requests):
                succeeded(reply, f"Reading {text_of(self.inode.name)}")
        return data

    def discard(self) -> None:
        """Delete it with all that was stored."""
        strays = [n for n in self._begun if n >= len(self._index) or not self._index[n]]
        self._leavings.discard(self.inode, len(self._index), strays)

    def _send(self, data: memoryview, offset: int, cut: list[tuple[int, int]]) -> None:
        requests = [
            self._request(start, data[start - offset : start - offset + length])
            for start, length in cut
        ]
        for reply in self._vdis.cluster.call(requests):
            succeeded(reply, f"Writing {text_of(self.inode.name)}")

    def _request(self, start: int, data: memoryview) -> Request:
        number, within = divmod(start, self.inode.object_size)
        with self._lock:
            create = number not in self._begun
            self._begun.add(number)
        return wire.write_object(
            wire.data_object(self.inode.vid, number),
            data,
            within,
            copies=self.inode.copies,
            policy=self.inode.policy,
            create=create,
        )

    def _note(self, objects: int) -> None:
        with self._lock:
            if objects > self._noted:
                self._noted = -(-objects // _NOTED) * _NOTED
                self._leavings.drafts(self.inode.name, self._noted)

    def _enter(self, numbers: range) -> None:
        """Write the entries of *numbers* into the index, with others that wait for it."""
        with self._lock:
            missing = numbers.stop - len(self._index)
            if missing > 0:
                self._index.extend(array.array("I", bytes(4 * missing)))
            for number in numbers:
                self._index[number] = self.inode.vid
            self._new.update(numbers)
        with self._entering:
            with self._lock:
                new, self._new = sorted(self._new), set()
                runs = [(first, self._index[first : last + 1]) for first, last in _runs(new)]
            for first, entries in runs:
                self._vdis.write_index(self.inode, first, entries)


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """First and last of what is close together in sorted *numbers*."""
    first = last = -1
    for number in numbers:
        if first >= 0 and number - last > _SPAN:
            yield first, last
            first = number
        elif first < 0:
            first = number
        last = number
    if first >= 0:
        yield first, last


class SheepdogWriter(Writer, SupportsReread):
    """One image; nothing of it has its name before `commit`."""

    def __init__(self, publisher: Publisher, name: str, lanes: int, *, replace: bool) -> None:
        self.max_concurrency = lanes
        self._publisher = publisher
        self._name = name
        self._replace = replace
        self._draft = Draft(publisher.vdis, publisher.leavings, name, 0)
        self._properties: Mapping[str, str] = {}
        self._open = OpenUpload(name)

    def part_size(self, offset: int) -> int:
        return wire.MAX_DATA

    def pwrite(self, data: memoryview, offset: int) -> None:
        with self._open.part():
            self._check_size(offset + len(data))
            if data:
                self._draft.write(data.cast("B"), offset)

    def skip(self, length: int, offset: int) -> None:
        with self._open.part():
            self._check_size(offset + length)

    def reread(self, length: int, offset: int) -> memoryview:
        with self._open.part():
            return self._draft.read(length, offset)

    def stage(self, properties: Mapping[str, str]) -> bool:
        mtime_property(properties, 0)
        pack_properties(properties, 0)
        self._properties = dict(properties)
        return True

    def commit(self, size: int) -> None:
        with self._open.part():
            self._check_size(size)
            inode = self._draft.inode
            try:
                stands = self._publisher.publish(
                    inode, bytes_of(self._name), size, self._properties, replace=self._replace
                )
            except Undecided as exc:
                self._open.end()  # it may be the image: nobody touches it
                raise exc.failure from exc
            self._open.end()
            if stands:
                self._publisher.leavings.ended(inode.name)
            else:
                self._draft.discard()

    def abort(self) -> None:
        """Deletes the draft when its parts are through: one that arrives later would stay."""
        self._open.abort(self._draft.discard, self._publisher.vdis.cluster.settings.timeout)

    def _check_size(self, size: int) -> None:
        longest = self._draft.inode.max_size
        if size > longest:
            raise exceptions.ImageTooLarge(f"A VDI of this cluster has {longest} bytes at most")
