# SPDX-License-Identifier: Apache-2.0
"""A pool as a directory: Ceph's own programs beside it, qemu-img, kills and daemons that stop."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.images.collection import Images
from tests.mount.conftest import MakeMount
from tests.mount.mounting import Mount
from tests.mount.requirements import need
from tests.mount.tools import MiB, attempt, await_true, data, run, sha512
from tests.servers.process import ServerFailed
from tests.servers.rbd_pool import RbdPool, own_pool, pool

#: What a program may be told of a cluster that does not answer.
UNREACHABLE = {errno.EIO, errno.EREMOTEIO, errno.ETIMEDOUT}


@pytest.fixture
def images_pool() -> Iterator[RbdPool]:
    try:
        found = pool()
    except ServerFailed as exc:
        need("rbd", False, str(exc))
        raise
    found.clear()
    yield found
    found.clear()


def _mounted(make_mount: MakeMount, found: RbdPool, **options: Any) -> Mount:
    section = {**found.options, **options}
    return make_mount({"ceph": "rbd", "shared": "file"}, sections={"ceph": section}, default="ceph")


@pytest.fixture
def mount(make_mount: MakeMount, images_pool: RbdPool) -> Mount:
    return _mounted(make_mount, images_pool)


def _failure(call: Callable[[], object]) -> int:
    """The errno *call* fails with, 0 if it works."""
    try:
        call()
    except OSError as exc:
        return exc.errno or 0
    return 0


def test_rsync_of_a_directory_of_images(
    mount: Mount, images_pool: RbdPool, images: Images, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for image in images.all:
        run("cp", "--preserve=timestamps", image, source)
    run("rsync", "-a", f"{source}/", f"{mount / 'ceph'}/")
    assert images_pool.names() == sorted(image.name for image in images.all)
    for image in images.all:
        assert sha512(mount / "ceph" / image.name) == sha512(image)
        info = images_pool.json("info", f"images/{image.name}@snap")
        assert (info["size"], info["protected"]) == (image.stat().st_size, "true")
    mount.remount()
    assert ">f" not in run("rsync", "-ai", f"{source}/", f"{mount / 'ceph'}/")


def test_ceph_s_own_programs_see_what_storefs_writes(
    mount: Mount, images_pool: RbdPool, tmp_path: Path
) -> None:
    bytes_ = data(19 * MiB + 5)
    (mount / "ceph" / "image").write_bytes(bytes_)
    images_pool.run("export", "images/image@snap", tmp_path / "exported")
    assert (tmp_path / "exported").read_bytes() == bytes_
    images_pool.run("clone", "images/image@snap", "images/disk")
    assert (mount / "ceph" / "disk").read_bytes() == bytes_
    assert _failure(lambda: os.getxattr(mount / "ceph" / "disk", "user.storefs.md5"))
    md5 = os.getxattr(mount / "ceph" / "image", "user.storefs.md5").decode()
    assert md5 in images_pool.run("image-meta", "ls", "images/image")
    location = os.getxattr(mount / "ceph" / "image", "user.storefs.location").decode()
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
        assert _failure(lambda: os.unlink(mount / "ceph" / "renamed")) == errno.EBUSY
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
    with open(mount / "ceph" / "image", "rb", buffering=0) as image:
        assert image.read(4096) == bytes_[:4096]
        images_pool.remove("image")
        assert _failure(lambda: os.pread(image.fileno(), 4096, 48 * MiB)) == errno.ESTALE


def test_a_mount_that_is_killed_in_the_middle_of_a_write_is_cleaned_up_after(
    mount: Mount, images_pool: RbdPool
) -> None:
    (mount / "ceph" / "image").write_bytes(b"old")
    descriptor = os.open(mount / "ceph" / "image", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(descriptor, data(20 * MiB))
    await_true(lambda: len(images_pool.names()) == 2, "an upload")
    mount.kill9()
    with contextlib.suppress(OSError):
        os.close(descriptor)
    assert images_pool.get("image") == b"old"
    mount.start()
    await_true(lambda: images_pool.names() == ["image"], "the end of the upload")
    assert (mount / "ceph" / "image").read_bytes() == b"old"


def test_a_wrong_key_is_told_and_the_other_store_goes_on(
    make_mount: MakeMount, images_pool: RbdPool
) -> None:
    mount = _mounted(make_mount, images_pool, rbd_store_user="nobody")
    (mount / "shared" / "other").write_bytes(b"bytes")
    mount.expect_log(r"client\.nobody.*rbd_store_user")
    assert _failure(lambda: os.listdir(mount / "ceph"))
    assert (mount / "shared" / "other").read_bytes() == b"bytes"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RbdPool]:
    """A Ceph of the test's own, to be stopped."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(own_pool(tmp_path / "own"))
        except ServerFailed as exc:
            need("rbd", False, str(exc))
            raise
        yield found


@pytest.fixture
def own_mount(make_mount: MakeMount, own: RbdPool) -> Mount:
    return _mounted(make_mount, own, rados_connect_timeout=3)


def test_an_osd_that_stops_in_the_middle_of_a_read(own_mount: Mount, own: RbdPool) -> None:
    bytes_ = data(64 * MiB)
    own.put_glance("image", bytes_)
    with open(own_mount / "ceph" / "image", "rb", buffering=0) as image:
        assert image.read(4096) == bytes_[:4096]
        own.osd_away()
        own_mount.expect_log("ceph.*image")
        assert _failure(lambda: os.pread(image.fileno(), MiB, 48 * MiB)) in UNREACHABLE
        (own_mount / "shared" / "other").write_bytes(b"the file store goes on")
        own.osd_back()
        assert os.pread(image.fileno(), 4096, 48 * MiB) == bytes_[48 * MiB : 48 * MiB + 4096]
    assert (own_mount / "ceph" / "image").read_bytes() == bytes_


def test_an_osd_that_stops_in_the_middle_of_a_write(own_mount: Mount, own: RbdPool) -> None:
    own_mount.expect_log("ceph.*image")
    descriptor = os.open(own_mount / "ceph" / "image", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, data(20 * MiB))
    await_true(own.names, "an upload")
    own.osd_away()
    failed = [_failure(lambda: os.write(descriptor, data(20 * MiB)))]
    failed.append(_failure(lambda: os.close(descriptor)))
    assert {code for code in failed if code} <= UNREACHABLE
    assert any(failed)
    (own_mount / "shared" / "other").write_bytes(b"the file store goes on")
    own.osd_back()
    await_true(lambda: own.names() == [], "the end of the upload")
    (own_mount / "ceph" / "image").write_bytes(b"again")
    assert own.get("image") == b"again"


def test_monitors_that_are_down_at_the_start_do_not_stop_the_mount(
    make_mount: MakeMount, own: RbdPool
) -> None:
    own.put_glance("image", b"bytes")
    own.ceph.mon.stop()
    mount = _mounted(make_mount, own, rados_connect_timeout=3)
    (mount / "shared" / "other").write_bytes(b"bytes")
    mount.expect_log("No monitor")
    assert _failure(lambda: os.listdir(mount / "ceph")) in UNREACHABLE
    own.ceph.mon.start()
    await_true(lambda: not _failure(lambda: os.listdir(mount / "ceph")), "the store")
    assert (mount / "ceph" / "image").read_bytes() == b"bytes"
