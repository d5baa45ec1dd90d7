# SPDX-License-Identifier: Apache-2.0
"""A datastore as a directory: real images, other programs beside it, sessions that end."""

import errno
import hashlib
import json
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
from tests.servers.process import ServerFailed
from tests.servers.vcsim import DATASTORES, PASSWORD, ImageDirectory, Vcsim, vcsim
from tests.servers.vsphere_gate import VsphereGate

#: What a program may be told of a server that is gone.
UNREACHABLE = {errno.EIO, errno.EREMOTEIO, errno.ETIMEDOUT}


@pytest.fixture
def images_there() -> ImageDirectory:
    try:
        return ImageDirectory(vcsim())
    except ServerFailed as exc:
        need("vmware", False, str(exc))
        raise


@pytest.fixture
def gate(images_there: ImageDirectory) -> Iterator[VsphereGate]:
    with VsphereGate(images_there.server) as gate:
        yield gate


def _section(images: ImageDirectory, host: str) -> dict[str, Any]:
    return {
        **images.options,
        "vmware_server_host": host,
        "vmware_datastores": f"DC0:{DATASTORES[0]}",
        "vmware_store_connect_timeout": 3,
        "vmware_store_read_timeout": 3,
        "vmware_api_retry_count": 2,
    }


@pytest.fixture
def mount(make_mount: MakeMount, images_there: ImageDirectory, gate: VsphereGate) -> Mount:
    """The datastore as the store ``esx``, through the gate."""
    section = _section(images_there, gate.host)
    return make_mount({"esx": "vmware"}, sections={"esx": section}, default="esx")


def _failure(call: Callable[[], object]) -> int:
    """The errno *call* fails with, 0 if it works."""
    try:
        call()
    except OSError as exc:
        return exc.errno or 0
    return 0


def _note(images: ImageDirectory, name: str) -> dict[str, str]:
    note = json.loads(images.path(f".storefs-{name}.json").read_text())
    properties: dict[str, str] = note["properties"]
    return properties


def test_rsync_of_a_directory_of_images_is_one_upload_each(
    mount: Mount,
    gate: VsphereGate,
    images_there: ImageDirectory,
    images: Images,
    tmp_path: Path,
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for image in images.all:
        run("cp", "--preserve=timestamps", image, source)
    run("rsync", "-a", f"{source}/", f"{mount / 'esx'}/")
    sizes = [r.length for r in gate.asked("PUT", ".tmp?") if r.length]
    assert sorted(sizes) == sorted(os.stat(image).st_size for image in images.all)
    for image in images.all:
        assert sha512(mount / "esx" / image.name) == sha512(image)
        note = _note(images_there, image.name)
        assert note["os_hash_value"] == sha512(image)
        assert int(note["mtime_ns"]) == os.stat(source / image.name).st_mtime_ns
    names = {image.name for image in images.all}
    assert set(images_there.files()) == names | {f".storefs-{name}.json" for name in names}
    assert set(os.listdir(mount / "esx")) == names
    mount.remount()
    gate.requests.clear()
    assert ">f" not in run("rsync", "-ai", f"{source}/", f"{mount / 'esx'}/")
    assert gate.asked("PUT") == []
    assert PASSWORD not in mount.log_text


def test_what_other_programs_put_there_shows_up(mount: Mount, images_there: ImageDirectory) -> None:
    theirs, ours = data(3 * MiB, 1), data(11 * MiB, 2)
    images_there.put("theirs", theirs)
    assert os.listdir(mount / "esx") == ["theirs"]
    assert (mount / "esx" / "theirs").read_bytes() == theirs
    (mount / "esx" / "ours").write_bytes(ours)
    assert images_there.path("ours").read_bytes() == ours
    md5 = os.getxattr(mount / "esx" / "ours", "user.storefs.md5").decode()
    assert md5 == hashlib.md5(ours).hexdigest()
    location = os.getxattr(mount / "esx" / "ours", "user.storefs.location").decode()
    assert location.endswith(f"/{images_there.name}/ours?dcPath=DC0&dsName=LocalDS_0")


def test_mv_and_rm_are_the_server_s_work(
    mount: Mount, gate: VsphereGate, images_there: ImageDirectory
) -> None:
    bytes_ = data(6 * MiB)
    (mount / "esx" / "image").write_bytes(bytes_)
    gate.requests.clear()
    run("mv", mount / "esx" / "image", mount / "esx" / "renamed")
    assert gate.asked("PUT") == []
    assert (mount / "esx" / "renamed").read_bytes() == bytes_
    run("rm", mount / "esx" / "renamed")
    assert images_there.files() == []


def test_df_tells_the_datastore_s_space(mount: Mount) -> None:
    statvfs = os.statvfs(mount / "esx")
    assert statvfs.f_blocks * statvfs.f_frsize > 1 << 40


def test_an_image_replaced_elsewhere_is_stale_and_never_a_mix(
    mount: Mount, images_there: ImageDirectory
) -> None:
    old, new = data(24 * MiB, 1), data(24 * MiB, 2)
    images_there.put("image", old)
    with open(mount / "esx" / "image", "rb", buffering=0) as image:
        assert image.read(4096) == old[:4096]
        images_there.put("image", new)
        assert _failure(lambda: os.pread(image.fileno(), 4096, 20 * MiB)) == errno.ESTALE
    await_true(lambda: (mount / "esx" / "image").read_bytes() == new, "the new image")


def test_a_session_that_ends_is_not_noticed(
    mount: Mount, gate: VsphereGate, images_there: ImageDirectory
) -> None:
    bytes_ = data(24 * MiB)
    images_there.put("image", bytes_)
    with open(mount / "esx" / "image", "rb", buffering=0) as image:
        assert image.read(4096) == bytes_[:4096]
        gate.expire()
        assert os.pread(image.fileno(), 4096, 20 * MiB) == bytes_[20 * MiB : 20 * MiB + 4096]
    gate.expire()
    (mount / "esx" / "other").write_bytes(bytes_)
    assert images_there.path("other").read_bytes() == bytes_


def test_a_mount_that_is_killed_leaves_nothing_after_the_next_start(
    mount: Mount, images_there: ImageDirectory
) -> None:
    descriptor = os.open(mount / "esx" / "image", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, data(12 * MiB))
    await_true(images_there.files, "an upload")
    mount.kill9()
    _failure(lambda: os.close(descriptor))
    assert images_there.files() != []
    mount.start()
    assert os.listdir(mount / "esx") == []
    await_true(lambda: images_there.files() == [], "the end of the upload")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Vcsim]:
    """A simulator of the test's own, to be stopped; it forgets what it held."""
    (tmp_path / "vcsim").mkdir()
    try:
        server = Vcsim(tmp_path / "vcsim")
        server.start()
    except ServerFailed as exc:
        need("vmware", False, str(exc))
        raise
    yield server
    server.stop()


def test_a_server_that_stops_fails_alone_and_is_used_again_when_it_is_back(
    make_mount: MakeMount, own: Vcsim
) -> None:
    there = ImageDirectory(own)
    there.put("image", data(40 * MiB))
    mount = make_mount(
        {"esx": "vmware", "shared": "file"}, sections={"esx": _section(there, own.host)}
    )
    with open(mount / "esx" / "image", "rb", buffering=0) as image:
        assert image.read(4096) == data(40 * MiB)[:4096]
        own.stop()
        mount.expect_log("esx.*image")
        assert _failure(image.readall) in UNREACHABLE
    (mount / "shared" / "other").write_bytes(b"the file store goes on")
    own.start()
    (mount / "esx" / "again").write_bytes(b"again")
    assert there.path("again").read_bytes() == b"again"


def test_a_store_that_cannot_be_is_told_and_the_others_are_mounted(
    make_mount: MakeMount, tmp_path: Path
) -> None:
    section = {"vmware_server_host": "https://vcenter.example.org"}
    mount = make_mount({"esx": "vmware", "shared": "file"}, sections={"esx": section})
    mount.expect_log("vmware_server_host is a host or host:port")
    (mount / "shared" / "other").write_bytes(b"bytes")
    assert _failure(lambda: os.listdir(mount / "esx")) == errno.EIO
