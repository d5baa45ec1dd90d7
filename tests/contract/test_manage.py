# SPDX-License-Identifier: Apache-2.0
"""Listing, deleting, renaming, copying, properties and capacity."""

import contextlib
import itertools
from collections.abc import Iterator

import pytest

from storefs import exceptions
from storefs.drivers.base import (
    SupportsAdd,
    SupportsCapacity,
    SupportsCopy,
    SupportsDelete,
    SupportsList,
    SupportsProperties,
    SupportsRename,
)
from tests.contract.harness import Harness
from tests.contract.images import add, listed, pattern, read


@pytest.mark.needs.with_args(SupportsList)
def test_an_empty_store_lists_nothing(harness: Harness) -> None:
    assert listed(harness.driver) == {}


@pytest.mark.needs.with_args(SupportsList)
def test_a_thousand_and_one_images_are_listed_lazily(harness: Harness) -> None:
    for number in range(1001):
        harness.seed(f"image-{number}", b"x" * (number % 7))
    listing = harness.driver.list()
    assert isinstance(listing, Iterator)
    assert len(list(itertools.islice(listing, 3))) == 3
    expected = {f"image-{n}": n % 7 for n in range(1001)}
    found = listed(harness.driver)
    assert found.keys() == expected.keys()
    assert all(size in {expected[name], None} for name, size in found.items())


@pytest.mark.needs.with_args(SupportsList)
def test_a_listing_knows_what_stat_knows(harness: Harness) -> None:
    harness.seed("image", b"bytes")
    (info,) = harness.driver.list()
    known = harness.driver.stat(harness.driver.locate("image"))
    assert info.image_id == known.image_id
    assert info.size in {known.size, None}
    assert info.version in {known.version, ""}


@pytest.mark.needs.with_args(SupportsDelete)
def test_deleting_what_is_missing_is_not_found(harness: Harness) -> None:
    with pytest.raises(exceptions.NotFound):
        harness.driver.delete(harness.driver.locate("nowhere"))


@pytest.mark.needs.with_args(SupportsDelete)
def test_what_was_deleted_is_gone(harness: Harness) -> None:
    harness.seed("image", b"bytes")
    harness.seed("other", b"other")
    harness.driver.delete(harness.driver.locate("image"))
    with pytest.raises(exceptions.NotFound):
        harness.driver.stat(harness.driver.locate("image"))
    with pytest.raises(exceptions.NotFound):
        harness.driver.delete(harness.driver.locate("image"))
    assert read(harness.driver, "other") == b"other"


@pytest.mark.needs.with_args(SupportsDelete)
def test_who_has_a_deleted_image_open_goes_on_or_is_told(harness: Harness) -> None:
    data = pattern(3000)
    harness.seed("image", data)
    with contextlib.closing(harness.driver.open(harness.driver.locate("image"))) as reader:
        harness.driver.delete(harness.driver.locate("image"))
        with contextlib.suppress(exceptions.ImageChanged, exceptions.NotFound):
            assert bytes(reader.pread(3000, 0)) == data


@pytest.mark.needs.with_args(SupportsAdd, SupportsDelete)
def test_a_deleted_name_is_free(harness: Harness) -> None:
    add(harness.driver, "image", b"first")
    first = harness.driver.stat(harness.driver.locate("image")).version
    harness.driver.delete(harness.driver.locate("image"))
    add(harness.driver, "image", b"again")
    assert read(harness.driver, "image") == b"again"
    assert harness.driver.stat(harness.driver.locate("image")).version != first


@pytest.mark.needs.with_args(SupportsRename)
def test_renaming_what_is_missing_is_not_found(harness: Harness) -> None:
    harness.seed("target", b"stays")
    with pytest.raises(exceptions.NotFound):
        harness.driver.rename(harness.driver.locate("nowhere"), harness.driver.locate("target"))
    assert read(harness.driver, "target") == b"stays"


@pytest.mark.needs.with_args(SupportsRename)
@pytest.mark.parametrize("taken", [True, False], ids=["replacing", "new name"])
def test_a_renamed_image_has_the_other_name_alone(harness: Harness, taken: bool) -> None:
    harness.seed("source", b"source")
    if taken:
        harness.seed("target", b"target")
    harness.driver.rename(harness.driver.locate("source"), harness.driver.locate("target"))
    assert read(harness.driver, "target") == b"source"
    with pytest.raises(exceptions.NotFound):
        harness.driver.stat(harness.driver.locate("source"))


@pytest.mark.needs.with_args(SupportsRename)
def test_renaming_to_the_same_name_changes_nothing(harness: Harness) -> None:
    harness.seed("image", b"bytes")
    harness.driver.rename(harness.driver.locate("image"), harness.driver.locate("image"))
    assert read(harness.driver, "image") == b"bytes"


@pytest.mark.needs.with_args(SupportsCopy)
def test_copying_what_is_missing_is_not_found(harness: Harness) -> None:
    with pytest.raises(exceptions.NotFound):
        harness.driver.copy(harness.driver.locate("nowhere"), harness.driver.locate("target"))


@pytest.mark.needs.with_args(SupportsCopy)
@pytest.mark.parametrize("taken", [True, False], ids=["replacing", "new name"])
def test_a_copy_is_an_image_of_its_own(harness: Harness, taken: bool) -> None:
    harness.seed("source", b"source")
    if taken:
        harness.seed("target", b"target")
    harness.driver.copy(harness.driver.locate("source"), harness.driver.locate("target"))
    harness.replace("source", b"changed")
    assert read(harness.driver, "target") == b"source"
    assert read(harness.driver, "source") == b"changed"


@pytest.mark.needs.with_args(SupportsProperties)
def test_properties_are_kept_and_merged(harness: Harness) -> None:
    harness.seed("image", b"bytes")
    location = harness.driver.locate("image")
    harness.driver.set_properties(location, {"md5": "1", "os_hash_algo": "sha512"})
    harness.driver.set_properties(location, {"md5": "2"})
    kept = harness.driver.properties(location)
    assert (kept["md5"], kept["os_hash_algo"]) == ("2", "sha512")


@pytest.mark.needs.with_args(SupportsProperties)
def test_the_mtime_can_be_set_and_the_version_stays(harness: Harness) -> None:
    harness.seed("image", pattern(3000))
    location = harness.driver.locate("image")
    before = harness.driver.stat(location)
    with contextlib.closing(harness.driver.open(location)) as reader:
        for second in range(1_600_000_000, 1_600_000_003):
            harness.driver.set_properties(location, {"mtime_ns": str(second * 10**9)})
            after = harness.driver.stat(location)
            assert after.mtime_ns == second * 10**9
            assert after.version == before.version
            assert harness.driver.properties(location)["mtime_ns"] == str(second * 10**9)
            assert bytes(reader.pread(3000, 0)) == pattern(3000)


@pytest.mark.needs.with_args(SupportsProperties)
def test_the_hashes_stay_when_the_mtime_is_set(harness: Harness) -> None:
    harness.seed("image", b"bytes")
    location = harness.driver.locate("image")
    harness.driver.set_properties(location, {"md5": "1"})
    harness.driver.set_properties(location, {"mtime_ns": "1600000000000000000"})
    assert harness.driver.properties(location)["md5"] == "1"


@pytest.mark.needs.with_args(SupportsProperties)
def test_another_version_does_not_inherit_the_hashes(harness: Harness) -> None:
    harness.seed("image", b"bytes")
    location = harness.driver.locate("image")
    harness.driver.set_properties(location, {"md5": "1"})
    harness.replace("image", b"other")
    assert "md5" not in harness.driver.properties(location)


@pytest.mark.needs.with_args(SupportsProperties)
def test_an_mtime_that_is_no_number_is_invalid(harness: Harness) -> None:
    harness.seed("image", b"bytes")
    with pytest.raises(exceptions.Invalid):
        harness.driver.set_properties(harness.driver.locate("image"), {"mtime_ns": "yesterday"})


@pytest.mark.needs.with_args(SupportsProperties)
def test_a_missing_image_has_no_properties(harness: Harness) -> None:
    location = harness.driver.locate("nowhere")
    with pytest.raises(exceptions.NotFound):
        harness.driver.properties(location)
    with pytest.raises(exceptions.NotFound):
        harness.driver.set_properties(location, {"md5": "1"})


@pytest.mark.needs.with_args(SupportsAdd, SupportsProperties)
def test_an_added_image_has_an_mtime(harness: Harness) -> None:
    writer = harness.driver.create(harness.driver.locate("image"), None)
    writer.pwrite(memoryview(b"bytes"), 0)
    staged = writer.stage({"mtime_ns": "1600000000123456789"})
    writer.commit(5)
    mtime_ns = harness.driver.stat(harness.driver.locate("image")).mtime_ns
    assert mtime_ns == 1600000000123456789 if staged else mtime_ns > 1600000000123456789


@pytest.mark.needs.with_args(SupportsCapacity)
def test_free_is_part_of_the_total(harness: Harness) -> None:
    capacity = harness.driver.capacity()
    assert 0 <= capacity.free <= capacity.total
    assert capacity.total > 0
