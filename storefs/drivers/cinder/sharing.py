# SPDX-License-Identifier: Apache-2.0
"""One attachment an image, however many handles read it, kept for a while after the last."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from storefs import exceptions
from storefs.drivers.base import Buffer
from storefs.drivers.cinder.attachment import Attacher, Attachment

LOG = logging.getLogger(__name__)


class _Entry:
    """One volume: *users* read it; *pins* are calls that have the entry in hand."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pins = 0
        self.users = 0
        self.attachment: Attachment | None = None
        self.due = 0.0
        self.at_last: Callable[[], None] | None = None


class Share:
    """One reader's part in an attachment; `release` may be called again."""

    def __init__(self, shares: "Shares", attachment: Attachment) -> None:
        self._shares = shares
        self._attachment = attachment
        self._released = threading.Lock()

    def preadv(self, length: int, offset: int) -> Sequence[Buffer]:
        return self._attachment.device.preadv(length, offset)

    def release(self) -> None:
        if self._released.acquire(blocking=False):
            self._shares.release(self._attachment.volume_id)


class Shares:
    """The volumes this process reads. *grace* is how long one stays attached unused, seconds."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._entries: dict[str, _Entry] = {}
        self._changed = threading.Condition()
        self._reaper: threading.Thread | None = None
        self._closed = False

    def acquire(self, volume_id: str, attacher: Attacher) -> Share:
        """Attach the volume unless it is attached."""
        with self._entry(volume_id) as entry:
            if entry.attachment is None:
                entry.attachment = attacher.attach(volume_id, "ro")
            entry.users += 1
            entry.due = 0.0
            return Share(self, entry.attachment)

    def release(self, volume_id: str) -> None:
        """One reader less; the last one leaves the attachment to the reaper."""
        with self._entry(volume_id) as entry:
            entry.users -= 1
            if entry.users:
                return
            if entry.at_last is not None or not self._grace or self._closed:
                self._end(entry)
                return
            entry.due = time.monotonic() + self._grace
        self._wake_reaper()

    def at_last(self, volume_id: str, then: Callable[[], None]) -> bool:
        """Call *then* when the volume's last reader is gone; False if there is none now.

        Without a reader it is detached, if it was still attached.
        """
        with self._entry(volume_id) as entry:
            if entry.users:
                entry.at_last = then
                return True
            self._end(entry)
            return False

    def close(self) -> None:
        """Detach everything, whoever reads it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            volume_ids = list(self._entries)
        for volume_id in volume_ids:
            with self._entry(volume_id) as entry:
                self._end(entry)
        if self._reaper is not None:
            self._reaper.join()

    @contextlib.contextmanager
    def _entry(self, volume_id: str) -> Iterator[_Entry]:
        """The volume's entry, to oneself: whoever attaches or detaches it makes others wait."""
        with self._changed:
            entry = self._entries.setdefault(volume_id, _Entry())
            entry.pins += 1
        try:
            with entry.lock:
                yield entry
        finally:
            with self._changed:
                entry.pins -= 1
                if not entry.pins and not entry.users and entry.attachment is None:
                    self._entries.pop(volume_id, None)

    def _end(self, entry: _Entry) -> None:
        """Detach it, and do what was left for now."""
        attachment, entry.attachment = entry.attachment, None
        then, entry.at_last = entry.at_last, None
        if attachment is not None:
            _detach(attachment)
        if then is not None:
            then()

    def _wake_reaper(self) -> None:
        with self._changed:
            if self._reaper is None and not self._closed:
                self._reaper = threading.Thread(
                    target=self._reap, name="cinder-detach", daemon=True
                )
                self._reaper.start()
            self._changed.notify_all()

    def _reap(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                idle = {v: e.due for v, e in self._entries.items() if e.due and not e.users}
                now = time.monotonic()
                due = [volume_id for volume_id, when in idle.items() if when <= now]
                if not due:
                    self._changed.wait(min(idle.values()) - now if idle else None)
                    continue
            for volume_id in due:
                self._expire(volume_id)

    def _expire(self, volume_id: str) -> None:
        with self._entry(volume_id) as entry:
            if not entry.users and entry.due and entry.due <= time.monotonic():
                entry.due = 0.0
                self._end(entry)


def _detach(attachment: Attachment) -> None:
    """What cannot be detached now is in the journal; readers have long had their bytes."""
    try:
        attachment.detach()
    except (exceptions.GlanceStoreException, exceptions.BackendException) as exc:
        LOG.warning(
            "Volume %s stays attached until storefs starts again: %s", attachment.volume_id, exc
        )
