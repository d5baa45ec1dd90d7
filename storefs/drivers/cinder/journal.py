# SPDX-License-Identifier: Apache-2.0
"""Volumes and attachments that were begun: what a killed storefs leaves is undone.

Two kinds of records: an attachment (*volume*, and *attachment* once Cinder has named it), and
a volume that is no image yet or any more (*made_as*, its name then, *volume*, and
*successor*, the volume that replaced it).
"""

import pathlib
import time
from collections.abc import Callable

from storefs import exceptions
from storefs.drivers.cinder.api import Api
from storefs.drivers.cinder.brick import Brick
from storefs.drivers.cinder.volume import Volume
from storefs.drivers.journal import Journal, Record

#: How long a volume may be busy that nobody uses any more, seconds: a Ceph OSD waits 30 for a
#: client that was killed.
_WATCHED = 90.0

#: The pause between two attempts to delete such a volume, seconds.
_PAUSE = 3.0

#: How long another host may take from reserving a volume to using it, seconds.
_SETTLED = 10.0


def cinder_journal(directory: pathlib.Path, place: str, api: Api, brick: Brick) -> Journal:
    """What this process begins at one account."""
    return Journal(directory, "cinder", place, Undo(api, brick))


class Undo:
    """Ends one thing by its record."""

    def __init__(self, api: Api, brick: Brick) -> None:
        self._api = api
        self._brick = brick

    def __call__(self, record: Record) -> None:
        if "made_as" in record or "successor" in record:
            self._remove(record)
        elif record.get("attachment"):
            self._detach(record["volume"], record["attachment"])
        else:
            self._unreserve(record["volume"])

    def _detach(self, volume_id: str, attachment_id: str) -> None:
        try:
            connection = self._api.connection(attachment_id)
        except exceptions.NotFound:
            return
        self._brick.unplug_leftover(connection, f"volume {volume_id}")
        self._api.detach(attachment_id)

    def _unreserve(self, volume_id: str) -> None:
        """A killed process reserved it and was not told the name of that.

        Attachments have no host before they are told one: those that stay without
        are nobody's.
        """
        if not self._reserved(volume_id):
            return
        before = self._reserved(volume_id)
        self._api.pause(_SETTLED)
        for attachment_id in before & self._reserved(volume_id):
            self._api.detach(attachment_id)

    def _reserved(self, volume_id: str) -> set[str]:
        try:
            found = self._api.attachments(volume_id)
        except exceptions.NotFound:
            return set()
        return {attachment for attachment, state in found.items() if state == "reserved"}

    def _remove(self, record: Record) -> None:
        for volume in self._found(record):
            if volume.upload or self._replaced(record):
                for attachment_id in self._api.attachments(volume.id):
                    self._detach(volume.id, attachment_id)
                remove(self._api, volume.id)

    def _found(self, record: Record) -> list[Volume]:
        if not record.get("volume"):
            return [v for v in self._api.volumes(name=record["made_as"]) if v.upload]
        try:
            return [self._api.volume(record["volume"])]
        except exceptions.NotFound:
            return []

    def _replaced(self, record: Record) -> bool:
        """Was its successor published before the process was killed?"""
        successor = record.get("successor")
        try:
            return bool(successor) and self._api.volume(str(successor)).published
        except exceptions.NotFound:
            return False


def remove(api: Api, volume_id: str, patience: float = _WATCHED) -> None:
    """Delete a volume nobody should use any more; one that is gone is right as well.

    For *patience* seconds one that is still busy is tried again: Ceph finds out by
    and by that a client is dead.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            _try_to(lambda: api.delete(volume_id))
            _try_to(lambda: api.await_deleted(volume_id))
            return
        except (exceptions.InUseByStore, exceptions.Invalid):
            if time.monotonic() > deadline:
                raise
            api.pause(_PAUSE)


def _try_to(step: Callable[[], None]) -> None:
    try:
        step()
    except exceptions.NotFound:
        return
