# SPDX-License-Identifier: Apache-2.0
"""One volume on its way to this host and back: a state machine in which every step is undone.

::

    detached --reserve--> reserved --connect--> told --plug--> plugged --complete--> attached

A step that fails is followed by the way back from where it got to: no failure
leaves a volume reserved or attached. What cannot be undone now, because Cinder does
not answer, stays in the journal and is undone at the next start.
"""

import logging
from typing import Protocol

from storefs import exceptions
from storefs.drivers.base import Options
from storefs.drivers.cinder.api import Api
from storefs.drivers.cinder.brick import Brick, Connection, Plugged
from storefs.drivers.cinder.device import Device

LOG = logging.getLogger(__name__)

#: How long to wait before a volume that is in use elsewhere is asked for again, seconds.
_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)

DETACHED, RESERVED, TOLD, PLUGGED, ATTACHED = "detached", "reserved", "told", "plugged", "attached"


class Notes(Protocol):
    """The part of a journal that notes."""

    def begun(self, name: str, **record: str) -> None: ...

    def ended(self, name: str) -> None: ...


class NoNotes:
    """For callers with accounts of their own: at the next start there is no token to undo with."""

    def begun(self, name: str, **record: str) -> None:
        """Forget it."""

    def ended(self, name: str) -> None:
        """Forget it."""


class Attacher:
    """What attaching takes: an account, this host's end, and where it is noted."""

    def __init__(self, api: Api, brick: Brick, notes: Notes, options: Options) -> None:
        self.api = api
        self.brick = brick
        self.notes = notes
        self._attempts: int = options.cinder_attachment_retry_attempts

    def attach(self, volume_id: str, mode: str) -> "Attachment":
        """The volume, attached; *mode* is ``ro`` or ``rw``. `InUseByStore`."""
        attachment = Attachment(self, volume_id, mode)
        attachment.attach()
        return attachment

    def reserve(self, volume_id: str, mode: str) -> str:
        """Reserve it, also one that is about to be let go elsewhere."""
        for attempt in range(1, self._attempts + 1):
            try:
                return self.api.reserve(volume_id, mode)
            except exceptions.InUseByStore as exc:
                if attempt == self._attempts:
                    raise exceptions.InUseByStore(
                        f"{exc.msg}: it is attached elsewhere, and its type is not multiattach"
                    ) from exc
                self.api.pause(_PAUSES[min(attempt, len(_PAUSES)) - 1])
        raise AssertionError("cinder_attachment_retry_attempts is 1 at least")


class Attachment:
    """One attachment of *volume_id*; not thread-safe."""

    def __init__(self, attacher: Attacher, volume_id: str, mode: str) -> None:
        self._attacher = attacher
        self._api = attacher.api
        self._mode = mode
        self._what = f"volume {volume_id}"
        self._note = f"attachment of volume {volume_id}"
        self._connection: Connection = {}
        self._plugged: Plugged | None = None
        self.volume_id = volume_id
        self.id = ""
        self.state = DETACHED

    @property
    def device(self) -> Device:
        """Its bytes, while it is attached."""
        if self._plugged is None:
            raise exceptions.BackendException(f"{self._what} is not attached any more")
        return self._plugged.device

    def attach(self) -> None:
        """Every step, or none."""
        steps = {
            RESERVED: self._reserve,
            TOLD: self._connect,
            PLUGGED: self._plug,
            ATTACHED: self._complete,
        }
        try:
            for state, step in steps.items():
                step()
                self.state = state
        except BaseException:
            self._undo()
            raise

    def detach(self) -> None:
        """The way back. The first error is raised when all was tried; calling again goes on."""
        errors = [error for error in (self._unplug(), self._release()) if error is not None]
        if errors:
            raise errors[0]
        self.state = DETACHED

    def extended(self) -> None:
        """Have this host see that the volume has grown."""
        if self._plugged is not None:
            self._attacher.brick.extended(self._plugged, self._what)

    def _reserve(self) -> None:
        # what this host is good for takes a second to find out: before anything is reserved
        self._attacher.brick.connector()
        self._attacher.notes.begun(self._note, volume=self.volume_id)
        try:
            self.id = self._attacher.reserve(self.volume_id, self._mode)
        except (exceptions.RemoteServiceUnavailable, exceptions.TimeoutError):
            raise  # nobody knows whether it is reserved: the note stays
        except BaseException:
            self._attacher.notes.ended(self._note)
            raise
        self._attacher.notes.begun(self._note, volume=self.volume_id, attachment=self.id)

    def _connect(self) -> None:
        self._connection = self._api.connect(self.id, self._attacher.brick.connector())

    def _plug(self) -> None:
        self._plugged = self._attacher.brick.plug(self._connection, self._what, self._mode)

    def _complete(self) -> None:
        self._api.complete(self.id)

    def _undo(self) -> None:
        try:
            self.detach()
        except Exception as exc:  # noqa: BLE001 - the error that led here is the one to tell
            LOG.warning("%s stays %s until storefs starts again: %s", self._what, self.state, exc)

    def _unplug(self) -> Exception | None:
        if self._plugged is None:
            return None
        plugged, self._plugged = self._plugged, None
        try:
            self._attacher.brick.unplug(plugged, self._what)
        except Exception as exc:  # noqa: BLE001 - the attachment is deleted all the same
            return exc
        return None

    def _release(self) -> Exception | None:
        if not self.id:
            return None
        try:
            self._api.detach(self.id)
        except Exception as exc:  # noqa: BLE001 - told by the caller
            return exc
        self.id = ""
        self._attacher.notes.ended(self._note)
        return None
