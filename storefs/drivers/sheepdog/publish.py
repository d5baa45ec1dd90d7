# SPDX-License-Identifier: Apache-2.0
"""Publishing: a VDI that is complete gets its name, and what had the name loses it.

To create a VDI is the one thing Sheepdog does for one caller alone. So who adds an image
first creates a VDI of that name, with a size no VDI can have: from then on
the name is taken, and nobody takes this for an image. Then the head of the
complete VDI is written, name, size and hashes in one request, and at last the other
one - the reservation, or the image that is replaced - gets a hidden name. Which of the two
is found while both have the name is the same for everybody who looks; one of the two
requests turns from the old image to the new one, for all, at once.
"""

import enum
import logging
import secrets
import time
from collections.abc import Mapping

from storefs import exceptions
from storefs.drivers.name_locks import NameLocks
from storefs.drivers.sheepdog.inode import Inode, text_of
from storefs.drivers.sheepdog.leavings import Leavings
from storefs.drivers.sheepdog.names import hidden_name
from storefs.drivers.sheepdog.vdis import Vdis

LOG = logging.getLogger(__name__)

#: How long a reservation of somebody else is waited for, seconds: they last for
#: three requests.
_PATIENCE = 3.0


#: How often one begins anew that was overtaken by another host.
_TRIES = 5


class Undecided(Exception):
    """Nobody answers who could tell whether it was published; *failure* is what to raise."""

    def __init__(self, failure: Exception) -> None:
        super().__init__(str(failure))
        self.failure = failure


class _Overtaken(exceptions.InUseByStore):
    """What was to lose the name has lost it to somebody else.

    Who it was may have a VDI of the name that ours hides: it would come back when ours is deleted.
    """


class _Outcome(enum.Enum):
    IMAGE = enum.auto()
    #: it was the image, and another host's has taken its place
    REPLACED = enum.auto()
    NOTHING = enum.auto()


class Publisher:
    """What the writers of a store share."""

    def __init__(self, vdis: Vdis, leavings: Leavings) -> None:
        self.vdis = vdis
        self.leavings = leavings
        #: our own writers of one name follow each other
        self._names = NameLocks[bytes]()

    def publish(
        self, draft: Inode, name: bytes, size: int, properties: Mapping[str, str], *, replace: bool
    ) -> bool:
        """Make *draft* the image *name*; `Duplicate` unless it replaces, `Undecided`.

        False if it was replaced at the same moment by another host: then it is a draft again.
        """
        with self._names.hold(name):
            for _ in range(_TRIES):
                other, hidden = self._taken(name, draft.shift, replace=replace)
                # A working VDI has a higher number than the snapshots of its name.
                head = draft.with_(
                    name=name, size=size, snap_id=other.snap_id, properties=properties
                )
                failure = self._turn(draft, head, other, hidden)
                if not isinstance(failure, _Overtaken):
                    break
                self.vdis.rename(head, draft.name)
                self.leavings.ended(hidden)
            outcome = self._outcome(head, failure)
            if outcome is not _Outcome.IMAGE:
                self._take_back(draft, head)
            if outcome is _Outcome.NOTHING:
                self._give_back(other, head.name, hidden)
                raise failure or _snapshot_taken(name)
            self.leavings.settle(other, hidden)
            return outcome is _Outcome.IMAGE

    def delete(self, inode: Inode) -> None:
        """Take the image's name away, which deletes it for all, and then the rest of it."""
        with self._names.hold(inode.name):
            now = self.vdis.inode(inode.vid)
            if now is None or (now.name, now.ctime) != (inode.name, inode.ctime):
                raise exceptions.NotFound(image=text_of(inode.name))
            hidden = self.leavings.loses_name(now)
            self.vdis.rename(now, hidden)
            self.leavings.settle(now, hidden)

    def _turn(self, draft: Inode, head: Inode, other: Inode, hidden: bytes) -> Exception | None:
        """Give *draft* the name in *head*, and take it from *other*; what went wrong."""
        try:
            self.vdis.write_head(draft, head.raw)
            now = self.vdis.inode(other.vid)
            if now is None or (now.name, now.ctime) != (head.name, other.ctime):
                return _Overtaken(f"{text_of(head.name)} is replaced by others all the time")
            self.vdis.rename(other, hidden)
        except Exception as exc:  # noqa: BLE001 - what has become of it is seen next
            return exc
        return None

    def _outcome(self, head: Inode, failure: Exception | None) -> "_Outcome":
        """What the name leads to now."""
        try:
            found = self.vdis.current(head.name)
            now = self.vdis.inode(head.vid)
        except Exception as exc:
            if failure is None:
                return _Outcome.IMAGE  # both were done; only nobody tells
            raise Undecided(failure) from exc
        if found is not None and found.vid == head.vid:
            return _Outcome.IMAGE
        if failure is None and (now is None or (now.name, now.ctime) != (head.name, head.ctime)):
            return _Outcome.IMAGE  # it was; somebody has deleted or replaced it since
        # Sheepdog takes the latest of a name, and finds nothing if that is a snapshot.
        return _Outcome.NOTHING if found is None or failure else _Outcome.REPLACED

    def _give_back(self, other: Inode, name: bytes, hidden: bytes) -> None:
        """What was to be replaced is the image again, if it was not all the time."""
        if other.reserved:
            self.leavings.settle(other, hidden)
            return
        now = self.vdis.inode(other.vid)
        if now is not None and (now.name, now.ctime) == (hidden, other.ctime):
            self.vdis.rename(now, name)
        self.leavings.ended(hidden)

    def _take_back(self, draft: Inode, head: Inode) -> None:
        """Make *draft* a draft again, if it was more."""
        try:
            now = self.vdis.inode(draft.vid)
            if now is not None and now.name == head.name:
                self.vdis.rename(now, draft.name)
        except Exception as exc:  # noqa: BLE001 - why it was not published counts
            LOG.info("%s may be published later: %s", text_of(head.name), exc)

    def _taken(self, name: bytes, shift: int, *, replace: bool) -> tuple[Inode, bytes]:
        """Who has the name, our reservation or what is replaced, and the hidden name it gets."""
        until = time.monotonic() + _PATIENCE
        while True:
            reservation = self._reserved(name, shift)
            if reservation is not None:
                return reservation
            taken = self.vdis.current(name)
            if taken is not None and not taken.reserved:
                if replace:
                    return taken, self.leavings.loses_name(taken)
                raise exceptions.Duplicate(image=text_of(name))
            if time.monotonic() > until:
                raise _held(name) if taken else _kept_by_snapshots(name)
            time.sleep(0.02)

    def _reserved(self, name: bytes, shift: int) -> tuple[Inode, bytes] | None:
        """Take the name; None if it is taken."""
        size = (1 << 20 << shift) + 1 + secrets.randbelow(1 << 12)
        hidden = hidden_name("old", name)
        self.leavings.reserves(hidden, name, size)
        inode = self.vdis.create(name, size, shift)
        if inode is None:  # unless by an attempt of ours whose answer was lost
            inode = self.vdis.current(name)
            if inode is None or inode.size != size:
                self.leavings.ended(hidden)
                return None
        self.leavings.loses_name(inode, hidden)
        return inode, hidden


def _held(name: bytes) -> Exception:
    return exceptions.Duplicate(
        f"{text_of(name)} is about to be published by another storefs; if there is none, one has "
        "died: `dog vdi delete` removes what it left"
    )


def _kept_by_snapshots(name: bytes) -> Exception:
    """Of a VDI that exists and is not found; so it is where ids are given a second time."""
    return exceptions.HasSnapshot(
        f"The snapshots of {text_of(name)} hold its name, as they do in a cluster that was "
        "formatted with -R: `dog vdi delete -s` removes them"
    )


def _snapshot_taken(name: bytes) -> Exception:
    return exceptions.InUseByStore(
        f"A snapshot of {text_of(name)} was taken while it was written: write it again"
    )
