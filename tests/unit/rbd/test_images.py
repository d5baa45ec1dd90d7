# SPDX-License-Identifier: Apache-2.0
"""What a store in RBD shows: images of Glance and of others, their sizes, times and holes."""

import contextlib
import json
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.rbd import RbdDriver
from storefs.drivers.rbd import header as rbd_header
from storefs.drivers.rbd import images as rbd_images
from storefs.drivers.rbd.allocation import allocated
from storefs.drivers.rbd.io import MiB
from storefs.drivers.rbd.location import RbdLocation
from tests.contract.images import add, listed, pattern, read
from tests.servers.rbd_pool import RbdPool
from tests.unit.rbd.conftest import Make


def _parsed(uri: str) -> RbdLocation:
    location = RbdLocation(None)
    location.parse_uri(uri)
    return location


def test_what_storefs_writes_is_what_glance_would(driver: RbdDriver, images: RbdPool) -> None:
    data = pattern(9 * MiB + 5)
    add(driver, "image", data)
    info = images.json("info", "images/image@snap")
    assert (info["size"], info["object_size"], info["protected"]) == (len(data), 8 * MiB, "true")
    assert "layering" in info["features"]
    (snapshot,) = images.json("snap", "ls", "images/image")
    assert (snapshot["name"], snapshot["size"]) == ("snap", len(data))
    assert images.get("image") == data
    location = driver.locate("image")
    assert location.get_uri() == f"rbd://{images.fsid}/images/image/snap"
    assert location.get_uri().startswith(driver.url_prefix)
    assert driver.url_prefix == f"rbd://{images.fsid}/images/"


def test_the_features_are_those_of_ceph_s_configuration(images: RbdPool, make: Make) -> None:
    add(make(), "image", b"bytes")
    ours = images.json("info", "images/image")["features"]
    images.run("create", "--size", "1M", "images/theirs")
    assert ours == images.json("info", "images/theirs")["features"]


def test_chunk_sizes_are_rounded_to_powers_of_two(images: RbdPool, make: Make) -> None:
    add(make(rbd_store_chunk_size=5), "image", b"bytes")
    assert images.json("info", "images/image")["object_size"] == 4 * MiB


def test_an_image_with_a_snapshot_is_read_at_it(driver: RbdDriver, images: RbdPool) -> None:
    images.put_glance("image", b"published")
    with images.image("image") as image:
        image.write(b"overwrite", 0)
        image.resize(20)
    assert read(driver, "image") == b"published"
    assert listed(driver) == {"image": 9}


def test_the_short_uri_and_another_snapshot(driver: RbdDriver, images: RbdPool) -> None:
    images.put_glance("image", b"first")
    with images.image("image") as image:
        image.write(b"again", 0)
        image.create_snap("later")
    for uri, expected in {
        "rbd://image": b"first",
        f"rbd://{images.fsid}/images/image/snap": b"first",
        f"rbd://{images.fsid}/images/image/later": b"again",
    }.items():
        with contextlib.closing(driver.open(_parsed(uri))) as reader:
            assert bytes(reader.pread(10, 0)) == expected
    with pytest.raises(exceptions.NotFound):
        driver.stat(_parsed(f"rbd://{images.fsid}/images/image/never"))


def test_an_image_of_another_cluster_is_told(driver: RbdDriver, images: RbdPool) -> None:
    images.put("image", b"bytes")
    driver.stat(driver.locate("image"))
    with pytest.raises(exceptions.BadStoreUri, match=images.fsid):
        driver.stat(_parsed("rbd://f0310351-777c-44e0-a66c-7f8ab9925a76/images/image/snap"))


def test_an_image_of_another_pool_is_looked_for_there(driver: RbdDriver, images: RbdPool) -> None:
    images.put("image", b"bytes")
    with pytest.raises(exceptions.BadStoreConfiguration, match="no pool other"):
        driver.stat(_parsed(f"rbd://{images.fsid}/other/image/snap"))


def test_temporaries_are_no_images(driver: RbdDriver, images: RbdPool) -> None:
    images.put(".storefs-upload-0-image", b"bytes")
    assert listed(driver) == {}
    with pytest.raises(exceptions.Invalid, match="temporaries"):
        driver.locate(".storefs-upload-0-image")


def test_a_listing_opens_nothing(
    driver: RbdDriver, images: RbdPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3 * rbd_images.LANES):
        images.put(f"image-{number}", bytes(number))
    add(driver, "ours", b"bytes")
    driver.set_properties(driver.locate("ours"), {"mtime_ns": "1600000000123456789"})

    def refuse(*_args: Any, **_how: Any) -> None:
        raise AssertionError("it was opened")

    monkeypatch.setattr(driver._cluster, "sdk", _Closed(driver._cluster.sdk, refuse))
    monkeypatch.setattr(driver._images, "_sdk", driver._cluster.sdk)
    found = {info.image_id: info for info in driver.list()}
    assert {name: info.size for name, info in found.items()} == {
        "ours": 5,
        **{f"image-{n}": n for n in range(3 * rbd_images.LANES)},
    }
    assert found["ours"].mtime_ns == 1600000000123456789
    assert found["ours"] == driver.stat(driver.locate("ours"))


class _Closed:
    """The SDK, whose images nobody may open."""

    def __init__(self, sdk: Any, refuse: Any) -> None:
        self.rados = sdk.rados
        self.rbd = _Module(sdk.rbd, refuse)


class _Module:
    def __init__(self, module: Any, refuse: Any) -> None:
        self._module = module
        self.Image = refuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def test_an_image_with_more_entries_than_one_answer_holds(
    driver: RbdDriver, images: RbdPool
) -> None:
    images.put_glance("image", b"bytes")
    with images.image("image") as image:
        for number in range(rbd_header._ENTRIES):
            image.metadata_set(f"a-{number}", "x")
    assert driver.stat(driver.locate("image")).size == 5
    assert listed(driver) == {"image": 5}


def test_the_allocation_is_that_of_the_objects_there_are(
    driver: RbdDriver, images: RbdPool
) -> None:
    location = driver.locate("image")
    writer = driver.create(location, 64 * MiB)
    writer.pwrite(memoryview(pattern(8 * MiB)), 8 * MiB)
    writer.pwrite(memoryview(pattern(8 * MiB)), 48 * MiB)
    writer.commit(64 * MiB)
    assert driver.stat(location).allocated == 16 * MiB
    (info,) = driver.list()
    assert info.allocated == 16 * MiB
    du = images.json("du", "images/image@snap")["images"]
    assert du[0]["used_size"] == 16 * MiB


def test_without_a_map_of_objects_the_allocation_is_unknown(
    driver: RbdDriver, images: RbdPool
) -> None:
    images.put_glance("image", b"bytes")
    assert driver.stat(driver.locate("image")).allocated is None


@pytest.mark.parametrize("size", [0, 1, 4 * MiB, 33 * MiB])
def test_a_map_is_that_of_its_image(driver: RbdDriver, images: RbdPool, size: int) -> None:
    images.put("image", b"", features=61, order=22)
    with images.image("image") as image:
        image.resize(size)
        if size:
            image.write(b"x", size - 1)
    assert driver.stat(driver.locate("image")).allocated == min(size, 1) * 4 * MiB


@pytest.mark.parametrize("data", [b"", b"x" * 17, b"\xff" * 64, bytes(64)])
def test_what_is_no_map_says_nothing(data: bytes) -> None:
    assert allocated(data, 100 * MiB, 4 * MiB) is None


def test_zeros_that_were_written_are_stored_unless_thin(images: RbdPool, make: Make) -> None:
    for thin, expected in ((False, 24), (True, 8)):
        driver = make(rbd_thin_provisioning=thin)
        data = bytes(8 * MiB) + pattern(8 * MiB) + bytes(8 * MiB)
        add(driver, "image", data, replace=True)
        assert driver.stat(driver.locate("image")).allocated == expected * MiB
        assert read(driver, "image") == data


def test_a_clone_does_not_inherit_the_hashes(driver: RbdDriver, images: RbdPool) -> None:
    add(driver, "image", b"bytes")
    assert driver.properties(driver.locate("image"))["md5"]
    images.clone("image", "disk")
    with images.image("disk") as image:
        image.write(b"other", 0)
    location = driver.locate("disk")
    assert driver.properties(location) == {}
    driver.set_properties(location, {"mtime_ns": "1600000000000000000"})
    assert driver.properties(location) == {"mtime_ns": "1600000000000000000"}
    assert read(driver, "disk") == b"other"
    assert driver.properties(driver.locate("image"))["md5"]
    images.remove("disk")


def test_hashes_are_image_metadata(driver: RbdDriver, images: RbdPool) -> None:
    result = add(driver, "image", b"bytes")
    kept = json.loads(images.run("image-meta", "ls", "images/image", "--format", "json"))
    assert kept["storefs.md5"] == result.checksum
    assert kept["storefs.os_hash_value"] == result.multihash


def test_the_capacity_is_the_pool_s(driver: RbdDriver, images: RbdPool) -> None:
    capacity = driver.capacity()
    assert 0 < capacity.free <= capacity.total <= 10 * 1024 * MiB


def test_the_name_of_every_length(driver: RbdDriver) -> None:
    add(driver, "x" * 900, b"bytes")
    assert listed(driver) == {"x" * 900: 5}
    with pytest.raises(exceptions.Invalid, match="bytes at most"):
        driver.locate("x" * 1025)
