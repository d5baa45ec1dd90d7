# SPDX-License-Identifier: Apache-2.0
"""A bucket as a directory: real images, other programs beside it, a server that stops."""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.images.collection import Images
from tests.mount.conftest import MakeMount
from tests.mount.mounting import Mount
from tests.mount.requirements import need
from tests.mount.tools import MiB, await_true, data, run, sha512
from tests.servers import versitygw
from tests.servers.fault_proxy import FaultProxy
from tests.servers.process import ServerFailed
from tests.servers.s3_client import Bucket
from tests.servers.s3_servers import gateway_bucket
from tests.servers.versitygw import VersityGw

#: What a program may be told of a server that is gone.
UNREACHABLE = {errno.EIO, errno.EREMOTEIO, errno.ETIMEDOUT}


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    try:
        bucket = gateway_bucket()
    except ServerFailed as exc:
        need("s3-versitygw", False, str(exc))
        raise
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
def mount(make_mount: MakeMount, bucket: Bucket, proxy: FaultProxy) -> Mount:
    """The bucket as the store ``s3``, through the proxy."""
    return make_mount({"s3": "s3"}, sections={"s3": _section(bucket, proxy.url)}, default="s3")


def _failure(call: Callable[[], object]) -> int:
    """The errno *call* fails with, 0 if it works."""
    try:
        call()
    except OSError as exc:
        return exc.errno or 0
    return 0


def _sent(proxy: FaultProxy, bucket: Bucket, name: str) -> int:
    """How many bytes of image *name* were sent, in parts or whole."""
    path = f"/{bucket.name}/{name}"
    puts = [r for r in proxy.asked("PUT") if r.path == path and "tagging" not in r.query]
    return sum(request.length for request in puts)


def test_rsync_of_a_directory_of_images_is_one_upload_each(
    mount: Mount, proxy: FaultProxy, bucket: Bucket, images: Images, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for image in images.all:
        run("cp", "--preserve=timestamps", image, source)
    run("rsync", "-a", f"{source}/", f"{mount / 's3'}/")
    for image in images.all:
        assert _sent(proxy, bucket, image.name) == os.stat(image).st_size
        assert len(proxy.asked("POST", f"{image.name}?uploads=")) <= 1
        assert sha512(mount / "s3" / image.name) == sha512(image)
        tags = bucket.tags(image.name)
        assert tags["storefs.os_hash_value"] == sha512(image)
        assert int(tags["storefs.mtime_ns"]) == os.stat(source / image.name).st_mtime_ns
    names = {image.name for image in images.all}
    assert set(bucket.keys()) == names
    assert {r.path.rpartition("/")[2] for r in proxy.asked("PUT")} == names
    assert bucket.uploads() == []
    proxy.requests.clear()
    assert ">f" not in run("rsync", "-ai", f"{source}/", f"{mount / 's3'}/")
    assert proxy.asked("PUT") == proxy.asked("POST") == []


def test_rsync_after_a_remount_sends_nothing(
    mount: Mount, proxy: FaultProxy, tmp_path: Path
) -> None:
    source = tmp_path / "image"
    source.write_bytes(data(6 * MiB))
    os.utime(source, (0, 1_234_567_890.5))
    run("rsync", "-a", source, mount / "s3" / "")
    mount.remount()
    proxy.requests.clear()
    assert ">f" not in run("rsync", "-ai", source, mount / "s3" / "")
    assert os.stat(mount / "s3" / "image").st_mtime == 1_234_567_890.5
    assert proxy.asked("PUT") == proxy.asked("POST") == []


def test_what_boto3_puts_shows_up_and_what_storefs_writes_boto3_reads(
    mount: Mount, bucket: Bucket
) -> None:
    theirs, ours = data(3 * MiB, 1), data(11 * MiB, 2)
    bucket.put("theirs", theirs)
    assert os.listdir(mount / "s3") == ["theirs"]
    assert (mount / "s3" / "theirs").read_bytes() == theirs
    (mount / "s3" / "ours").write_bytes(ours)
    assert bucket.get("ours") == ours
    assert bucket.tags("ours")["storefs.md5"] == hashlib.md5(ours).hexdigest()
    md5 = os.getxattr(mount / "s3" / "ours", "user.storefs.md5").decode()
    assert md5 == hashlib.md5(ours).hexdigest()
    location = os.getxattr(mount / "s3" / "ours", "user.storefs.location").decode()
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
    old, new = data(24 * MiB, 1), data(24 * MiB, 2)
    bucket.put("image", old)
    with open(mount / "s3" / "image", "rb", buffering=0) as image:
        assert image.read(4096) == old[:4096]
        bucket.put("image", new)
        assert _failure(lambda: os.pread(image.fileno(), 4096, 20 * MiB)) == errno.ESTALE
    await_true(lambda: (mount / "s3" / "image").read_bytes() == new, "the new image")


class _Own:
    """A server of the test's own, to be stopped."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        try:
            self.server = VersityGw(directory)
            self.server.start()
        except ServerFailed as exc:
            need("s3-versitygw", False, str(exc))
        self.bucket = Bucket(self.server.url, versitygw.ACCESS_KEY, versitygw.SECRET_KEY)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[_Own]:
    own = _Own(tmp_path / "server")
    yield own
    own.server.stop()


@pytest.fixture
def own_mount(make_mount: MakeMount, own: _Own) -> Mount:
    section = _section(own.bucket, own.server.url)
    return make_mount({"s3": "s3", "shared": "file"}, sections={"s3": section})


def test_a_server_that_stops_in_the_middle_of_a_read(own_mount: Mount, own: _Own) -> None:
    bytes_ = data(40 * MiB)
    own.bucket.put("image", bytes_)
    with open(own_mount / "s3" / "image", "rb", buffering=0) as image:
        assert image.read(4096) == bytes_[:4096]
        own.server.stop()
        own_mount.expect_log("s3.*image")
        assert _failure(image.readall) in UNREACHABLE
        (own_mount / "shared" / "other").write_bytes(b"the file store goes on")
        own.server.start()
        assert os.pread(image.fileno(), 4096, 30 * MiB) == bytes_[30 * MiB : 30 * MiB + 4096]
    assert (own_mount / "s3" / "image").read_bytes() == bytes_


def test_a_server_that_stops_in_the_middle_of_a_write(own_mount: Mount, own: _Own) -> None:
    own_mount.expect_log("s3.*image")
    descriptor = os.open(own_mount / "s3" / "image", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, data(12 * MiB))
    await_true(own.bucket.uploads, "an upload")
    own.server.stop()
    failed = [_failure(lambda: os.write(descriptor, data(12 * MiB)))]
    failed.append(_failure(lambda: os.close(descriptor)))
    assert {code for code in failed if code} <= UNREACHABLE
    assert any(failed)
    (own_mount / "shared" / "other").write_bytes(b"the file store goes on")
    own.server.start()
    assert os.listdir(own_mount / "s3") == []
    own_mount.expect_log("what was uploaded stays until storefs starts again")
    own_mount.remount()
    await_true(lambda: own.bucket.uploads() == [], "the end of the upload")
    (own_mount / "s3" / "image").write_bytes(b"again")
    assert own.bucket.get("image") == b"again"


def test_a_server_that_is_down_at_the_start_does_not_stop_the_mount(
    make_mount: MakeMount, own: _Own
) -> None:
    own.bucket.put("image", b"bytes")
    own.server.stop()
    section = _section(own.bucket, own.server.url)
    mount = make_mount({"s3": "s3", "shared": "file"}, sections={"s3": section})
    (mount / "shared" / "other").write_bytes(b"bytes")
    mount.expect_log("Cannot connect")
    assert _failure(lambda: os.listdir(mount / "s3")) in UNREACHABLE
    own.server.start()
    assert (mount / "s3" / "image").read_bytes() == b"bytes"


def test_a_random_writer_costs_one_upload_and_survives_a_crash(
    make_mount: MakeMount, proxy: FaultProxy, bucket: Bucket, tmp_path: Path
) -> None:
    """What it writes is on local disk until it closes; what it does not is not fetched."""
    mount = make_mount(
        {"s3": "s3"},
        sections={"s3": _section(bucket, proxy.url)},
        options={"publish_delay": 600},
        default="s3",
    )
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
