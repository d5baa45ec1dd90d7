# SPDX-License-Identifier: Apache-2.0
"""One harness a driver: the driver, configured, and a way to its images behind its back.

To put a driver under the suite, write a subclass of `Harness` and add one line
to `HARNESSES` at the end. It gets an empty directory of its own, in which the
driver keeps its state, too, and raises `ServerFailed` where the server cannot be
had; everything else the suite finds out from the driver's types.
"""

import os
import pathlib
import urllib.parse
from collections.abc import Callable
from typing import ClassVar

from storefs.drivers.file import FileDriver
from storefs.drivers.file.datadirs import TEMPORARY
from storefs.drivers.file.writer import PART_SIZE
from storefs.drivers.http import HttpDriver
from storefs.drivers.memory import MemoryDriver
from storefs.drivers.s3 import S3Driver
from tests.contract.cinder_harness import CinderHarness
from tests.contract.harness import Harness, configured
from tests.contract.rbd_harness import RbdHarness, RbdSnapshotHarness
from tests.contract.sheepdog_harness import SheepdogHarness
from tests.contract.swift_harness import KeystoneHarness, RgwSwiftHarness, TempauthHarness
from tests.contract.vmware_harness import VmwareHarness
from tests.servers.nginx import Nginx
from tests.servers.s3_client import Bucket
from tests.servers.s3_servers import gateway_bucket, rgw_bucket


class MemoryHarness(Harness):
    """There is no other program in memory: the driver's own inner steps stand in for it."""

    name = "memory"
    rereads = True
    driver_class = MemoryDriver

    def __init__(self, directory: pathlib.Path) -> None:
        self.driver = configured(MemoryDriver, memory_store_part_size=self.part)

    def seed(self, image_id: str, data: bytes) -> None:
        self.driver.reserve(len(data))
        self.driver.publish(image_id, memoryview(data), {}, replace=False)

    def replace(self, image_id: str, data: bytes) -> None:
        self.driver.reserve(len(data))
        self.driver.publish(image_id, memoryview(data), {}, replace=True)

    def remove(self, image_id: str) -> None:
        self.driver.delete(self.driver.locate(image_id))

    def leftovers(self) -> list[str]:
        capacity = self.driver.capacity()
        published = sum(info.size or 0 for info in self.driver.list())
        unaccounted = capacity.total - capacity.free - published
        return [f"{unaccounted} bytes"] if unaccounted else []


class FileHarness(Harness):
    """The other program is the shell."""

    name = "file"
    rereads = True
    driver_class = FileDriver

    def __init__(self, directory: pathlib.Path) -> None:
        self.datadir = directory / "images"
        self.driver = configured(FileDriver, filesystem_store_datadir=str(self.datadir))
        self.part = PART_SIZE

    def seed(self, image_id: str, data: bytes) -> None:
        (self.datadir / image_id).write_bytes(data)

    def replace(self, image_id: str, data: bytes) -> None:
        other = self.datadir.parent / "other"
        other.write_bytes(data)
        other.rename(self.datadir / image_id)

    def remove(self, image_id: str) -> None:
        (self.datadir / image_id).unlink()

    def leftovers(self) -> list[str]:
        return [path.name for path in self.datadir.iterdir() if path.name.startswith(TEMPORARY)]


class HttpHarness(Harness):
    """The other program is whoever fills nginx's directory and edits the catalogue."""

    name = "http"
    driver_class = HttpDriver
    secrets = ("secret-word",)

    def __init__(self, directory: pathlib.Path) -> None:
        self._nginx = Nginx(directory)
        self._catalog = directory / "names" / "catalog"
        self._catalog.parent.mkdir()
        self._mtime = 1_700_000_000
        self._nginx.start()
        self.driver = configured(HttpDriver, http_store_catalog=str(self._catalog))

    def _file(self, image_id: str) -> str:
        return urllib.parse.quote(image_id, safe="")

    def seed(self, image_id: str, data: bytes) -> None:
        (self._nginx.images / self._file(image_id)).write_bytes(data)
        url = self._nginx.url.replace("//", "//user:secret-word@") + "/images/"
        with self._catalog.open("a") as catalog:
            catalog.write(f"{image_id} = {url}{urllib.parse.quote(self._file(image_id))}\n")

    def replace(self, image_id: str, data: bytes) -> None:
        other = self._nginx.images / "other"
        other.write_bytes(data)
        # nginx's ETag is the second of the mtime and the size.
        self._mtime += 1
        os.utime(other, (self._mtime, self._mtime))
        other.rename(self._nginx.images / self._file(image_id))

    def remove(self, image_id: str) -> None:
        (self._nginx.images / self._file(image_id)).unlink()

    def leftovers(self) -> list[str]:
        names = [path.name for path in self._catalog.parent.iterdir()]
        return [name for name in names if name != self._catalog.name]

    def close(self) -> None:
        self.driver.close()
        self._nginx.stop()


class S3Harness(Harness):
    """The other program is boto3."""

    driver_class = S3Driver
    bucket_of: ClassVar[Callable[[], Bucket]]

    def __init__(self, directory: pathlib.Path) -> None:
        self._bucket = type(self).bucket_of()
        self.secrets = (self._bucket.secret_key,)
        options = {**self._bucket.options, "s3_store_large_object_chunk_size": 5}
        self.driver = configured(S3Driver, **options)
        self.part = 5 * 1024 * 1024

    def seed(self, image_id: str, data: bytes) -> None:
        self._bucket.put(image_id, data)

    def replace(self, image_id: str, data: bytes) -> None:
        self._bucket.put(image_id, data)

    def remove(self, image_id: str) -> None:
        self._bucket.delete(image_id)

    def leftovers(self) -> list[str]:
        return self._bucket.uploads()

    def close(self) -> None:
        self.driver.close()
        self._bucket.remove()


class RgwHarness(S3Harness):
    name = "s3-rgw"
    bucket_of = staticmethod(rgw_bucket)


class GatewayHarness(S3Harness):
    name = "s3-versitygw"
    bucket_of = staticmethod(gateway_bucket)


#: REGISTRY: one line a driver, name -> its harness. The name is what
#: STOREFS_REQUIRE lists to turn "server missing, skipped" into a failure.
HARNESSES: dict[str, type[Harness]] = {
    "cinder": CinderHarness,
    "file": FileHarness,
    "http": HttpHarness,
    "memory": MemoryHarness,
    "rbd": RbdHarness,
    "rbd-snap": RbdSnapshotHarness,
    "s3-rgw": RgwHarness,
    "s3-versitygw": GatewayHarness,
    "swift-keystone": KeystoneHarness,
    "swift-rgw": RgwSwiftHarness,
    "swift-tempauth": TempauthHarness,
    "vmware": VmwareHarness,
    "sheepdog": SheepdogHarness,
}
