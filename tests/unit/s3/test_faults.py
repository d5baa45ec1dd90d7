# SPDX-License-Identifier: Apache-2.0
"""A network that breaks: never short data, never two images, nothing left behind."""

import pytest

from storefs import exceptions
from storefs.drivers.s3 import S3Driver
from tests.conftest import ExpectLog
from tests.contract.images import add, parts_of, pattern, read
from tests.servers.fault_proxy import FaultProxy
from tests.servers.s3_client import Bucket
from tests.unit.s3.conftest import SERVERS

MiB = 1024 * 1024


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    """Each server leaves something else of what was broken off."""
    name: str = request.param
    return name


def test_a_body_that_is_cut_is_read_on(driver: S3Driver, proxy: FaultProxy, bucket: Bucket) -> None:
    data = pattern(3 * MiB)
    bucket.put("image", data)
    proxy.fault(method="GET", cut=MiB + 7)
    assert read(driver, "image") == data
    ranges = [r.headers["range"] for r in proxy.asked("GET")]
    assert len(ranges) == 2
    assert ranges[0].startswith("bytes=0-")


def test_a_body_that_is_always_cut_is_an_error(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket
) -> None:
    bucket.put("image", pattern(MiB))
    reader = driver.open(driver.locate("image"))
    proxy.fault(method="GET", cut=0, times=100)
    with pytest.raises(exceptions.RemoteServiceUnavailable):
        reader.pread(MiB, 0)


def test_a_stall_ends_with_the_time_out(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket
) -> None:
    bucket.put("image", pattern(MiB))
    reader = driver.open(driver.locate("image"))
    proxy.fault(method="GET", stall=1000)
    with pytest.raises(exceptions.TimeoutError, match="2 seconds"):
        reader.pread(MiB, 0)
    assert bytes(reader.pread(MiB, 0)) == pattern(MiB)


def test_latency_is_no_error(driver: S3Driver, proxy: FaultProxy) -> None:
    proxy.fault(latency=0.1, times=1000)
    add(driver, "image", pattern(11 * MiB))
    assert read(driver, "image") == pattern(11 * MiB)


@pytest.mark.parametrize("size", [1000, 11 * MiB])
@pytest.mark.parametrize("fault", ["reset", "lose"])
def test_resets_of_everything_once_are_survived(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket, size: int, fault: str
) -> None:
    for method in ("HEAD", "PUT", "POST", "GET"):
        proxy.fault(method=method, **{fault: True})
    add(driver, "image", pattern(size))
    assert bucket.get("image") == pattern(size)
    # an upload was begun twice if the answer to the first was lost; nobody knows its name
    assert len(bucket.uploads()) == (fault == "lose" and size > MiB)


@pytest.mark.parametrize("size", [1000, 11 * MiB])
def test_an_answer_that_got_lost_does_not_make_our_own_image_a_duplicate(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket, size: int
) -> None:
    """The publication is repeated, and the server says that the name is taken."""
    if size == 1000:
        proxy.fault(method="PUT", lose=True)
    else:
        proxy.fault(method="POST", word="uploadId", lose=True)
    add(driver, "image", pattern(size))
    assert bucket.get("image") == pattern(size)


def test_an_answer_that_got_lost_does_not_hide_a_real_duplicate(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket
) -> None:
    writer = driver.create(driver.locate("image"), None)
    writer.pwrite(memoryview(b"ours"), 0)
    proxy.fault(method="PUT", reset=True, then=lambda: bucket.put("image", b"theirs"))
    with pytest.raises(exceptions.Duplicate):
        writer.commit(4)
    writer.abort()
    assert bucket.get("image") == b"theirs"


def test_an_upload_ends_with_the_network_and_is_aborted_with_it_back(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket
) -> None:
    proxy.fault(method="PUT", word="partNumber=2", reset=True, times=100)
    with pytest.raises(exceptions.RemoteServiceUnavailable):
        add(driver, "image", pattern(21 * MiB))
    assert bucket.keys() == bucket.uploads() == []


def test_an_abort_that_fails_is_told_and_made_up_for(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket, expect_log: ExpectLog, make: object
) -> None:
    writer = driver.create(driver.locate("image"), None)
    for part, offset in parts_of(writer, pattern(6 * MiB)):
        writer.pwrite(part, offset)
    proxy.fault(method="DELETE", reset=True, times=100)
    writer.abort()
    expect_log("image: what was uploaded stays until storefs starts again")
    assert bucket.uploads() == ["image"]
    driver.close()
    proxy.fault(method="DELETE").times = 0
    proxy._faults.clear()
    driver._journal.sweep()
    assert bucket.uploads() == []


def test_hashes_that_cannot_be_kept_do_not_cost_the_image(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket, expect_log: ExpectLog
) -> None:
    proxy.refuse(403, "AccessDenied", method="PUT", word="tagging")
    add(driver, "image", pattern(6 * MiB))
    expect_log("s3:PutObjectTagging")
    assert bucket.get("image") == pattern(6 * MiB)
    writer = driver.create(driver.locate("small"), None)
    writer.pwrite(memoryview(b"bytes"), 0)
    writer.stage({"md5": "1"})
    proxy.refuse(403, "AccessDenied", method="PUT", word="small")
    writer.commit(5)
    expect_log("s3:PutObjectTagging")
    assert bucket.get("small") == b"bytes"
    assert bucket.tags("small") == {}
