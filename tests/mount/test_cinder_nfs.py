# SPDX-License-Identifier: Apache-2.0
"""Volumes that are files on an NFS share: the same promises by another kind of device."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.conftest import MakeMount
from tests.mount.mounting import Mount
from tests.mount.requirements import need, need_root
from tests.mount.tools import MiB, await_true, data, run, sha512
from tests.servers import shared
from tests.servers.cinder import Cinder
from tests.servers.cinder_client import Project
from tests.servers.keystone import Keystone
from tests.servers.process import ServerFailed


@pytest.fixture(scope="module")
def cinder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cinder]:
    need_root()
    directory = tmp_path_factory.mktemp("cinder")
    with contextlib.ExitStack() as stack:
        try:
            # one of its own: a catalogue has room for one Cinder, and the others' tests go on
            keystone = Keystone(tmp_path_factory.mktemp("keystone"))
            stack.callback(keystone.stop)
            keystone.start()
            server = Cinder(directory, shared.ceph(), keystone, nfs=True)
            stack.callback(server.discard)
            server.start()
            server.share(directory / "mounts")
        except ServerFailed as exc:
            need("cinder-nfs", False, str(exc))
            raise
        yield server


@pytest.fixture
def project(cinder: Cinder) -> Iterator[Project]:
    project = Project(cinder, "nfs")
    yield project
    assert project.attachments() == []
    assert project.volumes() == []


@pytest.fixture
def mount(make_mount: MakeMount, project: Project) -> Mount:
    base = project.cinder.keyring.parent / "mounts"
    section = {
        **project.options,
        "cinder_mount_point_base": base,
        "cinder_detach_grace": 0.5,
    }
    return make_mount({"volumes": "cinder"}, sections={"volumes": section}, default="volumes")


def test_cp_in_and_read_back(mount: Mount, project: Project, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(data(9 * MiB + 5))
    run("cp", source, mount / "volumes" / "image")
    volume = project.volume_of("image")
    assert volume.metadata["storefs_os_hash_value"] == sha512(source)
    (file,) = project.cinder.nfs_data.iterdir()
    assert file.read_bytes()[: 9 * MiB + 5] == source.read_bytes()
    mount.remount()
    with open(mount / "volumes" / "image", "rb") as first:
        assert sha512(mount / "volumes" / "image") == sha512(source)
        assert first.read(4096) == source.read_bytes()[:4096]
        assert len(project.attachments()) == 1
    await_true(lambda: project.attachments() == [], "the end of the attachment")
    run("rm", mount / "volumes" / "image")


def test_an_image_of_unknown_size_grows_its_volume(mount: Mount, project: Project) -> None:
    with open(mount / "volumes" / "image", "wb", buffering=0) as image:
        image.write(b"start")
        image.seek(1025 * MiB)
        image.write(b"bytes")
    assert project.volume_of("image").size == 2
    with open(mount / "volumes" / "image", "rb", buffering=0) as image:
        assert os.pread(image.fileno(), 5, 0) == b"start"
        assert os.pread(image.fileno(), 5, 1025 * MiB) == b"bytes"
        assert os.pread(image.fileno(), 4096, 100 * MiB) == bytes(4096)
    run("rm", mount / "volumes" / "image")
