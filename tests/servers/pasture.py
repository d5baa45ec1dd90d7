# SPDX-License-Identifier: Apache-2.0
"""The Sheepdog cluster of one test: a fake of its own, or the real one STOREFS_SHEEPDOG names.

In a real cluster everything a test makes has a name of its own, by which it is told from
what is there already, and deleted.
"""

import os
import secrets
from typing import Any

from tests.servers.process import ServerFailed
from tests.servers.sheep import Sheep
from tests.servers.sheep_client import SheepClient, SheepError, Vdi


class Pasture:
    """A cluster, a prefix for the names of its VDIs, and another program's way to them.

    *sheep* is the fake, None where the cluster is a real one; `ServerFailed`.
    """

    def __init__(self) -> None:
        self.sheep: Sheep | None = None
        self.prefix = ""
        if real := os.environ.get("STOREFS_SHEEPDOG"):
            self.prefix = f"storefs-test-{secrets.token_hex(4)}-"
            host, _, port = real.rpartition(":")
            self.host, self.port = host.strip("[]"), int(port)
        else:
            self.sheep = Sheep()
            self.host, self.port = self.sheep.host, self.sheep.port
        try:
            self.client = SheepClient(self.host, self.port)
            self.client.prepare()
        except OSError as exc:
            where = f"STOREFS_SHEEPDOG={self.host}:{self.port}"
            raise ServerFailed(f"no Sheepdog at {where}: {exc}") from exc
        self._before = {vdi.vid for vdi in self.client.vdis()}

    @property
    def options(self) -> dict[str, Any]:
        """What makes a driver use it."""
        return {
            "sheepdog_store_address": self.host,
            "sheepdog_store_port": self.port,
            "sheepdog_store_prefix": self.prefix,
        }

    def name(self, image_id: str) -> bytes:
        """Of the image's VDI."""
        return (self.prefix + image_id).encode()

    def put(self, image_id: str, data: bytes) -> None:
        self.client.put(self.name(image_id), data)

    def get(self, image_id: str) -> bytes:
        return self.client.get(self.name(image_id))

    def delete(self, image_id: str) -> None:
        self.client.delete(self.name(image_id))

    def vdis(self) -> list[Vdi]:
        """Those that came since, snapshots too."""
        return [vdi for vdi in self.client.vdis() if vdi.vid not in self._before]

    def names(self) -> set[bytes]:
        """Of the VDIs that came since."""
        return {vdi.name for vdi in self.vdis() if not vdi.snapshot}

    def has(self, oid: int) -> bool:
        """Is there an object *oid*?"""
        try:
            self.client.read(oid, 1)
        except SheepError:
            return False
        return True

    def close(self) -> None:
        """Nothing of the test stays in a real cluster; a fake one is gone."""
        if self.sheep is None:
            for name in self.names():
                if name.startswith(self.prefix.encode()):
                    self.client.delete(name)
        self.client.close()
        if self.sheep is not None:
            self.sheep.stop()
