# SPDX-License-Identifier: Apache-2.0
"""A Sheepdog cluster as a directory: real images, another program beside it, a daemon that stops.

The fake sheep serves it, or the real one STOREFS_SHEEPDOG names; tests that stop the daemon
or count its requests are about the fake in any case.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images.collection import Images
from tests.mount.conftest import MountStore
from tests.mount.mounting import Mount
from tests.mount.remote import (
    UNREACHABLE,
    fails_alone,
    rsync_in,
    rsync_sends_nothing,
    shared_with,
    stale_after,
    stop_while_reading,
    stop_while_writing,
)
from tests.mount.requirements import needed
from tests.mount.tools import MiB, attribute, await_true, data, run, sha512
from tests.servers.pasture import Pasture
from tests.servers.sheep import Sheep

CREATE = 0x01


@pytest.fixture
def pasture() -> Iterator[Pasture]:
    with contextlib.closing(needed("sheepdog", Pasture)) as pasture:
        yield pasture


@pytest.fixture
def mount(mount_store: MountStore, pasture: Pasture) -> Mount:
    return mount_store("dog:sheepdog", pasture.options)


def test_rsync_of_a_directory_of_images(
    mount: Mount, pasture: Pasture, images: Images, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    rsync_in(images, source, mount / "dog")
    for image in images.all:
        assert attribute(mount / "dog" / image.name, "os_hash_value") == sha512(image)
    assert pasture.names() == {pasture.name(image.name) for image in images.all}
    mount.remount()
    rsync_sends_nothing(source, mount / "dog")


def test_what_another_program_puts_shows_up_and_it_reads_what_storefs_writes(
    mount: Mount, pasture: Pasture
) -> None:
    location = shared_with(mount / "dog", pasture.put, pasture.get)
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
    image = mount / "dog" / "image"
    last = pasture.client.find(pasture.name("image")) << 32 | 5

    def replace() -> None:
        run("cp", tmp_path / "new", image)
        await_true(lambda: not pasture.has(last), "the end of the old image's objects")

    stale_after(replace, image, old)
    assert image.read_bytes() == new


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
def own_mount(mount_store: MountStore, fake: Sheep) -> Mount:
    section = {"sheepdog_store_port": fake.port, "sheepdog_store_timeout": 5}
    return mount_store("dog:sheepdog", section)


def test_a_daemon_that_stops_in_the_middle_of_a_read(own_mount: Mount, fake: Sheep) -> None:
    bytes_ = data(40 * MiB)
    (own_mount / "dog" / "image").write_bytes(bytes_)
    stop_while_reading(own_mount, "dog", bytes_, fake.stop, fake.start)


def test_a_daemon_that_stops_in_the_middle_of_a_write(own_mount: Mount, fake: Sheep) -> None:
    stop_while_writing(own_mount, "dog", 12 * MiB, lambda: fake.count(CREATE), fake.stop)
    own_mount.expect_log("stays until storefs starts again")
    fake.start()
    assert os.listdir(own_mount / "dog") == []
    own_mount.remount()
    await_true(lambda: not fake.cluster.data_objects(), "the end of the objects")
    (own_mount / "dog" / "image").write_bytes(b"again")
    assert (own_mount / "dog" / "image").read_bytes() == b"again"


def test_a_daemon_that_is_down_at_the_start_does_not_stop_the_mount(
    mount_store: MountStore, fake: Sheep
) -> None:
    fake.stop()
    mount = mount_store("dog:sheepdog", {"sheepdog_store_port": fake.port})
    assert fails_alone(mount, "dog", "Cannot speak with Sheepdog") in UNREACHABLE
    fake.start()
    (mount / "dog" / "image").write_bytes(b"bytes")


def test_a_store_that_is_configured_wrong_is_told_and_the_other_is_mounted(
    mount_store: MountStore,
) -> None:
    mount = mount_store("dog:sheepdog", {"sheepdog_store_address": "host:port"})
    mount.expect_log("Store dog is broken: sheepdog_store_address: 'host:port' is no address")
    (mount / "shared" / "other").write_bytes(b"bytes")
