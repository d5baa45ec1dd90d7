# SPDX-License-Identifier: Apache-2.0
"""The file driver over a full, a read-only, a failing and a simple file system."""

import errno
import os
import pathlib
import stat
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.file import FileDriver
from storefs.drivers.file import publish as file_publish
from tests.contract.harness import configured
from tests.contract.images import add, listed, pattern, read, write
from tests.mount.requirements import need_root

PART = 4 << 20


def _driver(path: pathlib.Path, **options: Any) -> Any:
    return configured(FileDriver, filesystem_store_datadir=str(path), **options)


# -- a full disk and a read-only one


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """An ext4 of its own, with some 12 MB free."""
    need_root()
    image, mountpoint = tmp_path / "disk", tmp_path / "mnt"
    mountpoint.mkdir()
    subprocess.run(["mke2fs", "-q", "-t", "ext4", image, "16M"], check=True)
    subprocess.run(["mount", "-o", "loop", image, mountpoint], check=True)
    try:
        yield mountpoint
    finally:
        subprocess.run(["umount", mountpoint], check=True)


def test_a_disk_that_is_full_in_the_middle(small_disk: pathlib.Path) -> None:
    driver = _driver(small_disk / "images")
    add(driver, "first", b"first")
    free = driver.capacity().free
    data = pattern(5 * PART)
    with pytest.raises(exceptions.StorageFull) as caught:
        add(driver, "image", data)
    assert isinstance(caught.value.__cause__, OSError)
    assert listed(driver) == {"first": 5}
    assert os.listdir(small_disk / "images") == ["first"]
    os.sync()
    assert driver.capacity().free == free
    add(driver, "image", data[:PART])
    assert read(driver, "image") == data[:PART]


def test_a_size_told_beforehand_is_refused_before_a_byte(small_disk: pathlib.Path) -> None:
    driver = _driver(small_disk)
    with pytest.raises(exceptions.StorageFull):
        driver.create(driver.locate("image"), 5 * PART)


def test_an_image_goes_where_it_fits(small_disk: pathlib.Path, tmp_path: pathlib.Path) -> None:
    roomy = tmp_path / "roomy"
    datadirs = [f"{small_disk}:2", f"{roomy}:1"]
    driver = configured(FileDriver, filesystem_store_datadirs=datadirs)
    add(driver, "small", b"bytes", size=5)
    add(driver, "large", pattern(5 * PART), size=5 * PART)
    assert (small_disk / "small").exists()
    assert (roomy / "large").exists()
    total = sum(os.statvfs(d).f_blocks * os.statvfs(d).f_frsize for d in (small_disk, roomy))
    assert driver.capacity().total == total


def test_of_equal_priority_the_emptiest_is_chosen(
    small_disk: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    roomy = tmp_path / "roomy"
    driver = configured(FileDriver, filesystem_store_datadirs=[str(small_disk), str(roomy)])
    add(driver, "image", b"bytes")
    assert (roomy / "image").exists()


def test_a_read_only_disk_can_be_read(small_disk: pathlib.Path) -> None:
    add(_driver(small_disk), "image", b"bytes")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    driver = _driver(small_disk)
    assert str(small_disk) in driver.writable
    assert read(driver, "image") == b"bytes"
    with pytest.raises(exceptions.StoreAddDisabled, match=str(small_disk)):
        driver.create(driver.locate("other"), None)
    with pytest.raises(exceptions.Forbidden):
        driver.delete(driver.locate("image"))


def test_a_disk_that_becomes_read_only_denies_writing(small_disk: pathlib.Path) -> None:
    driver = _driver(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(exceptions.StorageWriteDenied):
        driver.create(driver.locate("image"), None)


# -- errors of the system


def _failing(number: int) -> Callable[..., Any]:
    def fail(*_args: Any, **_more: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, exceptions.StorageFull),
        (errno.EDQUOT, exceptions.StorageFull),
        (errno.EFBIG, exceptions.StorageFull),
        (errno.EACCES, exceptions.StorageWriteDenied),
        (errno.EPERM, exceptions.StorageWriteDenied),
        (errno.EROFS, exceptions.StorageWriteDenied),
        (errno.ESTALE, exceptions.ImageChanged),
        (errno.EIO, exceptions.BackendException),
    ],
)
@pytest.mark.parametrize("function", ["pwrite", "fsync", "ftruncate", "fstat"])
def test_what_an_error_is_called(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    number: int,
    expected: type[Exception],
) -> None:
    driver = _driver(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, function, _failing(number))
        with pytest.raises(expected) as caught:
            add(driver, "image", b"bytes")
    assert isinstance(caught.value.__cause__, OSError)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EBUSY, exceptions.InUseByStore),
        (errno.EACCES, exceptions.Forbidden),
        (errno.EIO, exceptions.Forbidden),
        (errno.ENOENT, exceptions.NotFound),
    ],
)
def test_what_an_error_of_deleting_is_called(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    expected: type[Exception],
) -> None:
    driver = _driver(tmp_path)
    add(driver, "image", b"bytes")
    monkeypatch.setattr(os, "unlink", _failing(number))
    with pytest.raises(expected):
        driver.delete(driver.locate("image"))


# -- file systems that lack something


@pytest.mark.parametrize("renameat2", [True, False])
def test_without_hard_links_nothing_is_overwritten(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, renameat2: bool
) -> None:
    monkeypatch.setattr(os, "link", _failing(errno.EPERM))
    if not renameat2:
        monkeypatch.setattr(file_publish, "_libc", lambda _name: None)
    driver = _driver(tmp_path)
    late = driver.create(driver.locate("image"), None)
    write(late, b"late")
    add(driver, "image", b"early")
    with pytest.raises(exceptions.Duplicate):
        late.commit(4)
    late.abort()
    assert read(driver, "image") == b"early"
    assert os.listdir(tmp_path) == ["image"]


def test_a_rename_that_does_not_replace(tmp_path: pathlib.Path) -> None:
    """The real renameat2(2), which the fall-back rests on."""
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises(FileExistsError):
        file_publish._rename_noreplace(str(tmp_path / "a"), str(tmp_path / "b"))
    assert file_publish._rename_noreplace(str(tmp_path / "a"), str(tmp_path / "c"))
    assert sorted(os.listdir(tmp_path)) == ["b", "c"]


def test_a_name_that_cannot_be_made_durable_is_taken_back(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_for_directories(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail_for_directories)
    with pytest.raises(exceptions.BackendException):
        add(_driver(tmp_path), "image", b"bytes")
    assert os.listdir(tmp_path) == []


def test_a_directory_that_cannot_be_synchronized_will_do(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _failing(errno.EINVAL))
    file_publish.sync_directory(str(tmp_path))
    monkeypatch.setattr(os, "fsync", _failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        file_publish.sync_directory(str(tmp_path))
