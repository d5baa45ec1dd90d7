# SPDX-License-Identifier: Apache-2.0
"""A connected librados handle, and everything that hangs on it, closed in that order.

An image closed after its pool or the handle crashes the process, and one that is freed
is closed, by whichever thread the garbage collector runs in. So the connection holds all
of them, and nothing of it is freed before it was closed: aio first (an open image waits
for it), then images, pools, the handle.
"""

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Iterator
from typing import Any

from storefs import exceptions
from storefs.drivers.rbd.io import OpenImage


class Connection:
    """A connected *handle*, its pools and images, and the process it belongs to."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.pid = os.getpid()
        self.fsid: str = handle.get_fsid()
        self._pools: dict[str, Any] = {}
        #: strong references: only `OpenImage.close` takes one out
        self._images: set[OpenImage] = set()
        self._users = 0
        self._ended = False
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        """It is not shut down meanwhile; `BackendException` if it was."""
        with self._changed:
            if self._ended:
                raise exceptions.BackendException("The connection to Ceph was closed")
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def pool(self, name: str) -> Any:
        with self._changed:
            if name not in self._pools:
                ioctx = self.handle.open_ioctx(name)
                # A full pool answers ENOSPC; without this librados waits for room.
                ioctx.set_osdmap_full_try()
                self._pools[name] = ioctx
            return self._pools[name]

    def own(self, image: Any, what: str) -> OpenImage:
        """The rbd.Image, opened while this is in `use`; `shutdown` closes it if nobody does."""
        opened = OpenImage(image, what)
        with self._changed:
            self._images.add(opened)
        opened.when_closed = functools.partial(self._let_go, opened)
        return opened

    def shutdown(self) -> None:
        """Returns when nothing uses it any more, however long that takes."""
        with self._changed:
            self._ended = True
            self._changed.wait_for(lambda: not self._users)
            images = list(self._images)
        for image in images:
            with contextlib.suppress(exceptions.GlanceStoreException, exceptions.BackendException):
                image.close()
        with self._changed:
            # Others may be about to close one.
            self._changed.wait_for(lambda: not self._images)
            while self._pools:
                self._pools.popitem()[1].close()
        self.handle.shutdown()

    def forsake(self) -> None:
        """Never free it: in a forked child closing hangs, and freeing is closing."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))

    def _let_go(self, image: OpenImage) -> None:
        with self._changed:
            self._images.discard(image)
            self._changed.notify_all()
