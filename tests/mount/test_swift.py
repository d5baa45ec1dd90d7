# SPDX-License-Identifier: Apache-2.0
"""An account as a directory: real images, the `swift` command beside it, servers that stop."""

import errno
import functools
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.images.collection import Images
from tests.mount.conftest import MountStore
from tests.mount.mounting import Mount
from tests.mount.remote import (
    MTIME,
    UNREACHABLE,
    dated,
    fails_alone,
    kill_while_writing,
    replaced,
    rsync_after_a_remount,
    rsync_in,
    rsync_sends_nothing,
    stop_while_reading,
    stop_while_writing,
)
from tests.mount.requirements import needed, needed_context
from tests.mount.tools import PATIENCE, MiB, attribute, await_true, data, md5, run, sha512
from tests.servers import shared, swift_client
from tests.servers.fault_proxy import FaultProxy
from tests.servers.process import running
from tests.servers.swift import Swift
from tests.servers.swift_client import Container


@pytest.fixture
def container() -> Iterator[Container]:
    container = Container(needed("swift-tempauth", swift_client.tempauth))
    yield container
    container.remove()


@pytest.fixture
def proxy(container: Container) -> Iterator[FaultProxy]:
    with FaultProxy(shared.swift().url) as proxy:
        yield proxy


def _section(container: Container, **options: Any) -> dict[str, Any]:
    return {
        **container.options,
        "swift_store_large_object_size": 5,
        "swift_store_large_object_chunk_size": 5,
        "swift_store_connect_timeout": 3,
        "swift_store_read_timeout": 3,
        **options,
    }


@pytest.fixture
def mount(mount_store: MountStore, container: Container, proxy: FaultProxy) -> Mount:
    """The container as the store ``swift``, through the proxy."""
    section = _section(container, swift_store_auth_address=f"{proxy.url}/auth/v1.0")
    return mount_store("swift:swift", section)


def _swift(*arguments: object) -> str:
    """The `swift` command as user test:tester."""
    server = shared.swift()
    login = ("-A", server.auth_url, "-U", "test:tester", "-K", "testing")
    return run(server.venv / "bin" / "swift", *login, *arguments)


def test_rsync_of_a_directory_of_images_is_one_upload_each(
    mount: Mount, proxy: FaultProxy, container: Container, images: Images, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    rsync_in(images, source, mount / "swift")
    sent = sum(r.length for r in proxy.asked("PUT") if "multipart-manifest" not in r.query)
    assert sent <= sum(os.stat(image).st_size for image in images.all)
    for image in images.all:
        headers = container.head(image.name)
        assert headers["X-Object-Meta-Storefs-Os-Hash-Value"] == sha512(image)
        assert int(headers["Content-Length"]) == os.stat(image).st_size
    names = {image.name for image in images.all}
    assert set(os.listdir(mount / "swift")) == names
    assert {n for n in container.names() if not n.startswith(".segments/")} == names
    proxy.requests.clear()
    rsync_sends_nothing(source, mount / "swift")
    assert proxy.asked("PUT") == []


def test_a_header_is_patched_after_a_long_stream(mount: Mount, container: Container) -> None:
    """The segments are read back, and the image is written from the spool."""
    expected = bytearray(data(12 * MiB + 5))
    with open(mount / "swift" / "image", "wb") as file:
        file.write(expected)
        file.seek(0)
        file.write(b"header")
    expected[:6] = b"header"
    await_true(lambda: not mount.spooled(), "an empty spool")
    assert (mount / "swift" / "image").read_bytes() == expected
    headers = container.head("image")
    upload = headers["X-Object-Meta-Storefs-Upload"]
    assert {name.split("/")[2] for name in container.segments()} == {upload}
    assert headers["X-Object-Meta-Storefs-Os-Hash-Value"] == hashlib.sha512(expected).hexdigest()


def test_rsync_after_a_remount_sends_nothing(
    mount: Mount, proxy: FaultProxy, tmp_path: Path
) -> None:
    rsync_after_a_remount(mount, mount / "swift", tmp_path / "image", proxy)
    assert proxy.asked("PUT") == []


@pytest.mark.parametrize("kind", ["--use-slo", "--use-dlo", "plain"])
def test_what_the_swift_command_uploads_is_read_and_removed(
    mount: Mount, container: Container, tmp_path: Path, kind: str
) -> None:
    source = dated(tmp_path / "source", data(7 * MiB))
    how = ["--segment-size", str(MiB), kind] if kind != "plain" else []
    _swift("upload", container.name, source, "--object-name", "image", *how)
    segments = Container(container.account, f"{container.name}_segments", make=False)
    assert len(segments.names()) == (7 if kind != "plain" else 0)
    assert os.stat(mount / "swift" / "image").st_size == 7 * MiB
    assert os.stat(mount / "swift" / "image").st_mtime == MTIME
    assert os.listdir(mount / "swift") == ["image"]
    assert (mount / "swift" / "image").read_bytes() == data(7 * MiB)
    run("rm", mount / "swift" / "image")
    assert container.names() == segments.names() == []
    segments.remove()


@pytest.mark.parametrize("length", [1000, 23 * MiB])
def test_what_storefs_writes_the_swift_command_downloads_and_deletes(
    mount: Mount, container: Container, tmp_path: Path, length: int
) -> None:
    bytes_ = data(length)
    dated(mount / "swift" / "image", bytes_)
    target = tmp_path / "target"
    _swift("download", container.name, "image", "-o", target)
    assert target.read_bytes() == bytes_
    assert os.stat(target).st_mtime == MTIME
    assert attribute(mount / "swift" / "image", "md5") == md5(bytes_)
    location = attribute(mount / "swift" / "image", "location")
    assert location == f"swift+config://ref1/{container.name}/image"
    _swift("delete", container.name, "image")
    assert container.names() == []


def test_mv_and_rm_are_the_server_s_work(
    mount: Mount, proxy: FaultProxy, container: Container
) -> None:
    bytes_ = data(12 * MiB)
    (mount / "swift" / "image").write_bytes(bytes_)
    proxy.requests.clear()
    run("mv", mount / "swift" / "image", mount / "swift" / "renamed")
    assert sum(request.length for request in proxy.requests) < 10_000
    assert os.listdir(mount / "swift") == ["renamed"]
    assert (mount / "swift" / "renamed").read_bytes() == bytes_
    run("rm", mount / "swift" / "renamed")
    assert container.names() == []


def test_an_image_replaced_elsewhere_is_stale_and_never_a_mix(
    mount: Mount, container: Container
) -> None:
    replaced(mount / "swift" / "image", lambda bytes_: container.put("image", bytes_))


def test_holes_are_uploaded_once(mount: Mount, proxy: FaultProxy, container: Container) -> None:
    with open(mount / "swift" / "image", "wb") as image:
        image.write(data(MiB))
        image.truncate(200 * MiB)
    assert sum(r.length for r in proxy.asked("PUT")) < 40 * MiB
    assert int(container.head("image")["Content-Length"]) == 200 * MiB
    assert (mount / "swift" / "image").read_bytes() == data(MiB) + bytes(199 * MiB)


@pytest.fixture
def short_tokens() -> Iterator[Container]:
    """A container behind Keystone, whose tokens live for 3 seconds."""
    container = Container(needed("swift-keystone", swift_client.keystone))
    shared.keystone().limit_tokens(3)
    yield container
    shared.keystone().limit_tokens(3600)
    container.remove()


def test_tokens_that_end_during_a_long_upload_and_a_long_read(
    mount_store: MountStore, short_tokens: Container
) -> None:
    section = _section(short_tokens, swift_store_large_object_chunk_size=1)
    mount = mount_store("swift:swift", section)
    pieces = [data(3 * MiB, number) for number in range(8)]
    with open(mount / "swift" / "image", "wb", buffering=0) as image:
        for piece in pieces:
            image.write(piece)
            time.sleep(1)
    with open(mount / "swift" / "image", "rb", buffering=0) as image:
        os.posix_fadvise(image.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for number, piece in enumerate(pieces):
            assert os.pread(image.fileno(), 100_000, number * 3 * MiB) == piece[:100_000]
            time.sleep(1)
    run("mv", mount / "swift" / "image", mount / "swift" / "renamed")
    assert sha512(mount / "swift" / "renamed") == hashlib.sha512(b"".join(pieces)).hexdigest()


class _Own:
    """A Swift of the test's own, whose proxy goes and comes back."""

    def __init__(self, server: Swift) -> None:
        self.container = Container(swift_client.login_v1(server.auth_url, "test:tester", "testing"))
        self.stop = server.proxy.stop
        self.start = functools.partial(server.proxy.start, patience=60)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[_Own]:
    with needed_context("swift-tempauth", running(Swift, tmp_path / "server")) as server:
        yield _Own(server)


@pytest.fixture
def own_mount(mount_store: MountStore, own: _Own) -> Mount:
    return mount_store("swift:swift", _section(own.container, swift_store_retry_get_count=0))


@pytest.fixture
def patient_mount(mount_store: MountStore, own: _Own) -> Mount:
    """A proxy may take a while to start."""
    return mount_store("swift:swift", _section(own.container, swift_store_retry_get_count=10))


def test_a_proxy_that_is_restarted_in_the_middle_of_a_write_is_not_noticed(
    patient_mount: Mount, own: _Own, tmp_path: Path
) -> None:
    """cp has the file open: a child of ours that closed it would wait for what it starts."""
    source, target = tmp_path / "source", patient_mount / "swift" / "image"
    source.write_bytes(data(200 * MiB))
    copying = subprocess.Popen(["cp", source, target])
    await_true(own.container.segments, "a segment")
    own.stop()
    assert copying.poll() is None
    own.start()
    assert copying.wait(PATIENCE) == 0
    assert own.container.head("image")["Content-Length"] == str(200 * MiB)
    assert sha512(target) == sha512(source)


def test_a_proxy_that_is_restarted_in_the_middle_of_a_read_is_not_noticed(
    patient_mount: Mount, own: _Own
) -> None:
    bytes_ = data(40 * MiB)
    own.container.put("image", bytes_)
    with (
        open(patient_mount / "swift" / "image", "rb", buffering=0) as image,
        ThreadPoolExecutor(1) as pool,
    ):
        assert os.pread(image.fileno(), 4096, 0) == bytes_[:4096]
        own.stop()
        read = pool.submit(os.pread, image.fileno(), 4096, 30 * MiB)
        own.start()
        assert read.result() == bytes_[30 * MiB : 30 * MiB + 4096]


def test_a_proxy_that_stops_in_the_middle_of_a_read(own_mount: Mount, own: _Own) -> None:
    bytes_ = data(40 * MiB)
    own.container.put("image", bytes_)
    stop_while_reading(own_mount, "swift", bytes_, own.stop, own.start)


def test_a_proxy_that_stops_in_the_middle_of_a_write(own_mount: Mount, own: _Own) -> None:
    stop_while_writing(own_mount, "swift", 12 * MiB, own.container.segments, own.stop)
    own_mount.expect_log("segments stay until storefs starts again")
    await_true(
        lambda: own_mount.logged("segments stay until storefs starts again"), "the clean-up's end"
    )
    own.start()
    assert os.listdir(own_mount / "swift") == []
    own_mount.remount()
    await_true(lambda: own.container.segments() == [], "the end of the segments")
    (own_mount / "swift" / "image").write_bytes(b"again")
    assert own.container.get("image") == b"again"


def test_segments_of_a_storefs_that_was_killed_go_at_the_next_start(
    own_mount: Mount, own: _Own
) -> None:
    kill_while_writing(own_mount, own_mount / "swift" / "image", 12 * MiB, own.container.segments)
    assert own.container.segments() != []
    own_mount.start()
    await_true(lambda: own.container.segments() == [], "the end of the segments")
    assert os.listdir(own_mount / "swift") == []


def test_a_proxy_that_is_down_at_the_start_does_not_stop_the_mount(
    mount_store: MountStore, own: _Own
) -> None:
    own.container.put("image", b"bytes")
    own.stop()
    mount = mount_store("swift:swift", _section(own.container))
    assert fails_alone(mount, "swift", "Cannot connect") in UNREACHABLE
    own.start()
    assert (mount / "swift" / "image").read_bytes() == b"bytes"


def test_bad_credentials_name_the_option_and_no_secret(
    mount_store: MountStore, container: Container
) -> None:
    mount = mount_store("swift:swift", _section(container, swift_store_key="wrong-word"))
    log = "check swift_store_user and swift_store_key"
    assert fails_alone(mount, "swift", log) == errno.EACCES
    assert "wrong-word" not in mount.log_text
