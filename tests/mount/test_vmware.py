# SPDX-License-Identifier: Apache-2.0
"""A datastore as a directory: real images, other programs beside it, sessions that end."""

import errno
import json
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
    kill_while_writing,
    replaced,
    rsync_in,
    rsync_sends_nothing,
    shared_with,
)
from tests.mount.requirements import needed, needed_context
from tests.mount.tools import MiB, await_true, data, failure, run, sha512
from tests.servers.process import running
from tests.servers.vcsim import DATASTORES, PASSWORD, ImageDirectory, Vcsim, vcsim
from tests.servers.vsphere_gate import VsphereGate


@pytest.fixture
def images_there() -> ImageDirectory:
    return ImageDirectory(needed("vmware", vcsim))


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
def mount(mount_store: MountStore, images_there: ImageDirectory, gate: VsphereGate) -> Mount:
    """The datastore as the store ``esx``, through the gate."""
    return mount_store("esx:vmware", _section(images_there, gate.host))


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
    rsync_in(images, source, mount / "esx")
    sizes = [r.length for r in gate.asked("PUT", ".tmp?") if r.length]
    assert sorted(sizes) == sorted(os.stat(image).st_size for image in images.all)
    for image in images.all:
        note = _note(images_there, image.name)
        assert note["os_hash_value"] == sha512(image)
        assert int(note["mtime_ns"]) == os.stat(source / image.name).st_mtime_ns
    names = {image.name for image in images.all}
    assert set(images_there.files()) == names | {f".storefs-{name}.json" for name in names}
    assert set(os.listdir(mount / "esx")) == names
    mount.remount()
    gate.requests.clear()
    rsync_sends_nothing(source, mount / "esx")
    assert gate.asked("PUT") == []
    assert PASSWORD not in mount.log_text


def test_what_other_programs_put_there_shows_up(mount: Mount, images_there: ImageDirectory) -> None:
    location = shared_with(mount / "esx", images_there.put, images_there.get)
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
    replaced(mount / "esx" / "image", lambda bytes_: images_there.put("image", bytes_))


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
    kill_while_writing(mount, mount / "esx" / "image", 12 * MiB, images_there.files)
    assert images_there.files() != []
    mount.start()
    assert os.listdir(mount / "esx") == []
    await_true(lambda: images_there.files() == [], "the end of the upload")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Vcsim]:
    """A simulator of the test's own, to be stopped; it forgets what it held."""
    with needed_context("vmware", running(Vcsim, tmp_path / "vcsim")) as server:
        yield server


def test_a_server_that_stops_fails_alone_and_is_used_again_when_it_is_back(
    mount_store: MountStore, own: Vcsim
) -> None:
    there = ImageDirectory(own)
    there.put("image", data(40 * MiB))
    mount = mount_store("esx:vmware", _section(there, own.host))
    with open(mount / "esx" / "image", "rb", buffering=0) as image:
        assert image.read(4096) == data(40 * MiB)[:4096]
        own.stop()
        mount.expect_log("esx.*image")
        assert failure(image.readall) in UNREACHABLE
    (mount / "shared" / "other").write_bytes(b"the file store goes on")
    own.start()
    (mount / "esx" / "again").write_bytes(b"again")
    assert there.path("again").read_bytes() == b"again"


def test_a_store_that_cannot_be_is_told_and_the_others_are_mounted(
    mount_store: MountStore,
) -> None:
    mount = mount_store("esx:vmware", {"vmware_server_host": "https://vcenter.example.org"})
    log = "vmware_server_host is a host or host:port"
    assert fails_alone(mount, "esx", log) == errno.EIO
