# SPDX-License-Identifier: Apache-2.0
"""What of a writer's upload is under way, and how it ends: once, and not under a part's feet."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from storefs import exceptions


class OpenUpload:
    """The upload of *name*, until it is published or given up. Thread-safe."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._under_way = 0
        self._ended = False
        #: what the last part does; kept no longer, for it mostly is a method of the writer
        self._drop: Callable[[], None] | None = None

    def check_open(self) -> None:
        """`BackendException` if it has ended."""
        if self._ended:
            raise exceptions.BackendException(f"The upload of {self._name} has ended")

    @contextlib.contextmanager
    def part(self) -> Iterator[None]:
        """Whatever uses the upload happens in one; `BackendException` after the end."""
        with self._changed:
            self.check_open()
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()
            self._drop_if_idle()

    @contextlib.contextmanager
    def publication(self) -> Iterator[None]:
        """A `part` that publishes: unless it raises it is the end, and nothing is dropped."""
        with self.part():
            yield
            self.end()

    def end(self) -> bool:
        """No part begins from now on, and nothing is dropped; was it the first end?"""
        with self._changed:
            first = not self._ended
            self._ended, self._drop = True, None
            return first

    def abort(self, drop: Callable[[], None], patience: float | None = None) -> None:
        """End it; *drop*, which removes what was stored, is called once nothing is under way.

        What still is after *patience* seconds calls it when it is through: a part that
        arrived later would stay. For what is published it is too late, and a publication
        that is under way decides.
        """
        with self._changed:
            if not self._ended:
                self._ended, self._drop = True, drop
        self.wait_idle(patience)
        self._drop_if_idle()

    def wait_idle(self, patience: float | None = None) -> bool:
        """Wait, *patience* seconds at most, until nothing is under way; is it so?"""
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, patience)

    def _drop_if_idle(self) -> None:
        with self._changed:
            if self._under_way or self._drop is None:
                return
            drop, self._drop = self._drop, None
        drop()
