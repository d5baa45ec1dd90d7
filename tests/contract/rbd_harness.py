# SPDX-License-Identifier: Apache-2.0
"""The rbd driver over a pool of a real Ceph; the other program is librbd."""

import pathlib

from storefs.drivers.rbd import RbdDriver
from storefs.drivers.rbd.target import TEMPORARY
from tests.contract.harness import Harness, configured
from tests.servers.rbd_pool import pool


class RbdHarness(Harness):
    """Images are seeded as ``rbd import`` makes them: without a snapshot."""

    name = "rbd"
    rereads = True
    driver_class = RbdDriver
    part = 8 * 1024 * 1024

    def __init__(self, directory: pathlib.Path) -> None:
        self._pool = pool()
        self.secrets = (self._pool.key,)
        self._pool.clear()
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
        self._pool.clear()


class RbdSnapshotHarness(RbdHarness):
    """Images are seeded as Glance makes them: with the protected snapshot ``snap``."""

    name = "rbd-snap"

    def seed(self, image_id: str, data: bytes) -> None:
        self._pool.put_glance(image_id, data)

    def replace(self, image_id: str, data: bytes) -> None:
        self._pool.remove(image_id)
        self._pool.put_glance(image_id, data)
