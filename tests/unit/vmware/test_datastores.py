# SPDX-License-Identifier: Apache-2.0
"""Which datastore an image goes to, and that it is found in any."""

import dataclasses

import pytest

from storefs import exceptions
from storefs.drivers.base import Capacity
from storefs.drivers.vmware import VmwareDriver
from storefs.drivers.vmware.datastores import Datastore, choose, datastores_of
from tests.contract.images import add, listed, read
from tests.servers.vcsim import ImageDirectory
from tests.unit.vmware.conftest import Make


@dataclasses.dataclass
class Place:
    """A datastore with free space of the test's choice: vcsim's is a constant."""

    datastore: Datastore
    free: int

    def space(self) -> Capacity:
        return Capacity(1000, self.free)


def _place(name: str, weight: int, free: int) -> Place:
    return Place(Datastore("DC0", name, weight), free)


@pytest.mark.parametrize(
    ("size", "chosen"),
    [(10, "heavy"), (100, "heavy"), (101, "roomy"), (None, "heavy"), (500, "roomy")],
)
def test_the_heaviest_with_room_and_then_the_roomiest(size: int | None, chosen: str) -> None:
    places = [
        _place("small", 0, 200),
        _place("roomy", 0, 500),
        _place("heavy", 9, 100),
        _place("full", 9, 0),
    ]
    assert choose(places, size).datastore.name == chosen


@pytest.mark.parametrize("size", [501, None])
def test_no_room_anywhere_is_said(size: int | None) -> None:
    places = [_place("a", 1, 0), _place("b", 0, 0 if size is None else 500)]
    with pytest.raises(exceptions.StorageFull, match="DC0:a, DC0:b"):
        choose(places, size)


def test_entries_are_glance_s() -> None:
    found = datastores_of(["/dc/path/:ds", " DC0 : other store : 7 ", "DC0:third:"])
    assert found == [
        Datastore("DC0", "other store", 7),
        Datastore("dc/path", "ds", 0),
        Datastore("DC0", "third", 0),
    ]


@pytest.mark.parametrize(
    "entries", [[], [""], ["DC0"], [":ds"], ["DC0:"], ["DC0:ds:heavy"], ["a:b:1", "a:b:2"]]
)
def test_entries_that_make_no_sense_are_refused(entries: list[str]) -> None:
    with pytest.raises(ValueError, match=r"not set|is not|no number|twice"):
        datastores_of(entries)


@pytest.fixture
def weighted(make: Make) -> VmwareDriver:
    return make(vmware_datastores=["DC0:LocalDS_0:1", "DC0:LocalDS_1:2"])


def test_the_heavier_datastore_takes_the_image(
    weighted: VmwareDriver, images: ImageDirectory
) -> None:
    add(weighted, "image", b"bytes")
    assert images.path("image", "LocalDS_1").read_bytes() == b"bytes"
    assert not images.path("image", "LocalDS_0").exists()


def test_an_image_is_found_in_whichever_datastore_and_its_location_says_so(
    weighted: VmwareDriver, images: ImageDirectory
) -> None:
    images.put("image", b"bytes", "LocalDS_0")
    location = weighted.locate("image")
    assert weighted.stat(location).size == 5
    assert location.datastore == "LocalDS_0"
    assert read(weighted, "image") == b"bytes"
    with pytest.raises(exceptions.Duplicate):
        add(weighted, "image", b"other")


def test_an_image_that_came_to_another_datastore_meanwhile_is_a_duplicate(
    weighted: VmwareDriver, images: ImageDirectory
) -> None:
    writer = weighted.create(weighted.locate("image"), None)
    writer.pwrite(memoryview(b"late"), 0)
    images.put("image", b"early", "LocalDS_0")
    with pytest.raises(exceptions.Duplicate):
        writer.commit(4)
    writer.abort()
    assert read(weighted, "image") == b"early"
    assert images.files() == ["image"]


def test_a_replacement_stays_where_the_image_is(
    weighted: VmwareDriver, images: ImageDirectory
) -> None:
    images.put("image", b"old", "LocalDS_0")
    add(weighted, "image", b"newer", replace=True)
    assert images.path("image", "LocalDS_0").read_bytes() == b"newer"
    assert not images.path("image", "LocalDS_1").exists()


def test_an_image_in_both_is_listed_once_and_deleted_in_both(
    weighted: VmwareDriver, images: ImageDirectory
) -> None:
    images.put("image", b"light", "LocalDS_0")
    images.put("image", b"heavier", "LocalDS_1")
    assert listed(weighted) == {"image": 7}
    assert read(weighted, "image") == b"heavier"
    weighted.delete(weighted.locate("image"))
    assert images.files() == []


def test_a_rename_stays_in_the_datastore_and_replaces_in_all(
    weighted: VmwareDriver, images: ImageDirectory
) -> None:
    images.put("source", b"source", "LocalDS_0")
    images.put("target", b"target", "LocalDS_1")
    weighted.rename(weighted.locate("source"), weighted.locate("target"))
    assert listed(weighted) == {"target": 6}
    assert images.path("target", "LocalDS_0").read_bytes() == b"source"
    assert images.files() == ["target"]


def test_more_than_any_datastore_holds_is_storage_full(driver: VmwareDriver) -> None:
    with pytest.raises(exceptions.StorageFull, match="DC0:LocalDS_0"):
        driver.create(driver.locate("image"), 1 << 60)


@pytest.mark.parametrize("entry", ["DC0:nowhere", "DC7:LocalDS_0"])
def test_a_datastore_that_is_not_there_is_named(make: Make, entry: str) -> None:
    driver = make(vmware_datastores=[entry])
    with pytest.raises(exceptions.BadStoreConfiguration, match="check vmware_datastores"):
        list(driver.list())
    with pytest.raises(exceptions.BadStoreConfiguration, match="check vmware_datastores"):
        driver.capacity()


def test_folders_are_no_images(driver: VmwareDriver, images: ImageDirectory) -> None:
    images.path("folder").mkdir(parents=True)
    (images.path("folder") / "machine.vmdk").write_bytes(b"disk")
    assert listed(driver) == {}
    for function in (driver.stat, driver.open, driver.delete):
        with pytest.raises(exceptions.NotFound):
            function(driver.locate("folder"))
    assert (images.path("folder") / "machine.vmdk").exists()
