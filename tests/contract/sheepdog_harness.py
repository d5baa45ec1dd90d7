# SPDX-License-Identifier: Apache-2.0
"""Sheepdog under the suite: over a fake sheep, or the real one STOREFS_SHEEPDOG names."""

import pathlib

from storefs.drivers.sheepdog import SheepdogDriver
from tests.contract.harness import Harness, configured
from tests.servers.pasture import Pasture

HIDDEN = b".storefs-"


class SheepdogHarness(Harness):
    """The other program is a client that shares no line with the driver."""

    name = "sheepdog"
    rereads = True
    driver_class = SheepdogDriver
    part = 4 * 1024 * 1024

    def __init__(self, directory: pathlib.Path) -> None:
        self._pasture = Pasture()
        self.driver = configured(SheepdogDriver, **self._pasture.options)

    def seed(self, image_id: str, data: bytes) -> None:
        self._pasture.put(image_id, data)

    def replace(self, image_id: str, data: bytes) -> None:
        self.remove(image_id)
        self.seed(image_id, data)

    def remove(self, image_id: str) -> None:
        self._pasture.delete(image_id)

    def leftovers(self) -> list[str]:
        """Hidden VDIs that came since, and objects no index knows of, which only the fake tells."""
        vdis = self._pasture.vdis()
        left = [vdi.name.decode() for vdi in vdis if vdi.name.startswith(HIDDEN)]
        orphans = self._pasture.sheep.cluster.orphans() if self._pasture.sheep else []
        return left + [f"object {oid:016x}" for oid in orphans]

    def close(self) -> None:
        self.driver.close()
        self._pasture.close()
