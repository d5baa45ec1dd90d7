# SPDX-License-Identifier: Apache-2.0
"""Deleting, replacing and renaming, with clones, snapshots and others who use the image."""

import contextlib
import logging

import pytest

from storefs import exceptions
from storefs.drivers.rbd import RbdDriver
from storefs.drivers.rbd.io import MiB
from tests.contract.images import add, listed, pattern, read
from tests.servers.rbd_pool import RbdPool

#: How a clone is made: the old way needs the snapshot's protection, the new one does not.
FORMATS = [1, 2]


def _clone(images: RbdPool, version: int) -> None:
    images.run(
        *("clone", "images/image@snap", "images/disk", "--rbd-default-clone-format", version)
    )


def test_deleting_unprotects_and_removes(driver: RbdDriver, images: RbdPool) -> None:
    add(driver, "image", pattern(9 * MiB))
    driver.delete(driver.locate("image"))
    assert images.names() == []
    assert images.trash() == []


@pytest.mark.parametrize("version", FORMATS)
def test_an_image_with_clones_goes_to_the_trash(
    driver: RbdDriver, images: RbdPool, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    data = pattern(9 * MiB)
    add(driver, "image", data)
    _clone(images, version)
    driver.delete(driver.locate("image"))
    assert listed(driver) == {"disk": len(data)}
    (entry,) = images.trash()
    assert entry["name"] == "image"
    assert "Image image has clones" in caplog.text
    assert images.get("disk", None) == data
    images.run("trash", "restore", "--pool", "images", entry["id"])
    assert read(driver, "image") == data
    assert images.json("info", "images/image@snap")["protected"] == "true"


@pytest.mark.parametrize("version", FORMATS)
def test_an_image_with_clones_can_be_replaced(
    driver: RbdDriver, images: RbdPool, version: int
) -> None:
    old, new = pattern(9 * MiB, 1), pattern(9 * MiB, 2)
    add(driver, "image", old)
    _clone(images, version)
    add(driver, "image", new, replace=True)
    assert read(driver, "image") == new
    assert images.get("disk", None) == old
    assert images.names() == ["disk", "image"]


def test_another_snapshot_forbids_deleting_and_stays(driver: RbdDriver, images: RbdPool) -> None:
    add(driver, "image", b"bytes")
    with images.image("image") as image:
        image.create_snap("mine")
    with pytest.raises(exceptions.HasSnapshot, match="rbd snap ls"):
        driver.delete(driver.locate("image"))
    assert [s["name"] for s in images.json("snap", "ls", "images/image")] == ["snap", "mine"]
    assert images.json("info", "images/image@snap")["protected"] == "true"


def test_who_writes_to_it_forbids_deleting(driver: RbdDriver, images: RbdPool) -> None:
    add(driver, "image", b"bytes")
    with images.image("image"), pytest.raises(exceptions.InUseByStore, match="rbd status"):
        driver.delete(driver.locate("image"))
    assert images.json("info", "images/image@snap")["protected"] == "true"
    driver.delete(driver.locate("image"))
    assert images.names() == []


def test_what_is_replaced_while_it_is_written_to_is_removed_later(
    driver: RbdDriver, images: RbdPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storefs.drivers.rbd.target._AGAIN", 0.1)
    add(driver, "image", b"old")
    with images.image("image"):
        add(driver, "image", b"new", replace=True)
        assert read(driver, "image") == b"new"
        assert len(images.names()) == 2
    assert driver._cluster.asides.finished(30)
    assert images.names() == ["image"]


def test_a_rename_moves_the_image_and_its_properties(driver: RbdDriver, images: RbdPool) -> None:
    md5 = add(driver, "image", pattern(9 * MiB)).checksum
    version = driver.stat(driver.locate("image")).version
    driver.rename(driver.locate("image"), driver.locate("other"))
    assert images.names() == ["other"]
    assert driver.properties(driver.locate("other"))["md5"] == md5
    assert driver.stat(driver.locate("other")).version == version


def test_a_reader_of_a_renamed_image_goes_on(driver: RbdDriver) -> None:
    data = pattern(9 * MiB)
    add(driver, "image", data)
    with contextlib.closing(driver.open(driver.locate("image"))) as reader:
        driver.rename(driver.locate("image"), driver.locate("other"))
        assert bytes(reader.pread(len(data), 0)) == data


def test_when_the_second_rename_fails_the_old_image_has_its_name_again(
    driver: RbdDriver, images: RbdPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(driver, "image", b"old")
    target = driver._target
    renames, real = [], target._rename

    def second_fails(pool: str, source: str, name: str) -> None:
        renames.append(name)
        if len(renames) == 3:
            raise exceptions.TimeoutError(timeout=1)
        real(pool, source, name)

    monkeypatch.setattr(target, "_rename", second_fails)
    with pytest.raises(exceptions.TimeoutError):
        add(driver, "image", b"new", replace=True)
    assert images.names() == ["image"]
    assert read(driver, "image") == b"old"


def test_who_takes_the_name_in_between_is_replaced_too(
    driver: RbdDriver, images: RbdPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(driver, "image", b"old")
    target = driver._target
    real = target._rename

    def rival(pool: str, source: str, name: str) -> None:
        real(pool, source, name)
        if name.startswith(".storefs-replaced") and not seen:
            seen.append(name)
            images.put_glance("image", b"rival")

    seen: list[str] = []
    monkeypatch.setattr(target, "_rename", rival)
    add(driver, "image", b"new", replace=True)
    assert seen
    assert read(driver, "image") == b"new"
    assert images.names() == ["image"]


def test_a_rename_whose_answer_is_lost_has_happened(
    driver: RbdDriver, images: RbdPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdk = driver._cluster.sdk
    real = sdk.rbd.RBD

    class Deaf(real):  # type: ignore[misc,valid-type]
        """Its renames arrive; nobody hears that they did."""

        def rename(self, *args: object) -> None:
            super().rename(*args)
            raise sdk.rbd.Timeout("the answer was lost", errno=110)

    monkeypatch.setattr(sdk.rbd, "RBD", Deaf)
    add(driver, "image", b"bytes")
    assert read(driver, "image") == b"bytes"
    assert images.names() == ["image"]
