# SPDX-License-Identifier: Apache-2.0
"""A pool as a directory: Ceph's own programs beside it, qemu-img, kills and daemons that stop."""

import errno
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
    rsync_in,
    rsync_sends_nothing,
    stale_after,
    stop_while_reading,
    stop_while_writing,
)
from tests.mount.requirements import needed, needed_context
from tests.mount.tools import MiB, attempt, attribute, await_true, data, failure, run, sha512
from tests.servers.rbd_pool import RbdPool, own_pool, pool


@pytest.fixture
def images_pool() -> Iterator[RbdPool]:
    found = needed("rbd", pool)
    found.clear()
    yield found
    found.clear()


@pytest.fixture
def mount(mount_store: MountStore, images_pool: RbdPool) -> Mount:
    return mount_store("ceph:rbd", images_pool.options)


def test_rsync_of_a_directory_of_images(
    mount: Mount, images_pool: RbdPool, images: Images, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    rsync_in(images, source, mount / "ceph")
    assert images_pool.names() == sorted(image.name for image in images.all)
    for image in images.all:
        info = images_pool.json("info", f"images/{image.name}@snap")
        assert (info["size"], info["protected"]) == (image.stat().st_size, "true")
    mount.remount()
    rsync_sends_nothing(source, mount / "ceph")


def test_ceph_s_own_programs_see_what_storefs_writes(
    mount: Mount, images_pool: RbdPool, tmp_path: Path
) -> None:
    bytes_ = data(19 * MiB + 5)
    (mount / "ceph" / "image").write_bytes(bytes_)
    images_pool.run("export", "images/image@snap", tmp_path / "exported")
    assert (tmp_path / "exported").read_bytes() == bytes_
    images_pool.run("clone", "images/image@snap", "images/disk")
    assert (mount / "ceph" / "disk").read_bytes() == bytes_
    assert failure(lambda: attribute(mount / "ceph" / "disk", "md5"))
    md5 = attribute(mount / "ceph" / "image", "md5")
    assert md5 in images_pool.run("image-meta", "ls", "images/image")
    location = attribute(mount / "ceph" / "image", "location")
    assert location == f"rbd://{images_pool.fsid}/images/image/snap"
    run("rm", mount / "ceph" / "image")
    assert sorted(os.listdir(mount / "ceph")) == ["disk"]
    assert [entry["name"] for entry in images_pool.trash()] == ["image"]
    assert mount.logged("Image image has clones")


def test_what_rbd_imports_is_read(mount: Mount, images_pool: RbdPool, images: Images) -> None:
    for image in images.all:
        images_pool.run("import", image, f"images/{image.name}")
    assert sorted(os.listdir(mount / "ceph")) == sorted(image.name for image in images.all)
    for image in images.all:
        assert sha512(mount / "ceph" / image.name) == sha512(image)


def test_qemu_img_compares_both_ways(mount: Mount, images_pool: RbdPool, tmp_path: Path) -> None:
    source = tmp_path / "source.raw"
    source.write_bytes(data(9 * MiB) + bytes(9 * MiB) + data(MiB))
    run("cp", source, mount / "ceph" / "ours")
    access = f"id=glance:conf={images_pool.ceph.conf}"
    theirs = f"rbd:images/ours@snap:{access}"
    compare = ("qemu-img", "compare", "-f", "raw", "-F", "raw")
    assert "identical" in run(*compare, str(mount / "ceph" / "ours"), theirs)
    convert = ("qemu-img", "convert", "-f", "raw", "-O", "raw")
    run(*convert, str(source), f"rbd:images/theirs:{access}")
    assert "identical" in run(*compare, str(mount / "ceph" / "theirs"), str(source))
    with open(source, "r+b") as changed:
        changed.seek(12 * MiB)
        changed.write(b"x")
    assert attempt(*compare, str(source), theirs).returncode == 1


def test_mv_rm_and_replacing(mount: Mount, images_pool: RbdPool) -> None:
    old, new = data(9 * MiB, 1), data(9 * MiB, 2)
    (mount / "ceph" / "image").write_bytes(old)
    (mount / "ceph" / "image").write_bytes(new)
    assert (mount / "ceph" / "image").read_bytes() == new
    run("mv", mount / "ceph" / "image", mount / "ceph" / "renamed")
    assert images_pool.names() == ["renamed"]
    assert (mount / "ceph" / "renamed").read_bytes() == new
    with images_pool.image("renamed"):
        mount.expect_log("open elsewhere")
        assert failure(lambda: os.unlink(mount / "ceph" / "renamed")) == errno.EBUSY
    run("rm", mount / "ceph" / "renamed")
    assert images_pool.names() == []


def test_st_blocks_and_df_tell_the_truth(mount: Mount) -> None:
    with open(mount / "ceph" / "sparse", "wb") as sparse:
        sparse.seek(64 * MiB)
        sparse.write(data(MiB))
    status = os.stat(mount / "ceph" / "sparse")
    assert (status.st_size, status.st_blocks * 512) == (65 * MiB, 8 * MiB)
    room = os.statvfs(mount / "ceph")
    assert 0 < room.f_bavail <= room.f_blocks


def test_an_image_removed_elsewhere_is_stale_and_never_zeros(
    mount: Mount, images_pool: RbdPool
) -> None:
    bytes_ = data(64 * MiB)
    images_pool.put_glance("image", bytes_)
    stale_after(lambda: images_pool.remove("image"), mount / "ceph" / "image", bytes_)


def test_a_mount_that_is_killed_in_the_middle_of_a_write_is_cleaned_up_after(
    mount: Mount, images_pool: RbdPool
) -> None:
    image = mount / "ceph" / "image"
    image.write_bytes(b"old")
    kill_while_writing(mount, image, 20 * MiB, lambda: len(images_pool.names()) == 2)
    assert images_pool.get("image") == b"old"
    mount.start()
    await_true(lambda: images_pool.names() == ["image"], "the end of the upload")
    assert image.read_bytes() == b"old"


def test_a_wrong_key_is_told_and_the_other_store_goes_on(
    mount_store: MountStore, images_pool: RbdPool
) -> None:
    mount = mount_store("ceph:rbd", {**images_pool.options, "rbd_store_user": "nobody"})
    assert fails_alone(mount, "ceph", r"client\.nobody.*rbd_store_user")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RbdPool]:
    """A Ceph of the test's own, to be stopped."""
    with needed_context("rbd", own_pool(tmp_path / "own")) as found:
        yield found


@pytest.fixture
def impatient(own: RbdPool) -> dict[str, Any]:
    """The options of a store that soon gives up."""
    return {**own.options, "rados_connect_timeout": 3}


@pytest.fixture
def own_mount(mount_store: MountStore, impatient: dict[str, Any]) -> Mount:
    return mount_store("ceph:rbd", impatient)


def test_an_osd_that_stops_in_the_middle_of_a_read(own_mount: Mount, own: RbdPool) -> None:
    bytes_ = data(64 * MiB)
    own.put_glance("image", bytes_)
    stop_while_reading(
        *(own_mount, "ceph", bytes_, own.osd_away, own.osd_back),
        how=lambda image: os.pread(image.fileno(), MiB, 48 * MiB),
    )


def test_an_osd_that_stops_in_the_middle_of_a_write(own_mount: Mount, own: RbdPool) -> None:
    stop_while_writing(own_mount, "ceph", 20 * MiB, own.names, own.osd_away)
    own.osd_back()
    await_true(lambda: own.names() == [], "the end of the upload")
    (own_mount / "ceph" / "image").write_bytes(b"again")
    assert own.get("image") == b"again"


def test_monitors_that_are_down_at_the_start_do_not_stop_the_mount(
    mount_store: MountStore, own: RbdPool, impatient: dict[str, Any]
) -> None:
    own.put_glance("image", b"bytes")
    own.ceph.mon.stop()
    mount = mount_store("ceph:rbd", impatient)
    assert fails_alone(mount, "ceph", "No monitor") in UNREACHABLE
    own.ceph.mon.start()
    await_true(lambda: not failure(lambda: os.listdir(mount / "ceph")), "the store")
    assert (mount / "ceph" / "image").read_bytes() == b"bytes"
