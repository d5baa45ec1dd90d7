# SPDX-License-Identifier: Apache-2.0
"""A bucket on a real server, the proxy before it, and drivers for both."""

import pathlib
from collections.abc import Callable, Iterator

import pytest

from storefs.drivers.s3 import S3Driver
from storefs.drivers.s3 import bucket as s3_bucket
from tests.contract.harness import making
from tests.mount.requirements import needed
from tests.servers.fault_proxy import FaultProxy
from tests.servers.s3_client import Bucket
from tests.servers.s3_servers import gateway_bucket, rgw_bucket

Make = Callable[..., S3Driver]

SERVERS = {"s3-versitygw": gateway_bucket, "s3-rgw": rgw_bucket}


@pytest.fixture(autouse=True)
def nobody(tmp_path: pathlib.Path, state: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials or state of whoever runs the tests, and no long waits."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setattr(s3_bucket, "_BACK_OFF", (0.01, 0.01, 0.01))


@pytest.fixture
def server() -> str:
    """Which of `SERVERS` the bucket is on."""
    return "s3-versitygw"


@pytest.fixture
def bucket(server: str) -> Iterator[Bucket]:
    bucket = needed(server, SERVERS[server])
    yield bucket
    bucket.remove()


@pytest.fixture
def proxy(bucket: Bucket) -> Iterator[FaultProxy]:
    with FaultProxy(bucket.url) as proxy:
        yield proxy


@pytest.fixture
def make(bucket: Bucket) -> Iterator[Make]:
    """A driver of the bucket with other options; closed at the end."""
    with making(S3Driver, **bucket.options, s3_store_large_object_chunk_size=5) as make:
        yield make


@pytest.fixture
def driver(make: Make, proxy: FaultProxy) -> S3Driver:
    """A driver that goes through the proxy, with short time-outs."""
    return make(s3_store_host=proxy.url, s3_store_read_timeout=2.0, s3_store_connect_timeout=2.0)
