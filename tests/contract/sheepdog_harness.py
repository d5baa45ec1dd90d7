# SPDX-License-Identifier: Apache-2.0
"""Sheepdog under the suite: over a fake sheep, or the real one STOREFS_SHEEPDOG names.

In a real cluster everything the suite makes has names of its own, by which it is told from
what is there already, and deleted.
"""

import os
import pathlib
import secrets

import pytest

from storefs.drivers.sheepdog import SheepdogDriver
from tests.contract.harness import Harness, Unavailable, configured
from tests.servers.sheep import Sheep
from tests.servers.sheep_client import SheepClient

HIDDEN = b".storefs-"


class SheepdogHarness(Harness):
    """The other program is a client that shares no line with the driver."""

    name = "sheepdog"
    rereads = True
    driver_class = SheepdogDriver
    part = 4 * 1024 * 1024

    def __init__(self, directory: pathlib.Path) -> None:
        self._sheep: Sheep | None = None
        self._prefix = ""
        host, port = self._server()
        try:
            self._client = SheepClient(host, port)
            self._client.prepare()
        except OSError as exc:
            raise Unavailable(f"no Sheepdog at STOREFS_SHEEPDOG={host}:{port}: {exc}") from exc
        self._before = {vdi.vid for vdi in self._client.vdis()}
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(
            "storefs.drivers.sheepdog_sites.state_directory", lambda: directory / "state"
        )
        self.driver = configured(
            SheepdogDriver,
            sheepdog_store_address=host,
            sheepdog_store_port=port,
            sheepdog_store_prefix=self._prefix,
        )

    def _server(self) -> tuple[str, int]:
        real = os.environ.get("STOREFS_SHEEPDOG")
        if not real:
            self._sheep = Sheep()
            return self._sheep.host, self._sheep.port
        self._prefix = f"storefs-test-{secrets.token_hex(4)}-"
        host, _, port = real.rpartition(":")
        return host.strip("[]"), int(port)

    def _name(self, image_id: str) -> bytes:
        return (self._prefix + image_id).encode()

    def seed(self, image_id: str, data: bytes) -> None:
        self._client.put(self._name(image_id), data)

    def replace(self, image_id: str, data: bytes) -> None:
        self._client.delete(self._name(image_id))
        self.seed(image_id, data)

    def remove(self, image_id: str) -> None:
        self._client.delete(self._name(image_id))

    def leftovers(self) -> list[str]:
        """Hidden VDIs that came since, and objects no index knows of, which only the fake tells."""
        vdis = [vdi for vdi in self._client.vdis() if vdi.vid not in self._before]
        left = [vdi.name.decode() for vdi in vdis if vdi.name.startswith(HIDDEN)]
        orphans = self._sheep.cluster.orphans() if self._sheep else []
        return left + [f"object {oid:016x}" for oid in orphans]

    def close(self) -> None:
        self.driver.close()
        self._patch.undo()
        if self._sheep is None:
            for vdi in self._client.vdis():
                if vdi.name.startswith(self._prefix.encode()) and not vdi.snapshot:
                    self._client.delete(vdi.name)
        self._client.close()
        if self._sheep is not None:
            self._sheep.stop()
