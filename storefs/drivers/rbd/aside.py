# SPDX-License-Identifier: Apache-2.0
"""Threads for what librbd may never return from.

Its time-outs end single operations. Closing an image that was open for writing, when
the OSD is gone that has its header, waits until that is back, however long.
"""

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import TypeVar

from storefs import exceptions

T = TypeVar("T")


class Asides:
    """Work in threads of its own, waited for or not."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def run(self, work: Callable[[], T], patience: float | None, what: str) -> T:
        """What *work* gives; `TimeoutError` after *patience* seconds, and it goes on alone."""
        outcome: Future[T] = Future()
        self.start(functools.partial(_settle, outcome, work))
        try:
            return outcome.result(patience)
        except NotYet as exc:
            if outcome.done():
                raise
            raise exceptions.TimeoutError(
                f"{what}: Ceph did not answer within {patience:g} seconds: check whether its OSDs "
                "are up"
            ) from exc
        finally:
            # It has the exception, whose traceback has this frame: all of that would wait for
            # the garbage collector, with the images the work had opened.
            del outcome

    def start(self, work: Callable[[], None]) -> None:
        """Nobody waits for *work*, which raises nothing."""
        thread = threading.Thread(target=work, name="rbd-aside", daemon=True)
        with self._lock:
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]
            thread.start()

    def finished(self, patience: float | None) -> bool:
        """Is nothing under way, *patience* seconds a thread from now?"""
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(patience)
        return not any(thread.is_alive() for thread in threads)


def _settle(outcome: "Future[T]", work: Callable[[], T]) -> None:
    try:
        outcome.set_result(work())
    except BaseException as exc:  # noqa: BLE001 - raised by who waits
        outcome.set_exception(exc)
    finally:
        del outcome
