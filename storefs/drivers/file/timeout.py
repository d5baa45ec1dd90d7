# SPDX-License-Identifier: Apache-2.0
"""Calls that return in time though a file server hangs.

A thread in a system call on a dead NFS mount cannot be interrupted, so it is
left behind; what it brings back late is discarded. The threads are daemons:
one that hangs for good must not keep the process from ending.
"""

import concurrent.futures
import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from storefs import exceptions

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


def _nothing(_result: Any) -> None:
    pass


class TimedCalls:
    """Runs calls in up to *threads* threads, each for up to *timeout* seconds.

    With a *timeout* of 0 a call is made directly. When *threshold* percent of
    the threads hang a warning says so: soon every call will have to wait.
    """

    def __init__(self, store_id: str, timeout: int, threads: int, threshold: int) -> None:
        self._store_id = store_id
        self._timeout = timeout
        self._threads = threads
        self._alarm = max(1, threads * threshold // 100)
        self._slots = threading.BoundedSemaphore(threads)
        self._lock = threading.Lock()
        self._hanging = 0

    def run(self, function: Callable[[], T], discard: Callable[[T], object] = _nothing) -> T:
        """What *function* returns or raises, or `TimeoutError` when that takes too long.

        A result that comes after that is given to *discard*.
        """
        if not self._timeout:
            return function()
        if not self._slots.acquire(timeout=self._timeout):
            raise exceptions.TimeoutError(timeout=self._timeout)
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        threading.Thread(target=self._work, args=(future, function), daemon=True).start()
        done, _ = concurrent.futures.wait([future], self._timeout)
        if done:
            return future.result()
        self._give_up(future, discard)
        raise exceptions.TimeoutError(timeout=self._timeout)

    def _work(self, future: "concurrent.futures.Future[T]", function: Callable[[], T]) -> None:
        try:
            future.set_result(function())
        except BaseException as exc:  # noqa: BLE001 - it is raised where it is waited for
            future.set_exception(exc)
        finally:
            self._slots.release()

    def _give_up(
        self, future: "concurrent.futures.Future[T]", discard: Callable[[T], object]
    ) -> None:
        def late(_future: "concurrent.futures.Future[T]") -> None:
            self._count(-1)
            if future.exception() is None:
                discard(future.result())

        self._count(1)
        future.add_done_callback(late)

    def _count(self, change: int) -> None:
        with self._lock:
            self._hanging += change
            reached = change > 0 and self._hanging == self._alarm
        if reached:
            _LOG.warning(
                "store %s: %d of %d threads hang in its file system; is its server answering?",
                self._store_id,
                self._alarm,
                self._threads,
            )
