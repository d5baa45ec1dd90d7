# SPDX-License-Identifier: Apache-2.0
"""Mtimes as servers write them, and those seen of objects whose listing does not tell them."""

import datetime
import email.utils
import threading
import time

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

#: How many mtimes are remembered, about 4 MiB of them.
_REMEMBERED = 20_000

#: How long one is good without asking again, seconds: an open follows a stat.
_FRESH = 5.0


def parse_iso(text: str) -> int:
    """``2026-01-31T12:00:00.000Z``, UTC by default, in ns since the epoch; 0 if it is none."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return (moment - _EPOCH) // datetime.timedelta(microseconds=1) * 1000


def parse_http(text: str) -> int:
    """``Sat, 31 Jan 2026 12:00:00 GMT``, in ns since the epoch; 0 if it is none."""
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return 0
    return int(moment.timestamp()) * 1_000_000_000


class Mtimes:
    """The mtimes storefs gave to objects: they are kept where no listing shows them.

    What was seen of an object is remembered for as long as its bytes stay.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, int, float]] = {}
        self._lock = threading.Lock()

    def learn(self, key: str, version: str, mtime_ns: int) -> None:
        with self._lock:
            self._known.pop(key, None)
            self._known[key] = (version, mtime_ns, time.monotonic())
            if len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]

    def forget(self, key: str) -> None:
        with self._lock:
            self._known.pop(key, None)

    def of(self, key: str, version: str, default: int = 0) -> int:
        """The mtime *version* of *key* had when it was last asked for."""
        known = self._known.get(key)
        return known[1] if known is not None and known[0] == version else default

    def fresh(self, key: str, version: str) -> int | None:
        """The same if that was just now."""
        known = self._known.get(key)
        if known is None or known[0] != version or time.monotonic() - known[2] > _FRESH:
            return None
        return known[1]
