# SPDX-License-Identifier: Apache-2.0
"""The suite over a vCenter: the other program has the datastores' files in its hands."""

import pathlib

from storefs.drivers.base import DEFAULT_PART_SIZE
from storefs.drivers.vmware import VmwareDriver
from storefs.drivers.vmware.names import HIDDEN, file_name
from tests.contract.harness import Harness, configured
from tests.servers.vcsim import PASSWORD, ImageDirectory, vcsim


class VmwareHarness(Harness):
    name = "vmware"
    driver_class = VmwareDriver
    secrets = (PASSWORD,)

    def __init__(self, directory: pathlib.Path) -> None:
        self._images = ImageDirectory(vcsim())
        self.driver = configured(VmwareDriver, **self._images.options)
        self.part = DEFAULT_PART_SIZE

    def seed(self, image_id: str, data: bytes) -> None:
        self._images.put(file_name(image_id), data)

    def replace(self, image_id: str, data: bytes) -> None:
        self._images.put(file_name(image_id), data)

    def remove(self, image_id: str) -> None:
        self._images.path(file_name(image_id)).unlink()

    def leftovers(self) -> list[str]:
        """Temporaries; notes beside images are none."""
        hidden = [name for name in self._images.files() if name.startswith(HIDDEN)]
        return [name for name in hidden if not name.endswith(".json") or ".tmp" in name]
