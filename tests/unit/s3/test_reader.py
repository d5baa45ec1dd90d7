# SPDX-License-Identifier: Apache-2.0
"""Reading, listing and copying: requests, versions, signatures."""

import hashlib

import pytest

from storefs import exceptions
from storefs.drivers.s3 import S3Driver
from storefs.drivers.s3 import client as s3_client
from storefs.drivers.s3 import copy as s3_copy
from storefs.streams import listing
from tests.contract.images import add, pattern, read
from tests.servers.fault_proxy import FaultProxy
from tests.servers.s3_client import Bucket
from tests.unit.s3.conftest import Make

MiB = 1024 * 1024


def test_a_small_read_is_one_small_get(driver: S3Driver, proxy: FaultProxy, bucket: Bucket) -> None:
    bucket.put("image", pattern(MiB))
    reader = driver.open(driver.locate("image"))
    proxy.requests.clear()
    assert bytes(reader.pread(4096, 5000)) == pattern(MiB)[5000:9096]
    (request,) = proxy.requests
    assert request.method == "GET"
    assert request.headers["range"] == "bytes=5000-9095"
    assert request.headers["if-match"] == reader_etag(bucket)
    assert request.query == ""
    assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date," in request.headers["authorization"]


def reader_etag(bucket: Bucket) -> str:
    etag: str = bucket.client.head_object(Bucket=bucket.name, Key="image")["ETag"]
    return etag


def test_all_ranges_are_signed_once_and_anew_when_that_is_old(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("image", pattern(1000))
    reader = driver.open(driver.locate("image"))
    reader.pread(10, 0)
    reader.pread(10, 10)
    signatures = [r.headers["authorization"] for r in proxy.asked("GET", "image")]
    assert len(set(signatures[-2:])) == 1
    clock = s3_client.time.monotonic
    monkeypatch.setattr(s3_client.time, "monotonic", lambda: clock() + 1000)
    _later(monkeypatch)
    assert bytes(reader.pread(10, 20)) == pattern(1000)[20:30]
    assert proxy.asked("GET")[-1].headers["authorization"] != signatures[-1]


def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds later for who signs, so that the signature is another one."""
    import datetime

    import botocore.auth

    def soon() -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=10)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", soon)


def test_a_signature_that_is_refused_is_made_anew_once(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("image", pattern(1000))
    reader = driver.open(driver.locate("image"))
    reader.pread(10, 0)
    clock = s3_client.time.monotonic
    monkeypatch.setattr(s3_client.time, "monotonic", lambda: clock() + 60)
    _later(monkeypatch)
    proxy.refuse(403, "AccessDenied", method="GET")
    assert bytes(reader.pread(10, 20)) == pattern(1000)[20:30]


def test_a_replaced_image_is_read_on_where_versions_are_kept(
    driver: S3Driver, bucket: Bucket
) -> None:
    versioning = {"Status": "Enabled"}
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration=versioning)
    bucket.put("image", pattern(1000, 1))
    reader = driver.open(driver.locate("image"))
    bucket.put("image", pattern(1000, 2))
    assert bytes(reader.pread(1000, 0)) == pattern(1000, 1)
    assert read(driver, "image") == pattern(1000, 2)
    driver.delete(driver.locate("image"))
    with pytest.raises(exceptions.NotFound):
        driver.stat(driver.locate("image"))
    assert bytes(reader.pread(1000, 0)) == pattern(1000, 1)


def test_an_image_replaced_or_deleted_has_changed(driver: S3Driver, bucket: Bucket) -> None:
    bucket.put("image", pattern(1000, 1))
    reader = driver.open(driver.locate("image"))
    bucket.put("image", pattern(1000, 2))
    with pytest.raises(exceptions.ImageChanged):
        reader.pread(10, 0)
    bucket.delete("image")
    with pytest.raises(exceptions.ImageChanged):
        reader.pread(10, 0)


def test_a_listing_asks_for_pages_and_for_no_object(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket
) -> None:
    for number in range(1100):
        bucket.put(f"image-{number:04}", b"x")
    bucket.put("folder/object", b"y")
    infos = list(driver.list())
    assert len(infos) == 1101
    assert [r.method for r in proxy.requests] == ["GET", "GET"]
    known = driver.stat(driver.locate("image-0007"))
    assert known in [i for i in infos if i.image_id == "image-0007"]
    names = [info.image_id for info in infos]
    assert "folder/object" in names
    assert not listing.Listing._is_name(_Counter(), "folder/object")  # type: ignore[arg-type]


class _Counter:
    left_out = 0


def test_a_listing_shows_the_mtime_that_is_known(driver: S3Driver, proxy: FaultProxy) -> None:
    add(driver, "image", b"bytes")
    driver.set_properties(driver.locate("image"), {"mtime_ns": "1600000000000000001"})
    driver.stat(driver.locate("image"))
    proxy.requests.clear()
    assert [info.mtime_ns for info in driver.list()] == [1600000000000000001]
    assert len(proxy.requests) == 1


def test_an_image_too_long_for_one_copy_is_copied_in_parts(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_copy, "COPY_PART", 5 * MiB)
    data = pattern(12 * MiB)
    add(driver, "image", data)
    location = driver.locate("image")
    driver.set_properties(location, {"md5": hashlib.md5(data).hexdigest()})
    driver.copy(location, driver.locate("copy"))
    assert len(proxy.asked("PUT", "copy?partNumber")) == 3
    assert bucket.get("copy") == data
    assert bucket.tags("copy") == bucket.tags("image") != {}
    assert bucket.uploads() == []


def test_a_copy_that_fails_leaves_nothing(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_copy, "COPY_PART", 5 * MiB)
    add(driver, "image", pattern(12 * MiB))
    proxy.refuse(403, "AccessDenied", method="PUT", word="partNumber=2")
    with pytest.raises(exceptions.Forbidden):
        driver.copy(driver.locate("image"), driver.locate("copy"))
    assert bucket.uploads() == []
    assert bucket.keys() == ["image"]


def test_tags_are_copied_and_the_server_does_it(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket
) -> None:
    add(driver, "image", pattern(1000))
    driver.set_properties(driver.locate("image"), {"md5": "1"})
    proxy.requests.clear()
    driver.copy(driver.locate("image"), driver.locate("copy"))
    assert sum(r.length for r in proxy.requests) == 0
    assert bucket.tags("copy") == bucket.tags("image")
    assert bucket.tags("copy")["storefs.md5"] == "1"


def test_a_source_replaced_during_the_copy_has_changed(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket
) -> None:
    bucket.put("image", b"first")
    proxy.fault(method="PUT", word="copy", then=lambda: bucket.put("image", b"other"))
    with pytest.raises(exceptions.ImageChanged):
        driver.copy(driver.locate("image"), driver.locate("copy"))
    assert bucket.keys() == ["image"]


def test_connections_are_kept(make: Make, bucket: Bucket) -> None:
    """Else each small read pays for a new one."""
    bucket.put("image", pattern(MiB))
    driver = make()
    reader = driver.open(driver.locate("image"))
    for number in range(20):
        reader.pread(100, number * 100)
    pools = driver._client.transport.pools(bucket.url)
    pool = pools.connection_from_url(bucket.url)
    assert pool.num_connections == 1
