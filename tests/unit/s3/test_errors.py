# SPDX-License-Identifier: Apache-2.0
"""Everything an S3 server can refuse: one clear error each, and never its page as data."""

import datetime
import email.utils
import re
import time

import pytest

from storefs import exceptions
from storefs.drivers.s3 import S3Driver
from tests.contract.images import add, pattern, read
from tests.servers.fault_proxy import FaultProxy
from tests.servers.process import free_port
from tests.servers.s3_client import Bucket
from tests.unit.s3.conftest import Make

MiB = 1024 * 1024

#: status, S3's code, the exception, what its message says
REFUSALS = [
    (403, "AccessDenied", exceptions.Forbidden, "policy"),
    (403, "InvalidAccessKeyId", exceptions.NotAuthenticated, "s3_store_access_key"),
    (403, "SignatureDoesNotMatch", exceptions.NotAuthenticated, "s3_store_secret_key"),
    (400, "ExpiredToken", exceptions.NotAuthenticated, "expired"),
    (404, "NoSuchBucket", exceptions.BadStoreConfiguration, "no such bucket"),
    (404, "NoSuchKey", exceptions.NotFound, "no such image"),
    (501, "NotImplemented", exceptions.StoreAddDisabled, "cannot"),
    (507, "InsufficientStorage", exceptions.StorageFull, "room"),
    (403, "QuotaExceeded", exceptions.StorageFull, "quota"),
    (400, "EntityTooLarge", exceptions.ImageTooLarge, "large"),
    (503, "SlowDown", exceptions.RemoteServiceUnavailable, "later"),
    (429, "TooManyRequests", exceptions.RemoteServiceUnavailable, "later"),
    (500, "InternalError", exceptions.RemoteServiceUnavailable, "later"),
    (503, "", exceptions.RemoteServiceUnavailable, "later"),
]


@pytest.mark.parametrize(("status", "code", "raised", "says"), REFUSALS)
def test_a_refusal_has_a_name_and_an_advice(
    driver: S3Driver,
    proxy: FaultProxy,
    bucket: Bucket,
    status: int,
    code: str,
    raised: type[Exception],
    says: str,
) -> None:
    proxy.refuse(status, code, times=100)
    with pytest.raises(raised, match=says) as caught:
        driver.stat(driver.locate("image"))
    assert bucket.secret_key not in f"{caught.value!r}"
    with pytest.raises(raised, match=says):
        list(driver.list())


@pytest.mark.parametrize(("status", "code", "raised", "says"), REFUSALS)
def test_an_upload_that_is_refused_leaves_nothing(
    driver: S3Driver,
    proxy: FaultProxy,
    bucket: Bucket,
    status: int,
    code: str,
    raised: type[Exception],
    says: str,
) -> None:
    proxy.refuse(status, code, method="PUT", times=100)
    with pytest.raises(raised, match=says):
        add(driver, "image", pattern(11 * MiB))
    assert bucket.keys() == bucket.uploads() == []


@pytest.mark.parametrize(("status", "code", "raised", "says"), REFUSALS[:4] + REFUSALS[-4:])
def test_a_read_that_is_refused_is_no_data(
    driver: S3Driver,
    proxy: FaultProxy,
    bucket: Bucket,
    status: int,
    code: str,
    raised: type[Exception],
    says: str,
) -> None:
    bucket.put("image", pattern(1000))
    reader = driver.open(driver.locate("image"))
    proxy.refuse(status, code, method="GET", times=100)
    with pytest.raises(raised, match=says):
        reader.pread(1000, 0)


def test_a_bucket_that_goes_away_is_no_missing_image(make: Make, bucket: Bucket) -> None:
    driver = make()
    reader_of = make()
    bucket.put("image", b"bytes")
    reader = reader_of.open(reader_of.locate("image"))
    bucket.delete("image")
    bucket.client.delete_bucket(Bucket=bucket.name)
    with pytest.raises(exceptions.BadStoreConfiguration, match="s3_store_bucket"):
        driver.stat(driver.locate("image"))
    with pytest.raises(exceptions.BadStoreConfiguration, match="s3_store_bucket"):
        reader.pread(5, 0)
    with pytest.raises(exceptions.BadStoreConfiguration, match="s3_store_bucket"):
        add(driver, "image", b"bytes")


def test_wrong_keys_are_told(make: Make) -> None:
    driver = make(s3_store_secret_key="wrong-word")
    with pytest.raises(exceptions.NotAuthenticated, match="s3_store_secret_key") as caught:
        driver.stat(driver.locate("image"))
    assert "wrong-word" not in f"{caught.value!r}"


def test_the_region_that_is_right_is_told(driver: S3Driver, proxy: FaultProxy) -> None:
    headers = {"x-amz-bucket-region": "eu-central-1"}
    proxy.refuse(301, "PermanentRedirect", headers=headers, times=2)
    with pytest.raises(
        exceptions.BadStoreConfiguration, match="in eu-central-1: set s3_store_region_name"
    ):
        driver.stat(driver.locate("image"))
    region = "<Region>eu-west-1</Region><Endpoint>s3.eu-west-1.example.org</Endpoint>"
    proxy.refuse(400, "AuthorizationHeaderMalformed", region, times=2)
    with pytest.raises(
        exceptions.BadStoreConfiguration, match=r"eu-west-1.*s3\.eu-west-1\.example\.org"
    ):
        driver.stat(driver.locate("image"))


def test_a_real_server_tells_the_region(make: Make) -> None:
    driver = make(s3_store_region_name="eu-west-1")
    with pytest.raises(exceptions.BadStoreConfiguration, match="s3_store_region_name"):
        list(driver.list())


@pytest.mark.parametrize(("ahead", "way"), [(3600, "behind"), (-3600, "ahead of")])
def test_the_clock_that_is_off_is_told(
    driver: S3Driver, proxy: FaultProxy, ahead: int, way: str
) -> None:
    date = email.utils.formatdate(time.time() + ahead, usegmt=True)
    page = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
    proxy.fault(page=(403, page, {"Date": date}), times=2)
    with pytest.raises(exceptions.NotAuthenticated) as caught:
        driver.stat(driver.locate("image"))
    seconds = re.search(rf"(\d+) seconds {way} the server's", str(caught.value))
    assert seconds is not None
    assert 3590 <= int(seconds[1]) <= 3610


def test_a_real_server_refuses_a_clock_that_is_off(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    import botocore.auth

    def an_hour_ago() -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", an_hour_ago)
    driver = make()
    with pytest.raises(exceptions.NotAuthenticated, match="clock"):
        driver.stat(driver.locate("image"))


def test_a_burst_of_503_is_waited_out(driver: S3Driver, proxy: FaultProxy, bucket: Bucket) -> None:
    data = pattern(11 * MiB)
    for method in ("PUT", "POST", "GET", "HEAD"):
        proxy.refuse(503, "SlowDown", method=method, times=2)
    add(driver, "image", data)
    proxy.refuse(503, "SlowDown", method="GET", times=2)
    assert read(driver, "image") == data
    assert bucket.uploads() == []


def test_a_server_that_is_down_is_told_at_once(make: Make) -> None:
    driver = make(s3_store_host=f"127.0.0.1:{free_port()}")
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="Cannot connect"):
        driver.stat(driver.locate("image"))


def test_a_page_that_is_no_xml_is_no_listing(driver: S3Driver, proxy: FaultProxy) -> None:
    proxy.fault(page=(200, b"<html>Welcome!", {}))
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="s3_store_host"):
        list(driver.list())


def test_a_200_with_an_error_in_it_is_an_error(
    driver: S3Driver, proxy: FaultProxy, bucket: Bucket
) -> None:
    proxy.refuse(200, "AccessDenied", method="POST", word="uploadId")
    with pytest.raises(exceptions.Forbidden):
        add(driver, "image", pattern(6 * MiB))
    assert bucket.keys() == bucket.uploads() == []
