# SPDX-License-Identifier: Apache-2.0
"""The rbd driver over a pool of a real Ceph; the other program is librbd."""

import pathlib

import pytest

from storefs.drivers.rbd import RbdDriver
from storefs.drivers.rbd_target import TEMPORARY
from tests.contract.harness import Harness, Unavailable, configured
from tests.servers.process import ServerFailed
from tests.servers.rbd_pool import pool


class RbdHarness(Harness):
    """Images are seeded as ``rbd import`` makes them: without a snapshot."""

    name = "rbd"
    rereads = True
    driver_class = RbdDriver
    part = 8 * 1024 * 1024

    def __init__(self, directory: pathlib.Path) -> None:
        try:
            self._pool = pool()
        except ServerFailed as exc:
            raise Unavailable(str(exc)) from exc
        self.secrets = (self._pool.key,)
        self._pool.clear()
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr("storefs.drivers.rbd.state_directory", lambda: directory / "state")
        options = {**self._pool.options, "rbd_store_chunk_size": 4}
        self.driver = configured(RbdDriver, **options)

    def seed(self, image_id: str, data: bytes) -> None:
        self._pool.put(image_id, data)

    def replace(self, image_id: str, data: bytes) -> None:
        self._pool.remove(image_id)
        self._pool.put(image_id, data)

    def remove(self, image_id: str) -> None:
        self._pool.remove(image_id)

    def leftovers(self) -> list[str]:
        names = [name for name in self._pool.names() if name.startswith(TEMPORARY)]
        return names + [entry["name"] for entry in self._pool.trash()]

    def close(self) -> None:
        self.driver.close()
        self._patch.undo()
        self._pool.clear()


class RbdSnapshotHarness(RbdHarness):
    """Images are seeded as Glance makes them: with the protected snapshot ``snap``."""

    name = "rbd-snap"

    def seed(self, image_id: str, data: bytes) -> None:
        self._pool.put_glance(image_id, data)

    def replace(self, image_id: str, data: bytes) -> None:
        self._pool.remove(image_id)
        self._pool.put_glance(image_id, data)
