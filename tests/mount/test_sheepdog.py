# SPDX-License-Identifier: Apache-2.0
"""A Sheepdog cluster as a directory: real images, another program beside it, a daemon that stops.

The fake sheep serves it, or the real one STOREFS_SHEEPDOG names; tests that stop the daemon
or count its requests are about the fake in any case.
"""

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.images.collection import Images
from tests.mount.conftest import MakeMount
from tests.mount.mounting import Mount
from tests.mount.tools import MiB, await_true, data, run, sha512
from tests.servers.sheep import Sheep
from tests.servers.sheep_client import SheepClient, SheepError

#: What a program may be told of a cluster that is gone.
UNREACHABLE = {errno.EIO, errno.EREMOTEIO, errno.ETIMEDOUT}

CREATE = 0x01


class Pasture:
    """A cluster, a prefix for the names of its VDIs, and another program's way to them."""

    def __init__(self) -> None:
        real = os.environ.get("STOREFS_SHEEPDOG")
        self.sheep = None if real else Sheep()
        self.prefix = f"storefs-test-{secrets.token_hex(4)}-" if real else ""
        where = real or f"127.0.0.1:{self.sheep.port if self.sheep else 0}"
        self.host, _, self.port = where.rpartition(":")
        self.client = SheepClient(self.host.strip("[]"), int(self.port))
        self.client.prepare()
        self.before = {vdi.vid for vdi in self.client.vdis()}

    def name(self, image: str) -> bytes:
        return (self.prefix + image).encode()

    @property
    def section(self) -> dict[str, Any]:
        return {
            "sheepdog_store_address": self.host,
            "sheepdog_store_port": self.port,
            "sheepdog_store_prefix": self.prefix,
        }

    def names(self) -> set[bytes]:
        """Of the VDIs that came since."""
        vdis = [vdi for vdi in self.client.vdis() if vdi.vid not in self.before]
        return {vdi.name for vdi in vdis if not vdi.snapshot}

    def has(self, oid: int) -> bool:
        try:
            self.client.read(oid, 1)
        except SheepError:
            return False
        return True

    def close(self) -> None:
        if self.sheep is None:
            for name in self.names():
                if name.startswith(self.prefix.encode()):
                    self.client.delete(name)
        self.client.close()
        if self.sheep is not None:
            self.sheep.stop()


@pytest.fixture
def pasture() -> Iterator[Pasture]:
    with contextlib.closing(Pasture()) as pasture:
        yield pasture


@pytest.fixture
def mount(make_mount: MakeMount, pasture: Pasture) -> Mount:
    return make_mount({"dog": "sheepdog"}, sections={"dog": pasture.section}, default="dog")


def _failure(call: Callable[[], object]) -> int:
    """The errno *call* fails with, 0 if it works."""
    try:
        call()
    except OSError as exc:
        return exc.errno or 0
    return 0


def test_rsync_of_a_directory_of_images(
    mount: Mount, pasture: Pasture, images: Images, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for image in images.all:
        run("cp", "--preserve=timestamps", image, source)
    run("rsync", "-a", f"{source}/", f"{mount / 'dog'}/")
    for image in images.all:
        assert sha512(mount / "dog" / image.name) == sha512(image)
        value = os.getxattr(mount / "dog" / image.name, "user.storefs.os_hash_value").decode()
        assert value == sha512(image)
    assert pasture.names() == {pasture.name(image.name) for image in images.all}
    mount.remount()
    assert ">f" not in run("rsync", "-ai", f"{source}/", f"{mount / 'dog'}/")


def test_what_another_program_puts_shows_up_and_it_reads_what_storefs_writes(
    mount: Mount, pasture: Pasture
) -> None:
    theirs, ours = data(9 * MiB, 1), data(11 * MiB, 2)
    pasture.client.put(pasture.name("theirs"), theirs)
    assert os.listdir(mount / "dog") == ["theirs"]
    assert (mount / "dog" / "theirs").read_bytes() == theirs
    (mount / "dog" / "ours").write_bytes(ours)
    assert pasture.client.get(pasture.name("ours")) == ours
    md5 = os.getxattr(mount / "dog" / "ours", "user.storefs.md5").decode()
    assert md5 == hashlib.md5(ours).hexdigest()
    location = os.getxattr(mount / "dog" / "ours", "user.storefs.location").decode()
    assert location == f"sheepdog://{pasture.host}:{pasture.port}:{pasture.prefix}ours"
    run("rm", mount / "dog" / "theirs")
    assert pasture.names() == {pasture.name("ours")}


def test_mv_copies_since_sheepdog_cannot_rename(mount: Mount, pasture: Pasture) -> None:
    (mount / "dog" / "image").write_bytes(data(5 * MiB))
    run("mv", mount / "dog" / "image", mount / "dog" / "renamed")
    assert pasture.names() == {pasture.name("renamed")}
    assert (mount / "dog" / "renamed").read_bytes() == data(5 * MiB)


def test_an_image_that_is_replaced_is_stale_for_who_has_it_open(
    mount: Mount, pasture: Pasture, tmp_path: Path
) -> None:
    """As soon as its objects are gone, which is a moment later; till then it is read as it was."""
    old, new = data(24 * MiB, 1), data(24 * MiB, 2)
    (mount / "dog" / "image").write_bytes(old)
    (tmp_path / "new").write_bytes(new)
    with open(mount / "dog" / "image", "rb", buffering=0) as image:
        assert image.read(4096) == old[:4096]
        last = pasture.client.find(pasture.name("image")) << 32 | 5
        run("cp", tmp_path / "new", mount / "dog" / "image")
        await_true(lambda: not pasture.has(last), "the end of the old image's objects")
        assert _failure(lambda: os.pread(image.fileno(), 4096, 20 * MiB)) == errno.ESTALE
    assert (mount / "dog" / "image").read_bytes() == new


def test_df_shows_room(mount: Mount) -> None:
    room = os.statvfs(mount / "dog")
    assert 0 < room.f_bavail <= room.f_blocks


@pytest.fixture
def fake() -> Iterator[Sheep]:
    sheep = Sheep()
    yield sheep
    with contextlib.suppress(OSError):
        sheep.stop()


@pytest.fixture
def own_mount(make_mount: MakeMount, fake: Sheep) -> Mount:
    section = {"sheepdog_store_port": fake.port, "sheepdog_store_timeout": 5}
    return make_mount({"dog": "sheepdog", "shared": "file"}, sections={"dog": section})


def test_a_daemon_that_stops_in_the_middle_of_a_read(own_mount: Mount, fake: Sheep) -> None:
    bytes_ = data(40 * MiB)
    (own_mount / "dog" / "image").write_bytes(bytes_)
    with open(own_mount / "dog" / "image", "rb", buffering=0) as image:
        assert image.read(4096) == bytes_[:4096]
        fake.stop()
        own_mount.expect_log("dog.*image")
        assert _failure(image.readall) in UNREACHABLE
        (own_mount / "shared" / "other").write_bytes(b"the file store goes on")
        fake.start()
        assert os.pread(image.fileno(), 4096, 30 * MiB) == bytes_[30 * MiB : 30 * MiB + 4096]
    assert (own_mount / "dog" / "image").read_bytes() == bytes_


def test_a_daemon_that_stops_in_the_middle_of_a_write(own_mount: Mount, fake: Sheep) -> None:
    own_mount.expect_log("dog.*image")
    descriptor = os.open(own_mount / "dog" / "image", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, data(12 * MiB))
    await_true(lambda: fake.count(CREATE), "an object")
    fake.stop()
    failed = [_failure(lambda: os.write(descriptor, data(12 * MiB)))]
    failed.append(_failure(lambda: os.close(descriptor)))
    assert {code for code in failed if code} <= UNREACHABLE
    assert any(failed)
    (own_mount / "shared" / "other").write_bytes(b"the file store goes on")
    own_mount.expect_log("stays until storefs starts again")
    fake.start()
    assert os.listdir(own_mount / "dog") == []
    own_mount.remount()
    await_true(lambda: not fake.cluster.data_objects(), "the end of the objects")
    (own_mount / "dog" / "image").write_bytes(b"again")
    assert (own_mount / "dog" / "image").read_bytes() == b"again"


def test_a_daemon_that_is_down_at_the_start_does_not_stop_the_mount(
    make_mount: MakeMount, fake: Sheep
) -> None:
    fake.stop()
    section = {"sheepdog_store_port": fake.port}
    mount = make_mount({"dog": "sheepdog", "shared": "file"}, sections={"dog": section})
    (mount / "shared" / "other").write_bytes(b"bytes")
    mount.expect_log("Cannot speak with Sheepdog")
    assert _failure(lambda: os.listdir(mount / "dog")) in UNREACHABLE
    fake.start()
    (mount / "dog" / "image").write_bytes(b"bytes")


def test_a_store_that_is_configured_wrong_is_told_and_the_other_is_mounted(
    make_mount: MakeMount,
) -> None:
    section = {"sheepdog_store_address": "host:port"}
    mount = make_mount({"dog": "sheepdog", "shared": "file"}, sections={"dog": section})
    mount.expect_log("Store dog is broken: sheepdog_store_address: 'host:port' is no address")
    (mount / "shared" / "other").write_bytes(b"bytes")
