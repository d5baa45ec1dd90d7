# SPDX-License-Identifier: Apache-2.0
"""One change of a name at a time, by whichever threads of this process."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

N = TypeVar("N", str, bytes, tuple[str, str])


class NameLocks(Generic[N]):
    """A lock a name, for as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: name -> its lock, and how many hold it or wait for it
        self._held: dict[N, tuple[threading.Lock, int]] = {}

    def __contains__(self, name: N) -> bool:
        """Does anybody hold *name*, or wait for it?"""
        with self._lock:
            return name in self._held

    @contextlib.contextmanager
    def hold(self, *names: N) -> Iterator[None]:
        """Nobody else holds any of *names* meanwhile."""
        with contextlib.ExitStack() as stack:
            for name in sorted(set(names)):  # in one order: no two wait for each other
                stack.enter_context(self._hold(name))
            yield

    @contextlib.contextmanager
    def _hold(self, name: N) -> Iterator[None]:
        with self._lock:
            lock, count = self._held.get(name, (threading.Lock(), 0))
            self._held[name] = lock, count + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, count = self._held.pop(name)
                if count > 1:
                    self._held[name] = lock, count - 1
