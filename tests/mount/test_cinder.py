# SPDX-License-Identifier: Apache-2.0
"""Volumes as a directory: attached once however many read, and never left attached."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.conftest import MountStore
from tests.mount.mounting import Mount
from tests.mount.remote import (
    MTIME,
    UNREACHABLE,
    begin_writing,
    dated,
    fails_alone,
    kill_while_writing,
)
from tests.mount.requirements import needed_context
from tests.mount.tools import MiB, attribute, await_true, data, failure, run, sha512
from tests.mount.volumes import detached, grow_a_volume
from tests.servers.cinder_client import PASSWORD, Project, own_project


@pytest.fixture
def project() -> Iterator[Project]:
    with needed_context("cinder", own_project()) as project:
        yield project


@pytest.fixture
def mount(mount_store: MountStore, project: Project) -> Mount:
    """The project as the store ``volumes``."""
    section = {
        **project.options,
        "cinder_detach_grace": 1.0,
        "cinder_api_timeout": 20,
        "cinder_http_retries": 0,
    }
    return mount_store("volumes:cinder", section)


def _attached(project: Project) -> bool:
    """Is the one attachment complete? What happens before is another story."""
    return [a.status for a in project.attachments()] == ["attached"]


def test_cp_in_and_read_back(mount: Mount, project: Project, tmp_path: Path) -> None:
    source = dated(tmp_path / "source", data(9 * MiB + 5))
    run("cp", "--preserve=timestamps", source, mount / "volumes" / "image")
    assert sha512(mount / "volumes" / "image") == sha512(source)
    assert project.data("image") == source.read_bytes()
    volume = project.volume_of("image")
    assert volume.name == "image-image"
    assert volume.metadata["image_size"] == str(9 * MiB + 5)
    assert volume.metadata["image_owner"] == project.id
    assert volume.metadata["readonly"] == "True"
    assert volume.metadata["storefs_os_hash_value"] == sha512(source)
    assert os.stat(mount / "volumes" / "image").st_mtime == MTIME
    assert attribute(mount / "volumes" / "image", "location") == f"cinder://volumes/{volume.id}"
    assert PASSWORD not in mount.log_text
    detached(project)
    run("mv", mount / "volumes" / "image", mount / "volumes" / "renamed")
    assert project.volume_of("renamed").id == volume.id
    run("rm", mount / "volumes" / "renamed")
    assert project.volumes() == []


def test_what_glance_wrote_is_there_and_attached_once_for_all_readers(
    mount: Mount, project: Project
) -> None:
    bytes_ = data(12 * MiB)
    project.put("theirs", bytes_)
    assert os.listdir(mount / "volumes") == ["theirs"]
    with (
        open(mount / "volumes" / "theirs", "rb") as first,
        open(mount / "volumes" / "theirs", "rb") as second,
    ):
        assert first.read() == second.read() == bytes_
        (attachment,) = project.attachments()
        assert attachment.status == "attached"
    assert (mount / "volumes" / "theirs").read_bytes() == bytes_
    detached(project)


def test_a_volume_attached_elsewhere_is_told(mount: Mount, project: Project) -> None:
    volume_id = project.put("taken", b"bytes")
    attachment = project.client.attachments.create(volume_id, None, mode="rw")
    mount.expect_log("taken.*not multiattach")
    assert failure((mount / "volumes" / "taken").read_bytes) == errno.EBUSY
    project.client.attachments.delete(attachment["id"])
    assert (mount / "volumes" / "taken").read_bytes() == b"bytes"
    detached(project)


def test_an_image_replaced_while_it_is_read(mount: Mount, project: Project) -> None:
    old, new = data(9 * MiB, 1), data(5 * MiB, 2)
    (mount / "volumes" / "image").write_bytes(old)
    with open(mount / "volumes" / "image", "rb", buffering=0) as image:
        assert image.read(4096) == old[:4096]
        (mount / "volumes" / "image").write_bytes(new)
        assert (mount / "volumes" / "image").read_bytes() == new
        assert os.pread(image.fileno(), 9 * MiB, 0)[-4096:] == old[-4096:]
    await_true(lambda: len(project.volumes()) == 1, "the end of the old volume")
    assert project.data("image") == new
    detached(project)


def test_an_image_of_unknown_size_grows_its_volume(mount: Mount, project: Project) -> None:
    """A GiB of holes and a few bytes: one extension, for which it is detached."""
    grow_a_volume(mount / "volumes" / "image", project)
    detached(project)


def test_a_size_told_beforehand_makes_the_volume_right_at_once(
    mount: Mount, project: Project
) -> None:
    descriptor = os.open(mount / "volumes" / "image", os.O_WRONLY | os.O_CREAT)
    os.ftruncate(descriptor, 1026 * MiB)
    os.write(descriptor, data(9 * MiB))
    await_true(project.attachments, "the attachment")
    (volume,) = project.volumes()
    assert volume.size == 2
    assert volume.name.startswith("storefs-upload-")
    os.lseek(descriptor, 1026 * MiB - 1, os.SEEK_SET)
    os.write(descriptor, b"e")
    os.close(descriptor)
    assert project.volume_of("image").size == 2
    detached(project)


def test_a_mount_killed_while_it_reads_leaves_nothing_attached(
    mount: Mount, project: Project
) -> None:
    project.put("image", data(4 * MiB))
    descriptor = os.open(mount / "volumes" / "image", os.O_RDONLY)
    os.read(descriptor, 4096)
    mount.kill9()
    assert failure(lambda: os.close(descriptor)) == errno.ENOTCONN
    assert len(project.attachments()) == 1
    mount.start()
    detached(project)
    assert (mount / "volumes" / "image").read_bytes() == data(4 * MiB)
    detached(project)


def test_a_mount_killed_while_it_writes_leaves_no_volume(mount: Mount, project: Project) -> None:
    image = mount / "volumes" / "image"
    assert kill_while_writing(mount, image, 9 * MiB, lambda: _attached(project)) != 0
    assert len(project.volumes()) == 1
    mount.start()
    assert os.listdir(mount / "volumes") == []
    await_true(lambda: project.volumes() == [], "the end of the volume")
    (mount / "volumes" / "image").write_bytes(b"again")
    assert project.data("image") == b"again"


def test_without_a_key_for_ceph_the_error_says_where_to_put_it(
    mount_store: MountStore, project: Project, tmp_path: Path
) -> None:
    project.put("image", b"bytes")
    section = {**project.options, "cinder_rbd_keyring": tmp_path / "nowhere"}
    mount = mount_store("volumes:cinder", section)
    mount.expect_log("set cinder_rbd_keyring")
    assert failure((mount / "volumes" / "image").read_bytes) == errno.EIO
    assert project.attachments() == []


def test_a_wrong_password_is_told_and_the_other_store_goes_on(
    mount_store: MountStore, project: Project
) -> None:
    section = {**project.options, "cinder_store_password": "wrong-word"}
    mount = mount_store("volumes:cinder", section)
    assert fails_alone(mount, "volumes", "check cinder_store_user_name") == errno.EACCES
    assert "wrong-word" not in mount.log_text


class TestCinderStops:
    """`cinder-api` goes away and comes back; whoever has a volume attached does not need it."""

    @pytest.fixture(autouse=True)
    def back_again(self, project: Project) -> Iterator[None]:
        yield
        project.cinder.start()

    def test_a_read_goes_on(self, mount: Mount, project: Project) -> None:
        bytes_ = data(40 * MiB)
        project.put("image", bytes_)
        with open(mount / "volumes" / "image", "rb", buffering=0) as image:
            assert image.read(4096) == bytes_[:4096]
            project.cinder.stop()
            assert image.readall() == bytes_[4096:]
            project.cinder.start()
        detached(project)

    def test_a_write_fails_with_one_clear_error(self, mount: Mount, project: Project) -> None:
        mount.expect_log("volumes.*image")
        mount.expect_log("its unfinished volume stays until storefs starts again")
        image = mount / "volumes" / "image"
        descriptor = begin_writing(image, 17 * MiB, lambda: _attached(project))
        project.cinder.stop()
        assert failure(lambda: os.close(descriptor)) in UNREACHABLE
        (mount / "shared" / "other").write_bytes(b"the file store goes on")
        project.cinder.start()
        assert os.listdir(mount / "volumes") == []
        mount.remount()
        await_true(lambda: project.volumes() == [], "the end of the volume")
