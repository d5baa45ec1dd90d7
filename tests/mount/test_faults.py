# SPDX-License-Identifier: Apache-2.0
"""Every exception a driver may raise, through the kernel: its errno, one log line, no harm."""

import errno
import inspect
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storefs import exceptions
from storefs.fuse.errno import ERRNO, errno_of
from tests.mount.mounting import Mount, mounted
from tests.mount.requirements import need_fuse
from tests.mount.tools import MiB, data

PLUGIN = Path(__file__).parent / "plugin"

BYTES = data(3 * MiB + 5)

#: What the table is meant to say, written down a second time.
INTENDED = {
    "NotFound": errno.ENOENT,
    "Duplicate": errno.EEXIST,
    "Forbidden": errno.EACCES,
    "StorageWriteDenied": errno.EACCES,
    "NotAuthenticated": errno.EACCES,
    "AuthorizationFailure": errno.EACCES,
    "AuthorizationRedirect": errno.EACCES,
    "AuthBadRequest": errno.EACCES,
    "AuthUrlNotFound": errno.EACCES,
    "BadAuthStrategy": errno.EACCES,
    "MissingCredentialError": errno.EACCES,
    "StoreGetNotSupported": errno.EACCES,
    "StoreRandomGetNotSupported": errno.ESPIPE,
    "ImageImmutable": errno.EPERM,
    "StoreDeleteNotSupported": errno.EPERM,
    "StoreAddDisabled": errno.EROFS,
    "StorageFull": errno.ENOSPC,
    "ImageTooLarge": errno.EFBIG,
    "Invalid": errno.EINVAL,
    "UnsupportedWrite": errno.EINVAL,
    "BadStoreUri": errno.EINVAL,
    "UnknownScheme": errno.EINVAL,
    "UnknownHashingAlgo": errno.EINVAL,
    "ImageChanged": errno.ESTALE,
    "HasSnapshot": errno.EBUSY,
    "InUseByStore": errno.EBUSY,
    "MaxRedirectsExceeded": errno.ELOOP,
    "TimeoutError": errno.ETIMEDOUT,
    "RemoteServiceUnavailable": errno.EREMOTEIO,
    "NoServiceEndpoint": errno.EREMOTEIO,
    "RegionAmbiguity": errno.EREMOTEIO,
    "BadStoreConfiguration": errno.EIO,
    "DriverLoadFailure": errno.EIO,
    "HostNotInitialized": errno.EIO,
    "RedirectException": errno.EIO,
    "BackendException": errno.EIO,
    "UnsupportedBackend": errno.EIO,
    "GlanceStoreException": errno.EIO,
}

#: Errors of a driver with a fault of its own; nothing of it may end the mount.
BUGS = {"ValueError": errno.EIO, "MemoryError": errno.ENOMEM, "ZeroDivisionError": errno.EIO}

#: errnos that are answers and are not logged.
QUIET = {errno.ENOENT, errno.EEXIST, errno.ESTALE}


def test_every_exception_has_an_intended_errno() -> None:
    classes = {
        name
        for name, value in vars(exceptions).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert classes == set(INTENDED)


@pytest.mark.parametrize("name", INTENDED)
def test_errno_of_each(name: str) -> None:
    cls = getattr(exceptions, name)
    error = cls("http://localhost/")
    assert errno.errorcode[errno_of(error)] == errno.errorcode[INTENDED[name]]


def test_an_os_error_keeps_its_errno_and_anything_else_is_eio() -> None:
    assert errno_of(OSError(errno.ENAMETOOLONG, "too long")) == errno.ENAMETOOLONG
    assert errno_of(OSError("without a number")) == errno.EIO
    assert errno_of(KeyError("a bug")) == errno.EIO
    assert all(number in errno.errorcode for number in ERRNO.values())


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    """A mount of the driver in plugin/, with a file store beside it."""
    need_fuse()
    mount = Mount(
        tmp_path_factory.mktemp("faulty"),
        {"faulty": "faulty", "shared": "file"},
        options={"attribute_timeout": 0},
        environment={"PYTHONPATH": str(PLUGIN)},
    )
    with mounted(mount):
        yield mount


@pytest.fixture
def faulty(standing: Mount) -> Iterator[Mount]:
    """The same, with its log checked after the test, and still alive."""
    yield standing
    assert standing.running
    standing.check_log()
    assert standing.temporaries() == []


def refused(mount: Mount, operation: str, name: str, number: int) -> Callable[..., None]:
    """Something that checks that a call fails with *number* and is logged, once."""

    def check(call: Callable[..., object], *args: object) -> None:
        with pytest.raises(OSError) as caught:
            call(*args)
        assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[number]
        if number not in QUIET:
            mount.expect_log(f"{operation} faulty/{name}: ")
            assert mount.log_count(f"{operation} faulty/{name}: ") == 1

    return check


@pytest.mark.parametrize(("error", "number"), (INTENDED | BUGS).items())
def test_error_at_open(faulty: Mount, error: str, number: int) -> None:
    image = faulty / "faulty" / f"open-{error}"
    image.write_bytes(BYTES)
    refused(faulty, "open", image.name, number)(image.read_bytes)


@pytest.mark.parametrize(("error", "number"), (INTENDED | BUGS).items())
def test_error_in_a_read(faulty: Mount, error: str, number: int) -> None:
    image = faulty / "faulty" / f"pread-{error}"
    image.write_bytes(BYTES)
    # past the page cache, which asks again for a page that failed
    descriptor = os.open(image, os.O_RDONLY | os.O_DIRECT)
    page = mmap.mmap(-1, 4096)
    try:
        refused(faulty, "read", image.name, number)(os.preadv, descriptor, [page], 0)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("call", ["create", "pwrite", "commit"])
@pytest.mark.parametrize("error", ["StorageFull", "Forbidden", "TimeoutError", "ValueError"])
def test_error_while_writing_reaches_the_writer(faulty: Mount, call: str, error: str) -> None:
    """At write, fsync or close, whichever comes next; the image is not there."""
    image = faulty / "faulty" / f"{call}-{error}"
    number = (INTENDED | BUGS)[error]
    faulty.expect_log(f"(write|flush) faulty/{image.name}: ")
    with pytest.raises(OSError) as caught:
        image.write_bytes(BYTES)
    assert caught.value.errno == number
    assert not image.exists()
    assert image.name not in os.listdir(faulty / "faulty")
    assert faulty.log_count(f"faulty/{image.name}: ") == 1


def test_error_in_the_clean_up_does_not_hide_the_first(faulty: Mount) -> None:
    image = faulty / "faulty" / "abort-ValueError"
    descriptor = os.open(image, os.O_WRONLY | os.O_CREAT)
    for _ in range(2):  # more than is kept in memory
        os.write(descriptor, BYTES)
    faulty.expect_log("write faulty/abort-ValueError: .*from start to end")
    faulty.expect_log("abort-ValueError: what was stored of it may be left behind")
    with pytest.raises(OSError) as caught:
        os.pwrite(descriptor, b"header", 0)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(OSError):
        os.close(descriptor)
    assert not image.exists()


@pytest.mark.parametrize(
    ("error", "number"),
    [("InUseByStore", errno.EBUSY), ("HasSnapshot", errno.EBUSY), ("Forbidden", errno.EACCES)],
)
def test_error_while_deleting_keeps_the_image(faulty: Mount, error: str, number: int) -> None:
    image = faulty / "faulty" / f"delete-{error}"
    image.write_bytes(BYTES)
    refused(faulty, "unlink", image.name, number)(os.unlink, image)
    assert image.read_bytes() == BYTES


def test_error_while_renaming_keeps_the_image(faulty: Mount) -> None:
    image = faulty / "faulty" / "rename-StorageFull"
    image.write_bytes(BYTES)
    check = refused(faulty, "rename", image.name, errno.ENOSPC)
    check(os.rename, image, faulty / "faulty" / "other")
    assert image.read_bytes() == BYTES
    assert not (faulty / "faulty" / "other").exists()


def test_error_at_the_look_up_of_a_name_nobody_knows(faulty: Mount) -> None:
    image = faulty / "faulty" / "stat-TimeoutError"
    refused(faulty, "lookup", image.name, errno.ETIMEDOUT)(os.stat, image)


def test_error_of_rsyncs_rename(faulty: Mount) -> None:
    """The publication happens there: its error is the rename's."""
    temporary = faulty / "faulty" / ".commit-StorageFull-x.Ab12Cd"
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.write(descriptor, BYTES)
    os.close(descriptor)
    check = refused(faulty, "rename", temporary.name, errno.ENOSPC)
    check(os.rename, temporary, faulty / "faulty" / "commit-StorageFull-x")
    assert not temporary.exists()
    assert not (faulty / "faulty" / "commit-StorageFull-x").exists()


def test_listing_that_breaks_off_is_an_error_and_not_an_end(faulty: Mount) -> None:
    image = faulty / "faulty" / "list-TimeoutError"
    image.write_bytes(BYTES)
    faulty.expect_log("readdir faulty/: .*ETIMEDOUT")
    with pytest.raises(OSError) as caught:
        os.listdir(faulty / "faulty")
    assert caught.value.errno == errno.ETIMEDOUT
    os.unlink(image)
    assert image.name not in os.listdir(faulty / "faulty")
