# SPDX-License-Identifier: Apache-2.0
"""The pool ``images``, as Glance's documentation makes it, and the other programs that use it."""

import contextlib
import functools
import importlib
import json
import pathlib
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.servers import shared
from tests.servers.ceph import Ceph
from tests.servers.process import ServerFailed

POOL = "images"

#: RBD_FEATURE_LAYERING: what Glance asks for at least.
LAYERING = 1

#: Longer than anything takes here; no test measures time with it, seconds.
_PATIENCE = 60


class RbdPool:
    """The pool of *ceph*, through librbd as client.admin: another program than storefs.

    Without a *manager* nobody counts what is in it.
    """

    def __init__(self, ceph: Ceph, *, manager: bool = True) -> None:
        self.ceph = ceph
        self._rados, self.rbd = _modules()
        if manager:
            ceph.mgr.start()
        self.command("osd", "pool", "create", POOL, "8")
        self.command("osd", "pool", "application", "enable", POOL, "rbd")
        self._cluster = self._rados.Rados(
            conffile=str(ceph.conf), conf={"client_mount_timeout": "30"}
        )
        self._cluster.connect()
        self.ioctx = self._cluster.open_ioctx(POOL)
        self._settle()
        self.key = self.keyring("client.glance").read_text().rpartition("key = ")[2].split()[0]

    @property
    def options(self) -> dict[str, Any]:
        """What a store needs to be told."""
        return {
            "rbd_store_ceph_conf": str(self.ceph.conf),
            "rbd_store_user": "glance",
            "rados_connect_timeout": 10,
        }

    @property
    def fsid(self) -> str:
        fsid: str = self._cluster.get_fsid()
        return fsid

    def keyring(self, name: str) -> pathlib.Path:
        return self.ceph.conf.parent / f"keyring.{name}"

    def command(self, *words: str) -> str:
        """What ``ceph WORDS`` prints."""
        return self.ceph.run("ceph", "-c", self.ceph.conf, *words)

    def run(self, *words: object) -> str:
        """What ``rbd WORDS`` prints."""
        return self.ceph.run("rbd", "-c", self.ceph.conf, *map(str, words))

    def json(self, *words: object) -> Any:
        return json.loads(self.run(*words, "--format", "json"))

    def put(self, name: str, data: bytes, *, features: int = LAYERING, order: int = 23) -> None:
        """An image without a snapshot, as ``rbd import`` makes it."""
        self.rbd.RBD().create(
            self.ioctx, name, len(data), order, old_format=False, features=features
        )
        if data:
            with self.image(name) as image:
                image.write(data, 0)

    def put_glance(self, name: str, data: bytes) -> None:
        """An image as Glance leaves it."""
        self.put(name, data)
        with self.image(name) as image:
            image.create_snap("snap")
            image.protect_snap("snap")

    def get(self, name: str, snapshot: str | None = "snap") -> bytes:
        with self.image(name, snapshot=snapshot, read_only=True) as image:
            size = image.size()
            data: bytes = image.read(0, size) if size else b""
            return data

    @contextlib.contextmanager
    def image(self, name: str, **how: Any) -> Iterator[Any]:
        with self.rbd.Image(self.ioctx, name, **how) as image:
            yield image

    def names(self) -> list[str]:
        return sorted(self.rbd.RBD().list(self.ioctx))

    def trash(self) -> list[dict[str, Any]]:
        return list(self.rbd.RBD().trash_list(self.ioctx))

    def rename(self, source: str, target: str) -> None:
        self.rbd.RBD().rename(self.ioctx, source, target)

    def clone(self, name: str, clone: str, **how: Any) -> None:
        self.rbd.RBD().clone(self.ioctx, name, "snap", self.ioctx, clone, **how)

    def remove(self, name: str) -> None:
        """The image with its snapshots; waits for a client that was killed."""
        self.patiently(lambda: self._remove(name))

    def patiently(self, work: Callable[[], object]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                work()
                return
            except self.rbd.ImageBusy:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _remove(self, name: str) -> None:
        with self.image(name) as image:
            for snapshot in list(image.list_snaps()):
                if image.is_protected_snap(snapshot["name"]):
                    image.unprotect_snap(snapshot["name"])
                image.remove_snap(snapshot["name"])
        self.rbd.RBD().remove(self.ioctx, name)

    def clear(self) -> None:
        """Nothing is left in the pool, and no quota is set on it: clones go before parents."""
        for entry in self.trash():
            self.rbd.RBD().trash_restore(self.ioctx, entry["id"], entry["id"])
        names = self.names()
        while names:
            with ThreadPoolExecutor(8) as pool:
                left = [name for name in pool.map(self._removed, names) if name]
            if len(left) == len(names):
                self.remove(left[0])
            names = self.names()

    def _removed(self, name: str) -> str | None:
        try:
            self._remove(name)
        except (self.rbd.ImageBusy, self.rbd.ImageHasSnapshots, self.rbd.ImageNotFound):
            return name
        return None

    def osd_away(self) -> None:
        """The only OSD is gone; what it has is on its disk."""
        self.ceph.osd.stop(signal.SIGKILL)

    def osd_back(self) -> None:
        """Returns when it answers: this client has no time-out."""
        self.ceph.osd.start()
        self._settle()

    def _settle(self) -> None:
        """Until every placement group answers: this many names meet all of them."""
        for number in range(64):
            with contextlib.suppress(self._rados.ObjectNotFound):
                self.ioctx.stat(f"nothing-{number}")

    def close(self) -> None:
        self.ioctx.close()
        self._cluster.shutdown()


def _modules() -> tuple[Any, Any]:
    try:
        return importlib.import_module("rados"), importlib.import_module("rbd")
    except ImportError as exc:
        raise ServerFailed(f"librados and librbd are missing, see bootstrap rbd: {exc}") from exc


@functools.cache
def pool() -> RbdPool:
    """The pool of the run's Ceph; `ServerFailed`."""
    return RbdPool(shared.ceph())


@contextlib.contextmanager
def own_pool(directory: pathlib.Path, *, manager: bool = True) -> Iterator[RbdPool]:
    """A Ceph of the test's own, whose daemons may be stopped."""
    directory.mkdir()
    ceph = Ceph(directory, gateway=False)
    try:
        ceph.start()
        yield RbdPool(ceph, manager=manager)
    finally:
        ceph.stop()
