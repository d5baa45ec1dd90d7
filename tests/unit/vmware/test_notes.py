# SPDX-License-Identifier: Apache-2.0
"""Hashes and mtime in a file beside the image."""

import json
import os

import pytest

from storefs import exceptions
from storefs.drivers.vmware import VmwareDriver
from tests.contract.images import add, listed, pattern, read
from tests.servers.vcsim import ImageDirectory
from tests.unit.vmware.conftest import Make


def test_a_note_is_a_hidden_json_file(driver: VmwareDriver, images: ImageDirectory) -> None:
    result = add(driver, "image", b"bytes")
    assert sorted(images.files()) == [".storefs-image.json", "image"]
    note = json.loads(images.path(".storefs-image.json").read_text())
    assert note["properties"] == result.properties()
    assert note["version"] == driver.stat(driver.locate("image")).version
    assert listed(driver) == {"image": 5}


def test_a_note_goes_with_its_image(driver: VmwareDriver, images: ImageDirectory) -> None:
    result = add(driver, "image", b"bytes")
    driver.rename(driver.locate("image"), driver.locate("other"))
    assert sorted(images.files()) == [".storefs-other.json", "other"]
    assert driver.properties(driver.locate("other")) == result.properties()
    driver.delete(driver.locate("other"))
    assert images.files() == []


def test_an_image_without_a_note_takes_away_that_of_the_one_it_replaces(
    driver: VmwareDriver, images: ImageDirectory
) -> None:
    add(driver, "target", b"old bytes")
    images.put("source", b"bytes")
    driver.rename(driver.locate("source"), driver.locate("target"))
    assert images.files() == ["target"]
    assert driver.properties(driver.locate("target")) == {}


def test_a_rename_onto_an_image_of_the_same_second_and_size_is_told(
    driver: VmwareDriver, images: ImageDirectory
) -> None:
    """Who has the old one open must not get bytes of the new one."""
    result = add(driver, "source", pattern(3000, 1))
    add(driver, "target", pattern(3000, 2))
    twin = images.path("source").stat().st_mtime_ns
    note = json.loads(images.path(".storefs-source.json").read_text())
    os.utime(images.path("target"), ns=(twin, twin))
    reader = driver.open(driver.locate("target"))
    assert reader.info.version == note["version"]
    driver.rename(driver.locate("source"), driver.locate("target"))
    assert read(driver, "target") == pattern(3000, 1)
    with pytest.raises(exceptions.ImageChanged):
        reader.pread(100, 0)
    assert driver.properties(driver.locate("target")) == result.properties()
    assert sorted(images.files()) == [".storefs-target.json", "target"]


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"no json",
        b"[]",
        b"null",
        b'{"version": 7}',
        b'{"version": "%s"}',
        b'{"version": "%s", "properties": [1]}',
        b'{"version": "%s", "properties": {"mtime_ns": "yesterday"}}',
        b"\xff\xfe",
    ],
)
def test_a_note_that_is_none_is_as_good_as_none(
    driver: VmwareDriver, images: ImageDirectory, note: bytes
) -> None:
    images.put("image", b"bytes")
    version = driver.stat(driver.locate("image")).version
    images.put(".storefs-image.json", note.replace(b"%s", version.encode()))
    info = driver.stat(driver.locate("image"))
    assert info.mtime_ns == images.path("image").stat().st_mtime_ns
    assert read(driver, "image") == b"bytes"
    driver.set_properties(driver.locate("image"), {"md5": "1"})
    assert driver.properties(driver.locate("image"))["md5"] == "1"


def test_the_listing_has_the_mtimes_that_were_seen(driver: VmwareDriver, make: Make) -> None:
    add(driver, "image", b"bytes")
    driver.set_properties(driver.locate("image"), {"mtime_ns": "1600000000123456789"})
    assert driver.stat(driver.locate("image")).mtime_ns == 1600000000123456789
    (info,) = driver.list()
    assert info.mtime_ns == 1600000000123456789
    assert info == driver.stat(driver.locate("image"))
    (unseen,) = make().list()
    assert unseen.version == info.version
