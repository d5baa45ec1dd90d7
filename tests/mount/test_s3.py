# SPDX-License-Identifier: Apache-2.0
"""A bucket as a directory: real images, other programs beside it, a server that stops."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.images.collection import Images
from tests.mount.conftest import MountStore
from tests.mount.mounting import Mount
from tests.mount.remote import (
    UNREACHABLE,
    fails_alone,
    replaced,
    rsync_after_a_remount,
    rsync_in,
    rsync_sends_nothing,
    shared_with,
    stop_while_reading,
    stop_while_writing,
)
from tests.mount.requirements import needed, needed_context
from tests.mount.tools import MiB, attribute, await_true, data, run, sha512
from tests.servers import versitygw
from tests.servers.fault_proxy import FaultProxy
from tests.servers.process import running
from tests.servers.s3_client import Bucket
from tests.servers.s3_servers import gateway_bucket
from tests.servers.versitygw import VersityGw


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    bucket = needed("s3-versitygw", gateway_bucket)
    yield bucket
    bucket.remove()


@pytest.fixture
def proxy(bucket: Bucket) -> Iterator[FaultProxy]:
    with FaultProxy(bucket.url) as proxy:
        yield proxy


def _section(bucket: Bucket, url: str) -> dict[str, Any]:
    return {
        **bucket.options,
        "s3_store_host": url,
        "s3_store_large_object_chunk_size": 5,
        "s3_store_connect_timeout": 3,
        "s3_store_read_timeout": 3,
    }


@pytest.fixture
def mount(mount_store: MountStore, bucket: Bucket, proxy: FaultProxy) -> Mount:
    """The bucket as the store ``s3``, through the proxy."""
    return mount_store("s3:s3", _section(bucket, proxy.url))


def _sent(proxy: FaultProxy, bucket: Bucket, name: str) -> int:
    """How many bytes of image *name* were sent, in parts or whole."""
    path = f"/{bucket.name}/{name}"
    puts = [r for r in proxy.asked("PUT") if r.path == path and "tagging" not in r.query]
    return sum(request.length for request in puts)


def test_rsync_of_a_directory_of_images_is_one_upload_each(
    mount: Mount, proxy: FaultProxy, bucket: Bucket, images: Images, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    rsync_in(images, source, mount / "s3")
    for image in images.all:
        assert _sent(proxy, bucket, image.name) == os.stat(image).st_size
        assert len(proxy.asked("POST", f"{image.name}?uploads=")) <= 1
        tags = bucket.tags(image.name)
        assert tags["storefs.os_hash_value"] == sha512(image)
        assert int(tags["storefs.mtime_ns"]) == os.stat(source / image.name).st_mtime_ns
    names = {image.name for image in images.all}
    assert set(bucket.keys()) == names
    assert {r.path.rpartition("/")[2] for r in proxy.asked("PUT")} == names
    assert bucket.uploads() == []
    proxy.requests.clear()
    rsync_sends_nothing(source, mount / "s3")
    assert proxy.asked("PUT") == proxy.asked("POST") == []


def test_rsync_after_a_remount_sends_nothing(
    mount: Mount, proxy: FaultProxy, tmp_path: Path
) -> None:
    rsync_after_a_remount(mount, mount / "s3", tmp_path / "image", proxy)
    assert proxy.asked("PUT") == proxy.asked("POST") == []


def test_what_boto3_puts_shows_up_and_what_storefs_writes_boto3_reads(
    mount: Mount, bucket: Bucket
) -> None:
    location = shared_with(mount / "s3", bucket.put, bucket.get)
    assert bucket.tags("ours")["storefs.md5"] == attribute(mount / "s3" / "ours", "md5")
    assert location.endswith(f"/{bucket.name}/ours")
    assert bucket.access_key not in location


def test_keys_that_are_no_names_are_left_out(mount: Mount, bucket: Bucket) -> None:
    for key in ("folder/object", "image", "other"):
        bucket.put(key, b"bytes")
    assert sorted(os.listdir(mount / "s3")) == ["image", "other"]
    assert mount.logged("1 keys are no file names")


def test_mv_and_rm_are_the_server_s_work(mount: Mount, proxy: FaultProxy, bucket: Bucket) -> None:
    bytes_ = data(6 * MiB)
    (mount / "s3" / "image").write_bytes(bytes_)
    proxy.requests.clear()
    run("mv", mount / "s3" / "image", mount / "s3" / "renamed")
    assert sum(request.length for request in proxy.requests) == 0
    assert bucket.keys() == ["renamed"]
    assert (mount / "s3" / "renamed").read_bytes() == bytes_
    run("rm", mount / "s3" / "renamed")
    assert bucket.keys() == []


def test_an_image_replaced_elsewhere_is_stale_and_never_a_mix(mount: Mount, bucket: Bucket) -> None:
    replaced(mount / "s3" / "image", lambda bytes_: bucket.put("image", bytes_))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[VersityGw]:
    """A server of the test's own, to be stopped."""
    with needed_context("s3-versitygw", running(VersityGw, tmp_path / "server")) as server:
        yield server


@pytest.fixture
def own_bucket(own: VersityGw) -> Bucket:
    return Bucket(own.url, versitygw.ACCESS_KEY, versitygw.SECRET_KEY)


@pytest.fixture
def own_mount(mount_store: MountStore, own_bucket: Bucket) -> Mount:
    return mount_store("s3:s3", _section(own_bucket, own_bucket.url))


def test_a_server_that_stops_in_the_middle_of_a_read(
    own_mount: Mount, own: VersityGw, own_bucket: Bucket
) -> None:
    bytes_ = data(40 * MiB)
    own_bucket.put("image", bytes_)
    stop_while_reading(own_mount, "s3", bytes_, own.stop, own.start)


def test_a_server_that_stops_in_the_middle_of_a_write(
    own_mount: Mount, own: VersityGw, own_bucket: Bucket
) -> None:
    stop_while_writing(own_mount, "s3", 12 * MiB, own_bucket.uploads, own.stop)
    own.start()
    assert os.listdir(own_mount / "s3") == []
    own_mount.expect_log("what was uploaded stays until storefs starts again")
    own_mount.remount()
    await_true(lambda: own_bucket.uploads() == [], "the end of the upload")
    (own_mount / "s3" / "image").write_bytes(b"again")
    assert own_bucket.get("image") == b"again"


def test_a_server_that_is_down_at_the_start_does_not_stop_the_mount(
    mount_store: MountStore, own: VersityGw, own_bucket: Bucket
) -> None:
    own_bucket.put("image", b"bytes")
    own.stop()
    mount = mount_store("s3:s3", _section(own_bucket, own.url))
    assert fails_alone(mount, "s3", "Cannot connect") in UNREACHABLE
    own.start()
    assert (mount / "s3" / "image").read_bytes() == b"bytes"


def test_a_random_writer_costs_one_upload_and_survives_a_crash(
    mount_store: MountStore, proxy: FaultProxy, bucket: Bucket, tmp_path: Path
) -> None:
    """What it writes is on local disk until it closes; what it does not is not fetched."""
    mount = mount_store("s3:s3", _section(bucket, proxy.url), options={"publish_delay": 600})
    image, local = mount / "s3" / "image", tmp_path / "image"
    content = data(12 * MiB, seed=3)
    local.write_bytes(content)
    run("qemu-img", "convert", "-f", "raw", "-O", "raw", local, image)
    assert _sent(proxy, bucket, "image") == 0
    assert image.read_bytes() == content
    mount.kill9()
    mount.start()
    with open(image, "r+b") as file:
        os.fsync(file.fileno())
    assert len(content) <= _sent(proxy, bucket, "image") < len(content) + 100_000
    fetched = len(proxy.asked("GET"))
    with open(image, "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"X" * 5000, 7 * MiB + 3)
    gets = [r for r in proxy.asked("GET")[fetched:] if r.path == f"/{bucket.name}/image"]
    assert gets == []
    content = content[: 7 * MiB + 3] + b"X" * 5000 + content[7 * MiB + 5003 :]
    mount.kill9()
    mount.start()
    assert image.read_bytes() == content
    mount.remount()
    assert sha512(image) == hashlib.sha512(content).hexdigest()


def test_a_new_small_file_is_two_requests(mount: Mount, proxy: FaultProxy, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(data(64 * 1024))
    os.listdir(mount / "s3")
    proxy.requests.clear()
    for number in range(5):
        run("cp", source, mount / "s3" / f"image{number}")
    names = [f"image{number}" for number in range(5)]
    assert [r.path.rpartition("/")[2] for r in proxy.asked("HEAD")] == names
    assert [r.path.rpartition("/")[2] for r in proxy.asked("PUT")] == names
    assert len(proxy.requests) == 10
    assert [os.stat(mount / "s3" / name).st_size for name in names] == [64 * 1024] * 5
