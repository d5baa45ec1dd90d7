# SPDX-License-Identifier: Apache-2.0
"""An account as a directory: real images, the `swift` command beside it, servers that stop."""

import errno
import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.images.collection import Images
from tests.mount.conftest import MakeMount
from tests.mount.mounting import Mount
from tests.mount.requirements import need
from tests.mount.tools import PATIENCE, MiB, await_true, data, run, sha512
from tests.servers import shared, swift_client
from tests.servers.fault_proxy import FaultProxy
from tests.servers.process import ServerFailed
from tests.servers.swift import Swift
from tests.servers.swift_client import Container

#: What a program may be told of a server that is gone.
UNREACHABLE = {errno.EIO, errno.EREMOTEIO, errno.ETIMEDOUT}


@pytest.fixture
def container() -> Iterator[Container]:
    try:
        container = Container(swift_client.tempauth())
    except ServerFailed as exc:
        need("swift-tempauth", False, str(exc))
        raise
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
def mount(make_mount: MakeMount, container: Container, proxy: FaultProxy) -> Mount:
    """The container as the store ``swift``, through the proxy."""
    section = _section(container, swift_store_auth_address=f"{proxy.url}/auth/v1.0")
    return make_mount({"swift": "swift"}, sections={"swift": section}, default="swift")


def _failure(call: Callable[[], object]) -> int:
    """The errno *call* fails with, 0 if it works."""
    try:
        call()
    except OSError as exc:
        return exc.errno or 0
    return 0


def _swift(*arguments: object) -> str:
    """The `swift` command as user test:tester."""
    server = shared.swift()
    login = ("-A", server.auth_url, "-U", "test:tester", "-K", "testing")
    return run(server.venv / "bin" / "swift", *login, *arguments)


def test_rsync_of_a_directory_of_images_is_one_upload_each(
    mount: Mount, proxy: FaultProxy, container: Container, images: Images, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for image in images.all:
        run("cp", "--preserve=timestamps", image, source)
    run("rsync", "-a", f"{source}/", f"{mount / 'swift'}/")
    sent = sum(r.length for r in proxy.asked("PUT") if "multipart-manifest" not in r.query)
    assert sent <= sum(os.stat(image).st_size for image in images.all)
    for image in images.all:
        assert sha512(mount / "swift" / image.name) == sha512(image)
        headers = container.head(image.name)
        assert headers["X-Object-Meta-Storefs-Os-Hash-Value"] == sha512(image)
        assert int(headers["Content-Length"]) == os.stat(image).st_size
    names = {image.name for image in images.all}
    assert set(os.listdir(mount / "swift")) == names
    assert {n for n in container.names() if not n.startswith(".segments/")} == names
    proxy.requests.clear()
    assert ">f" not in run("rsync", "-ai", f"{source}/", f"{mount / 'swift'}/")
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
    source = tmp_path / "image"
    source.write_bytes(data(12 * MiB))
    os.utime(source, (0, 1_234_567_890.5))
    run("rsync", "-a", source, mount / "swift" / "")
    mount.remount()
    proxy.requests.clear()
    assert ">f" not in run("rsync", "-ai", source, mount / "swift" / "")
    assert os.stat(mount / "swift" / "image").st_mtime == 1_234_567_890.5
    assert proxy.asked("PUT") == []


@pytest.mark.parametrize("kind", ["--use-slo", "--use-dlo", "plain"])
def test_what_the_swift_command_uploads_is_read_and_removed(
    mount: Mount, container: Container, tmp_path: Path, kind: str
) -> None:
    source = tmp_path / "source"
    source.write_bytes(data(7 * MiB))
    os.utime(source, (0, 1_234_567_890.5))
    how = ["--segment-size", str(MiB), kind] if kind != "plain" else []
    _swift("upload", container.name, source, "--object-name", "image", *how)
    segments = Container(container.account, f"{container.name}_segments", make=False)
    assert len(segments.names()) == (7 if kind != "plain" else 0)
    assert os.stat(mount / "swift" / "image").st_size == 7 * MiB
    assert os.stat(mount / "swift" / "image").st_mtime == 1_234_567_890.5
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
    (mount / "swift" / "image").write_bytes(bytes_)
    os.utime(mount / "swift" / "image", (0, 1_234_567_890.5))
    target = tmp_path / "target"
    _swift("download", container.name, "image", "-o", target)
    assert target.read_bytes() == bytes_
    assert os.stat(target).st_mtime == 1_234_567_890.5
    md5 = os.getxattr(mount / "swift" / "image", "user.storefs.md5").decode()
    assert md5 == hashlib.md5(bytes_).hexdigest()
    location = os.getxattr(mount / "swift" / "image", "user.storefs.location").decode()
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
    old, new = data(24 * MiB, 1), data(24 * MiB, 2)
    container.put("image", old)
    with open(mount / "swift" / "image", "rb", buffering=0) as image:
        assert image.read(4096) == old[:4096]
        container.put("image", new)
        assert _failure(lambda: os.pread(image.fileno(), 4096, 20 * MiB)) == errno.ESTALE
    await_true(lambda: (mount / "swift" / "image").read_bytes() == new, "the new image")


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
    try:
        container = Container(swift_client.keystone())
    except ServerFailed as exc:
        need("swift-keystone", False, str(exc))
        raise
    shared.keystone().limit_tokens(3)
    yield container
    shared.keystone().limit_tokens(3600)
    container.remove()


def test_tokens_that_end_during_a_long_upload_and_a_long_read(
    make_mount: MakeMount, short_tokens: Container
) -> None:
    section = _section(short_tokens, swift_store_large_object_chunk_size=1)
    mount = make_mount({"swift": "swift"}, sections={"swift": section}, default="swift")
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
    """A Swift of the test's own, to be stopped."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        try:
            self.server = Swift(directory)
            self.server.start()
        except ServerFailed as exc:
            need("swift-tempauth", False, str(exc))
        account = swift_client.login_v1(self.server.auth_url, "test:tester", "testing")
        self.container = Container(account)

    def stop(self) -> None:
        self.server.proxy.stop()

    def start(self) -> None:
        self.server.proxy.start(patience=60)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[_Own]:
    own = _Own(tmp_path / "server")
    yield own
    own.server.stop()


@pytest.fixture
def own_mount(make_mount: MakeMount, own: _Own) -> Mount:
    """Beside a file store, and patient: a proxy may take a while to start."""
    section = _section(own.container, swift_store_retry_get_count=0)
    return make_mount({"swift": "swift", "shared": "file"}, sections={"swift": section})


@pytest.fixture
def patient_mount(make_mount: MakeMount, own: _Own) -> Mount:
    section = _section(own.container, swift_store_retry_get_count=10)
    return make_mount({"swift": "swift"}, sections={"swift": section}, default="swift")


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
    with open(own_mount / "swift" / "image", "rb", buffering=0) as image:
        assert image.read(4096) == bytes_[:4096]
        own.stop()
        own_mount.expect_log("swift.*image")
        assert _failure(image.readall) in UNREACHABLE
        (own_mount / "shared" / "other").write_bytes(b"the file store goes on")
        own.start()
        assert os.pread(image.fileno(), 4096, 30 * MiB) == bytes_[30 * MiB : 30 * MiB + 4096]
    assert (own_mount / "swift" / "image").read_bytes() == bytes_


def test_a_proxy_that_stops_in_the_middle_of_a_write(own_mount: Mount, own: _Own) -> None:
    own_mount.expect_log("swift.*image")
    descriptor = os.open(own_mount / "swift" / "image", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, data(12 * MiB))
    await_true(own.container.segments, "a segment")
    own.stop()
    failed = [_failure(lambda: os.write(descriptor, data(12 * MiB)))]
    failed.append(_failure(lambda: os.close(descriptor)))
    assert {code for code in failed if code} <= UNREACHABLE
    assert any(failed)
    (own_mount / "shared" / "other").write_bytes(b"the file store goes on")
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
    descriptor = os.open(own_mount / "swift" / "image", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, data(12 * MiB))
    await_true(own.container.segments, "a segment")
    own_mount.kill9()
    assert _failure(lambda: os.close(descriptor)) in {0, errno.ENOTCONN, errno.ECONNABORTED}
    assert own.container.segments() != []
    own_mount.start()
    await_true(lambda: own.container.segments() == [], "the end of the segments")
    assert os.listdir(own_mount / "swift") == []


def test_a_proxy_that_is_down_at_the_start_does_not_stop_the_mount(
    make_mount: MakeMount, own: _Own
) -> None:
    own.container.put("image", b"bytes")
    own.stop()
    stores = {"swift": "swift", "shared": "file"}
    mount = make_mount(stores, sections={"swift": _section(own.container)})
    (mount / "shared" / "other").write_bytes(b"bytes")
    mount.expect_log("Cannot connect")
    assert _failure(lambda: os.listdir(mount / "swift")) in UNREACHABLE
    own.start()
    assert (mount / "swift" / "image").read_bytes() == b"bytes"


def test_bad_credentials_name_the_option_and_no_secret(
    make_mount: MakeMount, container: Container
) -> None:
    section = _section(container, swift_store_key="wrong-word")
    mount = make_mount({"swift": "swift", "shared": "file"}, sections={"swift": section})
    mount.expect_log("check swift_store_user and swift_store_key")
    assert _failure(lambda: os.listdir(mount / "swift")) == errno.EACCES
    (mount / "shared" / "other").write_bytes(b"the file store goes on")
    assert "wrong-word" not in mount.log_text
