# SPDX-License-Identifier: Apache-2.0
"""Sizes of many images on many servers, asked for at once and only for so long.

A listing waits for a server once, for `PATIENCE`: one that does not answer is
left alone for `GRACE`, its images are listed without a size meanwhile, and the
others are not held up. What was learnt is good for `FRESH`, so that ``ls``
followed by ``ls -l`` asks once.
"""

import collections
import dataclasses
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from storefs import exceptions
from storefs.drivers.base import ImageInfo
from storefs.drivers.http.location import HttpLocation

LOG = logging.getLogger(__name__)

#: seconds
PATIENCE = 3.0
FRESH = 5.0
GRACE = 30.0

Stat = Callable[[HttpLocation, float], ImageInfo]


@dataclasses.dataclass(frozen=True, slots=True)
class _Known:
    """*info* of the image at *uri*, until the clock shows *until*."""

    uri: str
    info: ImageInfo
    until: float


class Listing:
    """What *stat* says of images, *width* of them asked at once; thread-safe.

    *stat* takes a location and how many seconds it may wait.
    """

    def __init__(self, stat: Stat, width: int) -> None:
        self._stat = stat
        self._width = width
        self._threads = ThreadPoolExecutor(width, thread_name_prefix="http-list")
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._silent: dict[str, float] = {}

    def infos(self, locations: Iterable[HttpLocation]) -> Iterator[ImageInfo]:
        """One for each location, in order; size None where the server does not tell."""
        self._forget_old()
        window: collections.deque[Future[ImageInfo]] = collections.deque()
        pending = iter(locations)
        for location in itertools.islice(pending, 4 * self._width):
            window.append(self._begin(location))
        while window:
            yield window.popleft().result()
            for location in itertools.islice(pending, 1):
                window.append(self._begin(location))

    def close(self) -> None:
        """Ask nothing more; questions under way end with their patience."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self, location: HttpLocation) -> Future[ImageInfo]:
        known = self._remembered(location)
        if known is None:
            return self._threads.submit(self._ask, location)
        done: Future[ImageInfo] = Future()
        done.set_result(known)
        return done

    def _remembered(self, location: HttpLocation) -> ImageInfo | None:
        now = time.monotonic()
        with self._lock:
            known = self._known.get(location.image_id)
            if known and known.until > now and known.uri == location.get_uri():
                return known.info
            silent = self._silent.get(location.netloc, now) > now
        return ImageInfo(location.image_id, None) if silent else None

    def _ask(self, location: HttpLocation) -> ImageInfo:
        silent = self._remembered(location)  # one that was asked meanwhile
        if silent is not None:
            return silent
        try:
            info = self._stat(location, PATIENCE)
        except (exceptions.TimeoutError, exceptions.RemoteServiceUnavailable) as exc:
            self._leave_alone(location.netloc, exc)
            return ImageInfo(location.image_id, None)
        except exceptions.GlanceStoreException as exc:
            LOG.debug("%s is listed without a size: %s", location.image_id, exc)
            info = ImageInfo(location.image_id, None)
        known = _Known(location.get_uri(), info, time.monotonic() + FRESH)
        with self._lock:
            self._known[location.image_id] = known
        return info

    def _leave_alone(self, netloc: str, reason: Exception) -> None:
        now = time.monotonic()
        with self._lock:
            first = self._silent.get(netloc, now) <= now
            self._silent[netloc] = now + GRACE
        if first:
            LOG.warning(
                "Images of %s are listed without sizes for %d seconds: %s", netloc, GRACE, reason
            )

    def _forget_old(self) -> None:
        now = time.monotonic()
        with self._lock:
            self._known = {name: known for name, known in self._known.items() if known.until > now}
            self._silent = {host: until for host, until in self._silent.items() if until > now}
