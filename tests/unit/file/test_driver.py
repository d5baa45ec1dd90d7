# SPDX-License-Identifier: Apache-2.0
"""The file driver's own: traps, holes and properties."""

import contextlib
import errno
import logging
import os
import pathlib
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.file import FileDriver
from storefs.drivers.file import publish as file_publish
from tests.contract.harness import configured
from tests.contract.images import add, listed, read, write


def _driver(path: pathlib.Path | str, **options: Any) -> Any:
    return configured(FileDriver, filesystem_store_datadir=str(path), **options)


# -- traps


@pytest.fixture
def trapped(tmp_path: pathlib.Path) -> Any:
    """A data directory with everything that is no image."""
    datadir = tmp_path / "images"
    datadir.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (datadir / "link").symlink_to(tmp_path / "secret")
    (datadir / "dangling").symlink_to(tmp_path / "nothing")
    (datadir / "directory").mkdir()
    os.mkfifo(datadir / "fifo")
    return _driver(datadir)


TRAPS = ["link", "dangling", "directory", "fifo"]


def test_only_regular_files_are_listed(trapped: Any) -> None:
    assert listed(trapped) == {}


@pytest.mark.parametrize("name", TRAPS)
def test_only_regular_files_are_images(trapped: Any, name: str) -> None:
    for method in (trapped.stat, trapped.open, trapped.delete, trapped.properties):
        with pytest.raises(exceptions.NotFound):
            method(trapped.locate(name))


@pytest.mark.parametrize("name", TRAPS)
def test_what_is_no_image_takes_a_name_nonetheless(trapped: Any, name: str) -> None:
    with pytest.raises(exceptions.Duplicate):
        trapped.create(trapped.locate(name), None)


def test_replacing_a_link_does_not_follow_it(trapped: Any, tmp_path: pathlib.Path) -> None:
    add(trapped, "link", b"image", replace=True)
    assert (tmp_path / "secret").read_bytes() == b"secret"
    assert read(trapped, "link") == b"image"


def test_a_file_that_becomes_a_fifo_hangs_nobody(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = _driver(tmp_path)
    (tmp_path / "image").write_bytes(b"bytes")
    found = driver._find(driver.locate("image"))
    (tmp_path / "image").unlink()
    os.mkfifo(tmp_path / "image")
    monkeypatch.setattr(driver, "_find", lambda _location: found)
    with pytest.raises(exceptions.NotFound):
        driver.open(driver.locate("image"))


def test_no_uri_leads_out(tmp_path: pathlib.Path, trapped: Any) -> None:
    (tmp_path / "elsewhere").symlink_to(tmp_path / "images")
    add(trapped, "image", b"bytes")
    outside = [
        f"file://{tmp_path}/secret",
        f"file://{tmp_path}/images/../secret",
        f"file://{tmp_path}/images/directory/../../secret",
        f"file://{tmp_path}/images/..",
        f"file://{tmp_path}/images/",
        f"file://{tmp_path}/images/directory/image",
        f"file://{tmp_path}/images/.storefs-upload-1",
        "file://images/image",
        "file:///",
    ]
    for uri in outside:
        location = trapped.LOCATION(None)
        location.parse_uri(uri)
        for method in (trapped.stat, trapped.open, trapped.delete, trapped.properties):
            with pytest.raises(exceptions.BadStoreUri):
                method(location)
        with pytest.raises(exceptions.BadStoreUri):
            trapped.create(location, None)
        with pytest.raises(exceptions.BadStoreUri):
            trapped.rename(trapped.locate("image"), location)
    inside = trapped.LOCATION(None)
    inside.parse_uri(f"filesystem://{tmp_path}/elsewhere/image")
    assert trapped.stat(inside).size == 5


def test_names_of_temporaries_are_invalid(tmp_path: pathlib.Path) -> None:
    driver = _driver(tmp_path)
    for name in (".storefs-upload-1", ".storefs-", "\ud800"):
        with pytest.raises(exceptions.Invalid):
            driver.locate(name)


def test_a_name_too_long_is_invalid(tmp_path: pathlib.Path) -> None:
    driver = _driver(tmp_path)
    location = driver.locate("n" * 300)
    for call in (driver.stat, driver.open, driver.delete, lambda at: driver.create(at, None)):
        with pytest.raises(exceptions.Invalid):
            call(location)


def test_a_name_that_is_not_unicode_is_a_name(tmp_path: pathlib.Path) -> None:
    driver = _driver(tmp_path)
    (tmp_path / os.fsdecode(b"\xff\xfe")).write_bytes(b"bytes")
    assert listed(driver) == {os.fsdecode(b"\xff\xfe"): 5}
    assert read(driver, os.fsdecode(b"\xff\xfe")) == b"bytes"


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
def test_a_file_written_in_place_is_a_changed_image(tmp_path: pathlib.Path, change: str) -> None:
    driver = _driver(tmp_path)
    add(driver, "image", b"0123456789")
    location = driver.locate("image")
    driver.set_properties(location, {"mtime_ns": "1600000000000000000", "md5": "1"})
    with contextlib.closing(driver.open(location)) as reader:
        with open(tmp_path / "image", "r+b") as file:
            if change == "shrink":
                file.truncate(5)
            else:
                file.seek(0, os.SEEK_END if change == "grow" else os.SEEK_SET)
                file.write(b"changed")
        for offset in (0, 7):
            with pytest.raises(exceptions.ImageChanged):
                reader.pread(3, offset)
        assert driver.stat(location).version != reader.info.version
    assert "md5" not in driver.properties(location)
    driver.set_properties(location, {"mtime_ns": "1600000000000000000"})
    assert driver.properties(location) == {"mtime_ns": "1600000000000000000"}


def test_images_given_one_mtime_and_size_are_different_versions(tmp_path: pathlib.Path) -> None:
    """Even if the file system gives the second the inode of the first."""
    driver = _driver(tmp_path)
    versions = set()
    for data in (b"first", b"other", b"third"):
        writer = driver.create(driver.locate("image"), None, replace=True)
        write(writer, data)
        writer.stage({"mtime_ns": "1600000000000000000"})
        writer.commit(5)
        versions.add(driver.stat(driver.locate("image")).version)
    assert len(versions) == 3
    assert not any(version.endswith(f"{1600000000000000000:x}") for version in versions)


# -- holes


def test_thin_provisioning_leaves_holes(tmp_path: pathlib.Path) -> None:
    block = 64 * 1024
    data = bytes(10 * block) + b"\1" * block + bytes(5 * block) + b"\0\1" + bytes(20 * block)
    thick, thin = tmp_path / "thick", tmp_path / "thin"
    for directory, on in ((thick, False), (thin, True)):
        driver = _driver(directory, filesystem_thin_provisioning=on)
        add(driver, "image", data)
        assert read(driver, "image") == data
        info = driver.stat(driver.locate("image"))
        assert info.allocated == (directory / "image").stat().st_blocks * 512
    assert (thick / "image").stat().st_blocks * 512 >= len(data)
    assert (thin / "image").stat().st_blocks * 512 <= 2 * block + 4096


def test_all_zeros_take_no_space(tmp_path: pathlib.Path) -> None:
    driver = _driver(tmp_path, filesystem_thin_provisioning=True)
    add(driver, "image", bytes(9 << 20))
    assert driver.stat(driver.locate("image")).size == 9 << 20
    assert (tmp_path / "image").stat().st_blocks <= 8


def test_skipped_parts_are_holes_always(tmp_path: pathlib.Path) -> None:
    driver = _driver(tmp_path)
    writer = driver.create(driver.locate("image"), None)
    writer.skip(4 << 20, 0)
    writer.commit(4 << 20)
    assert read(driver, "image") == bytes(4 << 20)
    assert (tmp_path / "image").stat().st_blocks <= 8


@pytest.mark.parametrize("block", [1, 3, 4, 7, 100])
def test_runs_of_data_and_holes_make_up_the_whole(block: int) -> None:
    data = b"\0\0\0\0\1\0\0\0\0\0\0\2\2\2\2\0\0\0\0\0\0\0"
    rebuilt = bytearray(len(data))
    for piece, at in file_publish.data_runs(memoryview(data), block):
        rebuilt[at : at + len(piece)] = piece
        assert any(piece)
    assert bytes(rebuilt) == data


# -- properties


def test_hashes_are_kept_as_extended_attributes(tmp_path: pathlib.Path) -> None:
    add(_driver(tmp_path), "image", b"bytes")
    kept = os.getxattr(tmp_path / "image", "user.storefs.md5").decode()
    assert kept == "4b3a6218bb3e3a7303e8a171a60fcf92"
    assert _driver(tmp_path).properties(_driver(tmp_path).locate("image"))["md5"] == kept


def test_a_file_system_without_attributes_keeps_the_mtime(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_args: Any, **_more: Any) -> Any:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    for name in ("getxattr", "setxattr", "listxattr"):
        monkeypatch.setattr(os, name, unsupported)
    driver = _driver(tmp_path)
    add(driver, "image", b"bytes")
    location = driver.locate("image")
    reader = driver.open(location)
    driver.set_properties(location, {"md5": "1", "mtime_ns": "1600000000000000000"})
    assert reader.pread(10, 0) == b"bytes"
    os.utime(tmp_path / "image")
    with pytest.raises(exceptions.ImageChanged):
        reader.pread(10, 0)
    reader.close()
    driver.set_properties(location, {"mtime_ns": "1600000000000000000"})
    assert driver.properties(location) == {"mtime_ns": "1600000000000000000"}
    assert driver.stat(location).mtime_ns == 1600000000000000000
    assert read(driver, "image") == b"bytes"


def test_the_stamp_is_no_property(tmp_path: pathlib.Path) -> None:
    driver = _driver(tmp_path)
    add(driver, "image", b"bytes")
    location = driver.locate("image")
    assert "stamp" not in driver.properties(location)
    with pytest.raises(exceptions.Invalid):
        driver.set_properties(location, {"stamp": "1"})


@pytest.mark.parametrize("mtime_ns", [10**30, -(10**30)])
def test_an_mtime_no_file_can_have_is_invalid(tmp_path: pathlib.Path, mtime_ns: int) -> None:
    driver = _driver(tmp_path)
    add(driver, "image", b"bytes")
    with pytest.raises(exceptions.Invalid):
        driver.set_properties(driver.locate("image"), {"mtime_ns": str(mtime_ns)})


def test_nothing_is_logged_by_a_plain_start(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    add(_driver(tmp_path), "image", b"bytes")
    assert caplog.records == []
