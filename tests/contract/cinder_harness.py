# SPDX-License-Identifier: Apache-2.0
"""A project at a real Cinder, whose volumes are in a real Ceph."""

import pathlib

from storefs.drivers.cinder import CinderDriver
from storefs.drivers.cinder.writer import PART_SIZE
from tests.contract.harness import Harness, configured
from tests.servers import shared
from tests.servers.cinder_client import PASSWORD, Project

#: So many images are made by Cinder; of a thousand it would make two a second.
_MADE = 8


class CinderHarness(Harness):
    """The other program is a Glance of few words, with cinderclient and librbd."""

    name = "cinder"
    rereads = True
    driver_class = CinderDriver
    secrets = (PASSWORD,)

    def __init__(self, directory: pathlib.Path) -> None:
        self._project = Project(shared.cinder())
        self._seeded: list[str] = []
        self.driver = configured(CinderDriver, **self._project.options)
        self.part = PART_SIZE

    def seed(self, image_id: str, data: bytes) -> None:
        if len(self._seeded) < _MADE:
            self._seeded.append(self._project.put(image_id, data))
        else:
            self._project.copy_row(self._seeded[0], image_id, len(data))

    def replace(self, image_id: str, data: bytes) -> None:
        """Who reads the old volume has it attached: it cannot be deleted, but renamed."""
        old = self._project.volume_of(image_id)
        self._project.client.volumes.update(old.id, name="replaced", metadata={})
        self.seed(image_id, data)

    def remove(self, image_id: str) -> None:
        self._project.remove(image_id)

    def leftovers(self) -> list[str]:
        return [name for name in self._project.unpublished() if name != "replaced"]

    def close(self) -> None:
        """A store that is closed leaves nothing attached."""
        self.driver.close()
        assert self._project.attachments() == []
