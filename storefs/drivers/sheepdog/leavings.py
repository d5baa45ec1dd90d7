# SPDX-License-Identifier: Apache-2.0
"""VDIs that are to go: noted before they are made or lose their name, and deleted in the end.

What cannot be deleted now, or was begun by a storefs that was killed, is
deleted at the next start.
"""

import contextlib
import logging
import pathlib
from collections.abc import Iterator

from storefs.drivers.journal import Journal, Record
from storefs.drivers.sheepdog.inode import Inode, bytes_of, text_of
from storefs.drivers.sheepdog.names import hidden_name
from storefs.drivers.sheepdog.removal import destroy
from storefs.drivers.sheepdog.vdis import Vdis

LOG = logging.getLogger(__name__)


class Leavings:
    """Of one cluster; *place* says which. `sweep` is the journal's."""

    def __init__(self, directory: pathlib.Path, place: str, vdis: Vdis) -> None:
        self._vdis = vdis
        self.journal = Journal(directory, "sheepdog-vdis", place, self.undo)

    def drafts(self, name: bytes, objects: int) -> None:
        """A draft of that name is made, and has no object from number *objects* on."""
        self.journal.begun(text_of(name), vdi=text_of(name), objects=str(objects))

    def reserves(self, hidden: bytes, name: bytes, size: int) -> None:
        """A reservation of *name* is made, of *size*."""
        vdi = text_of(hidden)
        self.journal.begun(vdi, vdi=vdi, image=text_of(name), size=str(size))

    def loses_name(self, inode: Inode, hidden: bytes = b"") -> bytes:
        """*inode* loses its name and will be deleted under a hidden one, which this gives."""
        hidden = hidden or hidden_name("old", inode.name)
        vdi, vid, ctime = text_of(hidden), str(inode.vid), str(inode.ctime)
        self.journal.begun(vdi, vdi=vdi, image=text_of(inode.name), vid=vid, ctime=ctime)
        return hidden

    def ended(self, name: bytes) -> None:
        """Nothing called *name* is left."""
        self.journal.ended(text_of(name))

    def settle(self, inode: Inode, hidden: bytes) -> None:
        """Delete what was to lose its name; if that fails it is done at the next start."""
        with self._later(hidden):
            self._settle(inode.vid, inode.ctime, inode.name, hidden)

    def discard(self, draft: Inode, objects: int, strays: list[int]) -> None:
        """Delete a draft with what was stored of it; the same if that fails."""
        with self._later(draft.name):
            now = self._vdis.inode(draft.vid)
            if now is None or now.ctime != draft.ctime:
                return
            if now.name != draft.name:  # an error said it was not published
                self._vdis.rename(now, draft.name)
            destroy(self._vdis, draft, draft.name, objects, strays)

    def undo(self, record: Record) -> None:
        """End what a record of the journal is about."""
        if "objects" in record:
            self._undo_draft(bytes_of(record["vdi"]), int(record["objects"]))
        elif "size" in record:
            self._undo_reservation(record)
        else:
            vid, ctime = int(record["vid"]), int(record["ctime"])
            self._settle(vid, ctime, bytes_of(record["image"]), bytes_of(record["vdi"]))

    def _undo_draft(self, name: bytes, objects: int) -> None:
        draft = self._vdis.current(name)
        if draft is not None:
            index = self._vdis.index(draft, objects)
            strays = [number for number, owner in enumerate(index) if not owner]
            destroy(self._vdis, draft, name, objects, strays)

    def _undo_reservation(self, record: Record) -> None:
        inode = self._vdis.current(bytes_of(record["image"]))
        if inode is not None and inode.size == int(record["size"]):
            self._settle(inode.vid, inode.ctime, inode.name, bytes_of(record["vdi"]))

    def _settle(self, vid: int, ctime: int, name: bytes, hidden: bytes) -> None:
        inode = self._vdis.inode(vid)
        if inode is None or inode.ctime != ctime:
            return
        if inode.name == name:
            if not inode.reserved and not self._behind(inode):
                return  # it kept its name: it is the image
            self._vdis.rename(inode, hidden)
        elif inode.name != hidden:
            return
        destroy(self._vdis, inode, hidden, 0 if inode.reserved else inode.objects)

    def _behind(self, inode: Inode) -> bool:
        """Does another VDI of its name hide it?"""
        found = self._vdis.current(inode.name)
        return found is not None and found.vid != inode.vid

    @contextlib.contextmanager
    def _later(self, name: bytes) -> Iterator[None]:
        try:
            yield
            self.ended(name)
        except Exception as exc:  # noqa: BLE001 - the image itself is as it should be
            LOG.warning(
                "VDI %s could not be deleted, and stays until storefs starts again: %s",
                text_of(name),
                exc,
            )
