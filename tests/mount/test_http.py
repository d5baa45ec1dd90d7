# SPDX-License-Identifier: Apache-2.0
"""A store of images on a web server, and a web server that dies."""

import contextlib
import errno
import json
import os
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.images.collection import Images
from tests.mount.conftest import MakeMount
from tests.mount.mounting import Mount
from tests.mount.requirements import need
from tests.mount.tools import MiB, await_true, data, run, sha512
from tests.servers.faulty_http import FaultyHttp
from tests.servers.nginx import Nginx

BYTES = data(24 * MiB)

#: What a read gives when its server is gone, depending on where it noticed.
GONE = {errno.EIO, errno.ETIMEDOUT, errno.EREMOTEIO}


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    need("nginx", Path("/usr/sbin/nginx").exists(), "no nginx (Debian: nginx-light)")
    directory = tmp_path / "nginx"
    directory.mkdir()
    server = Nginx(directory)
    (server.images / "image").write_bytes(BYTES)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def web(nginx: Nginx, make_mount: MakeMount, tmp_path: Path) -> Mount:
    """The stores web, with ``image`` in its catalogue, and shared."""
    catalog = tmp_path / "catalog"
    catalog.write_text(f"image = {nginx.url}/images/image\nslow = {nginx.url}/slow/image\n")
    options = {"http_store_catalog": catalog, "http_store_read_timeout": 2}
    return make_mount({"web": "http", "shared": "file"}, sections={"web": options})


def test_catalogue_is_a_directory(web: Mount, tmp_path: Path) -> None:
    assert sorted(os.listdir(web / "web")) == ["image", "slow"]
    assert os.stat(web / "web" / "image").st_size == len(BYTES)
    run("cp", web / "web" / "image", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == BYTES
    run("cp", web / "web" / "image", web / "shared")
    assert sha512(web / "shared" / "image") == sha512(web / "web" / "image")


def test_a_small_read_is_a_small_request(web: Mount, nginx: Nginx) -> None:
    """With the kernel's read-ahead off; it would ask for more on its own."""

    def asked() -> list[str]:
        return [r.range for r in nginx.requests("/images/image") if r.method == "GET"]

    descriptor = os.open(web / "web" / "image", os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    await_true(lambda: "bytes=0-0" in asked(), "nginx notes a request after its answer")
    nginx.forget_requests()
    assert os.pread(descriptor, 4096, 10 * MiB) == BYTES[10 * MiB : 10 * MiB + 4096]
    os.close(descriptor)
    await_true(asked, "and this one")
    assert asked() == [f"bytes={10 * MiB}-{10 * MiB + 4095}"]


def test_link_registers_and_rm_unregisters(web: Mount, nginx: Nginx, images: Images) -> None:
    (nginx.images / "grub.iso").write_bytes(images.iso.read_bytes())
    name = web / "web" / "rescue.iso"
    run("ln", "-s", f"{nginx.url}/images/grub.iso", name)
    assert sha512(name) == sha512(images.iso)
    assert "rescue.iso" in os.listdir(web / "web")
    web.remount()
    assert sha512(name) == sha512(images.iso)
    run("rm", name)
    assert not name.exists()
    web.remount()
    assert sorted(os.listdir(web / "web")) == ["image", "slow"]
    assert (nginx.images / "grub.iso").exists()


def test_url_as_a_name(web: Mount, nginx: Nginx) -> None:
    name = urllib.parse.quote(f"{nginx.url}/images/image", safe="")
    assert sha512(web / "web" / name) == sha512(web / "web" / "image")
    assert name not in os.listdir(web / "web")


def test_tools_read_images_over_http(web: Mount, nginx: Nginx, images: Images) -> None:
    (nginx.images / "disk.qcow2").write_bytes(images.qcow2.read_bytes())
    disk = web / "web" / "disk.qcow2"
    os.symlink(f"{nginx.url}/images/disk.qcow2", disk)
    info = json.loads(run("qemu-img", "info", "--output=json", disk))
    assert info["virtual-size"] == os.stat(images.raw).st_size
    assert "No errors" in run("qemu-img", "check", disk)
    assert "QEMU QCOW" in run("file", "-b", disk)
    os.unlink(disk)


def test_nothing_can_be_written(web: Mount) -> None:
    for operation in ("create web/new", "open web/image"):
        web.expect_log(f"{operation}: .*read-only.*EROFS")
    for name in ("new", "image"):
        with pytest.raises(OSError) as caught:
            (web / "web" / name).write_bytes(b"")
        assert caught.value.errno == errno.EROFS


def test_missing_image(web: Mount, nginx: Nginx) -> None:
    (nginx.images / "image").unlink()
    with pytest.raises(FileNotFoundError):
        (web / "web" / "image").read_bytes()


def test_server_that_stops_in_the_middle_of_a_read(web: Mount, nginx: Nginx) -> None:
    """The read fails within its time-out, the other store does not notice, and it mends."""
    web.expect_log(r"read web/image: .*\[(EIO|ETIMEDOUT|EREMOTEIO)\]")
    with open(web / "web" / "image", "rb", buffering=0) as file:
        assert file.read(MiB) == BYTES[:MiB]
        nginx.stop()
        with pytest.raises(OSError) as caught:
            file.readall()
        assert caught.value.errno in GONE
        (web / "shared" / "other").write_bytes(BYTES)
        assert sha512(web / "shared" / "other")
        assert os.stat(web / "web" / "image").st_size == len(BYTES)
        nginx.start()
        offset = 20 * MiB
        assert os.pread(file.fileno(), 1000, offset) == BYTES[offset : offset + 1000]
    assert (web / "web" / "image").read_bytes() == BYTES


def test_other_stores_go_on_while_a_read_waits(web: Mount) -> None:
    """The server sends 64 KiB a second."""
    with ThreadPoolExecutor(4) as pool, open(web / "web" / "slow", "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        waiting = [pool.submit(os.pread, file.fileno(), 100_000, n * MiB) for n in range(4)]
        (web / "shared" / "other").write_bytes(BYTES)
        assert (web / "shared" / "other").read_bytes() == BYTES
        assert os.stat(web / "web" / "slow").st_size == len(BYTES)
        assert not all(read.done() for read in waiting)
        for n, read in enumerate(waiting):
            assert read.result() == BYTES[n * MiB : n * MiB + 100_000]


def test_known_names_are_told_while_the_server_is_gone(web: Mount, nginx: Nginx) -> None:
    assert os.stat(web / "web" / "image").st_size == len(BYTES)
    nginx.stop()
    for _ in range(3):
        assert os.stat(web / "web" / "image").st_size == len(BYTES)
    web.expect_log(r"(open|read) web/image: .*\[(EIO|ETIMEDOUT|EREMOTEIO)\]")
    with pytest.raises(OSError) as caught:
        (web / "web" / "image").read_bytes()
    assert caught.value.errno in GONE
    nginx.start()
    await_true(lambda: _readable(web / "web" / "image"), "it is read again")
    assert (web / "web" / "image").read_bytes() == BYTES


def _readable(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return len(file.read(1)) == 1
    except OSError:
        return False


@pytest.mark.parametrize("ranges", [True, False])
def test_server_that_tells_no_version(make_mount: MakeMount, tmp_path: Path, ranges: bool) -> None:
    """Neither ETag nor Last-Modified: each open sees what is there then. nginx always tells one."""
    with contextlib.closing(FaultyHttp(BYTES)) as server:
        server.etag = server.last_modified = None
        server.ranges = ranges
        catalog = tmp_path / "catalog"
        catalog.write_text(f"image = {server.url}\n")
        web = make_mount({"web": "http"}, sections={"web": {"http_store_catalog": catalog}})
        for _ in range(2):
            assert (web / "web" / "image").read_bytes() == BYTES
        server.data = BYTES[::-1]
        assert (web / "web" / "image").read_bytes() == BYTES[::-1]
