# SPDX-License-Identifier: Apache-2.0
"""Swift three times: with tempauth, behind Keystone, and Ceph's own."""

import pathlib
from collections.abc import Callable
from typing import ClassVar

from storefs.drivers.swift import SwiftDriver
from storefs.drivers.swift.options import MB
from tests.contract.harness import Harness, configured
from tests.servers import swift_client
from tests.servers.swift_client import Account, Container


class SwiftHarness(Harness):
    """The other program makes plain requests."""

    driver_class = SwiftDriver
    rereads = True
    account_of: ClassVar[Callable[[], Account]]

    def __init__(self, directory: pathlib.Path) -> None:
        account = type(self).account_of()
        self._container = Container(account)
        self.secrets = account.secrets
        small = {"swift_store_large_object_size": 1, "swift_store_large_object_chunk_size": 1}
        self.driver = configured(SwiftDriver, **self._container.options, **small)
        self.part = MB

    def seed(self, image_id: str, data: bytes) -> None:
        self._container.put(image_id, data)

    def replace(self, image_id: str, data: bytes) -> None:
        self._container.put(image_id, data)

    def remove(self, image_id: str) -> None:
        self._container.delete(image_id)

    def leftovers(self) -> list[str]:
        """Uploads with segments that the image they were for does not consist of."""
        uploads = {tuple(name.split("/")[1:3]) for name in self._container.segments()}
        return sorted(upload for image, upload in uploads if self._upload_of(image) != upload)

    def _upload_of(self, image: str) -> str:
        headers = self._container.answer("HEAD", image).headers
        return headers.get("X-Object-Meta-Storefs-Upload", "")

    def close(self) -> None:
        self.driver.close()
        self._container.remove()


class TempauthHarness(SwiftHarness):
    name = "swift-tempauth"
    account_of = staticmethod(swift_client.tempauth)


class KeystoneHarness(SwiftHarness):
    name = "swift-keystone"
    account_of = staticmethod(swift_client.keystone)


class RgwSwiftHarness(SwiftHarness):
    name = "swift-rgw"
    account_of = staticmethod(swift_client.rgw)
