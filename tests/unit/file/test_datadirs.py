# SPDX-License-Identifier: Apache-2.0
"""The file driver's configuration: its directories, permissions and metadata."""

import json
import os
import pathlib
import stat
from collections.abc import Mapping
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.file import FileDriver
from tests.contract.harness import configured
from tests.contract.images import add, listed, read, write


def _driver(path: pathlib.Path | str, **options: Any) -> Any:
    return configured(FileDriver, filesystem_store_datadir=str(path), **options)


def _driver_of(*datadirs: str, **options: Any) -> Any:
    return configured(FileDriver, filesystem_store_datadirs=list(datadirs), **options)


@pytest.fixture
def two(tmp_path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Two data directories."""
    high, low = tmp_path / "high", tmp_path / "low"
    high.mkdir()
    low.mkdir()
    return high, low


# -- data directories


def test_the_data_directory_is_made(tmp_path: pathlib.Path) -> None:
    driver = _driver(tmp_path / "a" / "b")
    add(driver, "image", b"bytes")
    assert (tmp_path / "a" / "b" / "image").read_bytes() == b"bytes"
    assert driver.url_prefix == f"file://{tmp_path}/a/b"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"filesystem_store_datadir": ""}, "set filesystem_store_datadir"),
        ({"filesystem_store_datadir": "/x", "filesystem_store_datadirs": ["/y"]}, "not both"),
        ({"filesystem_store_datadirs": ["/x:1", "/x:2"]}, "/x two priorities"),
        ({"filesystem_store_datadirs": ["/x:high"]}, "'/x:high' is no number"),
        ({"filesystem_store_datadirs": [":1"]}, "no path in ':1'"),
        ({"filesystem_store_datadir": "/dev/null/x"}, "/dev/null/x cannot be used"),
        ({"filesystem_store_file_perm": 689}, "689 are no octal"),
        ({"filesystem_store_file_perm": 7777}, "7777 are no octal"),
        ({"filesystem_store_file_perm": 60}, "does not let the owner read"),
    ],
)
def test_a_bad_configuration_says_which_option(
    options: Mapping[str, Any], reason: str, tmp_path: pathlib.Path
) -> None:
    options = {"filesystem_store_datadir": str(tmp_path), **options}
    if "filesystem_store_datadirs" in options and options["filesystem_store_datadir"] != "/x":
        del options["filesystem_store_datadir"]
    with pytest.raises(exceptions.BadStoreConfiguration, match=reason):
        configured(FileDriver, **options)


def test_a_directory_named_twice_with_one_priority_is_a_warning(
    tmp_path: pathlib.Path, expect_log: Any
) -> None:
    add(_driver_of(f"{tmp_path}:5", f"{tmp_path}/:5"), "image", b"bytes")
    expect_log(f"names {tmp_path} twice")


def test_the_highest_priority_with_room_is_chosen(two: Any) -> None:
    high, low = two
    driver = _driver_of(f"{low}:1", f"{high}:2")
    location = driver.locate("image")
    writer = driver.create(location, 5)
    write(writer, b"bytes")
    writer.commit(5)
    assert (high / "image").exists()
    assert location.get_uri() == f"file://{high}/image"


def test_an_image_that_fits_nowhere_is_refused_at_once(two: Any) -> None:
    driver = _driver_of(*map(str, two))
    with pytest.raises(exceptions.StorageFull, match=str(two[0])):
        driver.create(driver.locate("image"), 1 << 60)
    assert os.listdir(two[0]) == os.listdir(two[1]) == []


def test_an_image_is_found_in_any_directory(two: Any) -> None:
    high, low = two
    driver = _driver_of(f"{high}:2", f"{low}:1")
    (low / "image").write_bytes(b"low")
    assert read(driver, "image") == b"low"
    with pytest.raises(exceptions.Duplicate):
        driver.create(driver.locate("image"), None)
    driver.delete(driver.locate("image"))
    assert not (low / "image").exists()


def test_an_image_in_two_directories_is_one_image(two: Any) -> None:
    high, low = two
    driver = _driver_of(f"{high}:2", f"{low}:1")
    (high / "image").write_bytes(b"high")
    (low / "image").write_bytes(b"lower")
    assert listed(driver) == {"image": 4}
    assert read(driver, "image") == b"high"


@pytest.mark.parametrize("where", [0, 1])
def test_a_replaced_image_does_not_remain_in_the_other_directory(two: Any, where: int) -> None:
    driver = _driver_of(f"{two[0]}:2", f"{two[1]}:1")
    for directory in (two[where], two[1]):
        (directory / "image").write_bytes(b"old")
    add(driver, "image", b"new", replace=True)
    assert read(driver, "image") == b"new"
    assert [(d / "image").exists() for d in two].count(True) == 1


@pytest.mark.parametrize("where", [0, 1])
def test_a_rename_replaces_the_target_in_the_other_directory(two: Any, where: int) -> None:
    driver = _driver_of(f"{two[0]}:2", f"{two[1]}:1")
    (two[where] / "source").write_bytes(b"source")
    (two[1 - where] / "target").write_bytes(b"target")
    driver.rename(driver.locate("source"), driver.locate("target"))
    assert read(driver, "target") == b"source"
    assert listed(driver) == {"target": 6}
    driver.delete(driver.locate("target"))
    assert listed(driver) == {}


def test_two_that_commit_in_two_directories_do_not_both_win(two: Any) -> None:
    driver = _driver_of(f"{two[0]}:2", f"{two[1]}:1")
    first = driver.create(driver.locate("image"), None)
    other = _driver_of(f"{two[1]}:2", f"{two[0]}:1")
    second = other.create(other.locate("image"), None)
    first.commit(0)
    with pytest.raises(exceptions.Duplicate):
        second.commit(0)
    assert os.listdir(two[1]) == []


def test_capacity_counts_a_file_system_once(two: Any) -> None:
    one, both = _driver(two[0]).capacity(), _driver_of(*map(str, two)).capacity()
    assert both.total == one.total == os.statvfs(two[0]).f_blocks * os.statvfs(two[0]).f_frsize


# -- permissions and metadata


@pytest.mark.parametrize(
    ("perm", "file_mode", "dir_mode"),
    [(640, 0o640, 0o710), (644, 0o644, 0o711), (600, 0o600, 0o700), (0, 0o604, 0o700)],
)
def test_permissions(tmp_path: pathlib.Path, perm: int, file_mode: int, dir_mode: int) -> None:
    tmp_path.chmod(0o700)
    before = os.umask(0o062)
    try:
        add(_driver(tmp_path, filesystem_store_file_perm=perm), "image", b"bytes")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "image").stat().st_mode) == file_mode
    assert stat.S_IMODE(tmp_path.stat().st_mode) == dir_mode


def _metadata_driver(tmp_path: pathlib.Path, content: str) -> Any:
    (tmp_path / "metadata.json").write_text(content)
    return _driver(
        tmp_path / "images", filesystem_store_metadata_file=str(tmp_path / "metadata.json")
    )


def test_the_metadata_of_the_mount_an_image_lies_in(tmp_path: pathlib.Path) -> None:
    entries = [
        {"id": "near", "mountpoint": f"{tmp_path}/images"},
        {"id": "far", "mountpoint": f"{tmp_path}"},
        {"id": "namesake", "mountpoint": f"{tmp_path}/im"},
    ]
    driver = _metadata_driver(tmp_path, json.dumps(entries))
    metadata = driver.location_metadata(driver.locate("image"))
    assert metadata == entries[0]
    metadata["store"] = "changed"
    assert driver.location_metadata(driver.locate("image")) == entries[0]


def test_the_metadata_of_another_mount_is_none(tmp_path: pathlib.Path) -> None:
    driver = _metadata_driver(tmp_path, json.dumps({"id": "x", "mountpoint": "/elsewhere"}))
    assert driver.location_metadata(driver.locate("image")) == {}


@pytest.mark.parametrize("content", ["", "3", '{"id": "x"}', '[{"id": 1, "mountpoint": "/"}]'])
def test_a_bad_metadata_file_is_a_bad_configuration(tmp_path: pathlib.Path, content: str) -> None:
    with pytest.raises(exceptions.BadStoreConfiguration, match=r"metadata\.json"):
        _metadata_driver(tmp_path, content)
