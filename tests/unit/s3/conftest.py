# SPDX-License-Identifier: Apache-2.0
"""A bucket on a real server, the proxy before it, and drivers for both."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from storefs.drivers import s3_bucket
from storefs.drivers.s3 import S3Driver
from tests.contract.harness import configured, required
from tests.servers.fault_proxy import FaultProxy
from tests.servers.process import ServerFailed
from tests.servers.s3_client import Bucket
from tests.servers.s3_servers import gateway_bucket, rgw_bucket

Make = Callable[..., S3Driver]

SERVERS = {"s3-versitygw": gateway_bucket, "s3-rgw": rgw_bucket}


@pytest.fixture(autouse=True)
def nobody(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials of whoever runs the tests, and a state directory of the test's own."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setattr("storefs.drivers.s3.state_directory", lambda: tmp_path / "state")
    monkeypatch.setattr(s3_bucket, "_BACK_OFF", (0.01, 0.01, 0.01))


@pytest.fixture
def server() -> str:
    """Which of `SERVERS` the bucket is on."""
    return "s3-versitygw"


@pytest.fixture
def bucket(server: str) -> Iterator[Bucket]:
    try:
        bucket = SERVERS[server]()
    except ServerFailed as exc:
        if required(server):
            pytest.fail(f"{server} is required by STOREFS_REQUIRE: {exc}")
        pytest.skip(str(exc))
    yield bucket
    bucket.remove()


@pytest.fixture
def proxy(bucket: Bucket) -> Iterator[FaultProxy]:
    with FaultProxy(bucket.url) as proxy:
        yield proxy


@pytest.fixture
def make(bucket: Bucket) -> Iterator[Make]:
    """A driver of the bucket with other options; closed at the end."""
    drivers: list[S3Driver] = []

    def make(**options: Any) -> S3Driver:
        small = {"s3_store_large_object_chunk_size": 5}
        driver: S3Driver = configured(S3Driver, **{**bucket.options, **small, **options})
        drivers.append(driver)
        return driver

    yield make
    for driver in drivers:
        driver.close()


@pytest.fixture
def driver(make: Make, proxy: FaultProxy) -> S3Driver:
    """A driver that goes through the proxy, with short time-outs."""
    return make(s3_store_host=proxy.url, s3_store_read_timeout=2.0, s3_store_connect_timeout=2.0)
