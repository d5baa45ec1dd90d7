# SPDX-License-Identifier: Apache-2.0
"""Volumes that are files on an NFS share: the same promises by another kind of device."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.conftest import MountStore
from tests.mount.mounting import Mount
from tests.mount.requirements import need_root, needed_context
from tests.mount.tools import MiB, data, run, sha512
from tests.mount.volumes import detached, grow_a_volume
from tests.servers import shared
from tests.servers.cinder import Cinder
from tests.servers.cinder_client import Project
from tests.servers.keystone import Keystone
from tests.servers.process import running


@pytest.fixture(scope="module")
def cinder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cinder]:
    need_root()
    directory = tmp_path_factory.mktemp("cinder")
    with needed_context("cinder-nfs", _own_cinder(directory)) as server:
        yield server


@contextlib.contextmanager
def _own_cinder(directory: Path) -> Iterator[Cinder]:
    # one of its own: a catalogue has room for one Cinder, and the others' tests go on
    with running(Keystone, directory / "keystone") as keystone:
        server = Cinder(directory, shared.ceph(), keystone, nfs=True)
        try:
            server.start()
            server.share(directory / "mounts")
            yield server
        finally:
            server.discard()


@pytest.fixture
def project(cinder: Cinder) -> Iterator[Project]:
    project = Project(cinder, "nfs")
    yield project
    assert project.attachments() == []
    assert project.volumes() == []


@pytest.fixture
def mount(mount_store: MountStore, project: Project) -> Mount:
    base = project.cinder.keyring.parent / "mounts"
    section = {
        **project.options,
        "cinder_mount_point_base": base,
        "cinder_detach_grace": 0.5,
    }
    return mount_store("volumes:cinder", section)


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
    detached(project)
    run("rm", mount / "volumes" / "image")


def test_an_image_of_unknown_size_grows_its_volume(mount: Mount, project: Project) -> None:
    grow_a_volume(mount / "volumes" / "image", project)
    run("rm", mount / "volumes" / "image")
