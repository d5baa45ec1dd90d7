# SPDX-License-Identifier: Apache-2.0
"""What is written in any order, over a full disk and over a store that fails.

Who writes is told once, with the one errno that it is, at write, fsync or close; what
fsync confirmed is in the store, and nothing of what it did not; the mount goes on.
"""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mount.conftest import MakeMount
from tests.mount.mounting import Mount
from tests.mount.requirements import need_root
from tests.mount.test_upload_faults import ERRORS, PLUGIN
from tests.mount.tools import MiB, await_true, data, run

OLD, NEW = data(MiB, 1), data(2 * MiB + 5, 2)


def told(call: Callable[..., object], *args: object) -> int:
    """The errno of what must fail."""
    with pytest.raises(OSError) as caught:
        call(*args)
    assert caught.value.errno is not None
    return caught.value.errno


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    need_root()
    disk = tmp_path / "small"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", disk)
    yield disk
    run("umount", "-l", disk)


# -- a full disk below the spool ---------------------------------------------------------


@pytest.fixture
def cramped(make_mount: MakeMount, small: Path) -> Mount:
    """A spool that may fill a disk of 4 MiB to its last byte; nothing is stored by itself."""
    options = {"spool_dir": small / "spool", "spool_min_free": 0, "publish_delay": 600}
    return make_mount(options=options)


def fill(descriptor: int, piece: int) -> int:
    """Append so many bytes at a time until there is no room; how many there were room for."""
    size = os.fstat(descriptor).st_size
    try:
        while True:
            size += os.pwrite(descriptor, b"x" * piece, size)
    except OSError as exc:
        if exc.errno != errno.ENOSPC:
            raise
        return size


def test_what_there_was_room_for_can_be_stored(cramped: Mount) -> None:
    """What a write that failed had got onto the disk is no hindrance to fsync."""
    image = cramped / "shared" / "image"
    cramped.expect_log("write shared/image: .*No space left on device .ENOSPC")
    descriptor = os.open(image, os.O_RDWR | os.O_CREAT)
    size = fill(descriptor, 700_001)
    assert 3 * MiB < size < 4 * MiB
    os.fsync(descriptor)
    assert (cramped.datadirs["shared"] / "image").read_bytes() == b"x" * size
    assert os.pwrite(descriptor, NEW, 10) == len(NEW)  # there is room again
    os.close(descriptor)
    cramped.umount()
    expected = (b"x" * 10 + NEW).ljust(size, b"x")
    assert (cramped.datadirs["shared"] / "image").read_bytes() == expected


@pytest.mark.parametrize("end", ["unlink", "kill"])
def test_what_cannot_be_promised_is_told_by_close(cramped: Mount, end: str) -> None:
    """There is no room for the record: the image is what fsync had confirmed before."""
    image, stored = cramped / "shared" / "image", cramped.datadirs["shared"] / "image"
    cramped.expect_log("write shared/image: .*ENOSPC")
    cramped.expect_log("fsync shared/image: .*ENOSPC")
    cramped.expect_log("flush shared/image: .*ENOSPC")
    descriptor = os.open(image, os.O_RDWR | os.O_CREAT)
    os.pwrite(descriptor, OLD, 0)
    os.fsync(descriptor)
    fill(descriptor, 4096)
    assert told(os.fsync, descriptor) == errno.ENOSPC
    assert told(os.close, descriptor) == errno.ENOSPC
    assert stored.read_bytes() == OLD
    run("cp", "/bin/ls", cramped / "shared" / "another")  # which needs no spool
    if end == "unlink":
        os.unlink(image)
        assert os.listdir(cramped / "shared") == ["another"]
    else:
        cramped.kill9()
        cramped.start()
        assert image.read_bytes() == OLD
    with open(cramped / "shared" / "third", "x+b", buffering=0) as file:
        file.write(NEW)
    cramped.umount()
    assert (cramped.datadirs["shared"] / "third").read_bytes() == NEW


# -- a store that fails -------------------------------------------------------------------


@pytest.fixture
def faulty(make_mount: MakeMount) -> Mount:
    return make_mount({"faulty": "faulty"}, environment={"PYTHONPATH": str(PLUGIN)})


STEPS = ["create", "pwrite@1", "pwrite@3", "stage", "commit"]


@pytest.mark.parametrize("error", ERRORS)
def test_fsync_tells_what_the_store_says(faulty: Mount, error: str) -> None:
    """At each step, and only then; whoever tries again has lost nothing."""
    for step in STEPS:
        step = step if "@" in step else f"{step}@1"
        image = faulty / "faulty" / f"{step}-{error}"
        faulty.expect_log(f"fsync faulty/{image.name}: .*{errno.errorcode[ERRORS[error]]}")
        descriptor = os.open(image, os.O_RDWR | os.O_CREAT)
        os.pwrite(descriptor, NEW, 0)
        assert told(os.fsync, descriptor) == ERRORS[error], step
        assert os.pread(descriptor, len(NEW) + 1, 0) == NEW
        os.fsync(descriptor)
        os.close(descriptor)
    for name in os.listdir(faulty / "faulty"):
        assert (faulty / "faulty" / name).read_bytes() == NEW
    assert len(os.listdir(faulty / "faulty")) == len(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_close_keeps_what_the_store_refuses_for_ever(faulty: Mount, step: str) -> None:
    """It can be read here and deleted; the other images are stored meanwhile."""
    image = faulty / "faulty" / f"{step.partition('@')[0]}-RemoteServiceUnavailable"
    faulty.expect_log(f"faulty: {image.name}: could not be stored: on purpose; it is kept in")
    descriptor = os.open(image, os.O_RDWR | os.O_CREAT)
    os.pwrite(descriptor, NEW, 0)
    os.close(descriptor)
    await_true(lambda: faulty.logged("could not be stored"), "an attempt")
    assert image.read_bytes() == NEW
    with open(faulty / "faulty" / "another", "x+b", buffering=0) as file:
        file.write(NEW)
        os.fsync(file.fileno())
    os.unlink(image)
    assert os.listdir(faulty / "faulty") == ["another"]
    await_true(lambda: not faulty.spooled(), "an empty spool")


@pytest.mark.parametrize("step", ["create@2", "pwrite@5", "stage@2", "commit@2"])
def test_a_version_that_is_refused_once_is_stored_later(faulty: Mount, step: str) -> None:
    """What was written after an fsync, whose upload fails first."""
    image = faulty / "faulty" / f"{step}-TimeoutError"
    faulty.expect_log(f"faulty: {image.name}: could not be stored")
    descriptor = os.open(image, os.O_RDWR | os.O_CREAT)
    os.pwrite(descriptor, NEW, 0)
    os.fsync(descriptor)
    os.pwrite(descriptor, b"later", MiB)
    os.close(descriptor)
    await_true(lambda: faulty.logged("could not be stored"), "the first attempt")
    await_true(lambda: not faulty.spooled(), "the second attempt")
    assert image.read_bytes() == NEW[:MiB] + b"later" + NEW[MiB + 5 :]


def test_a_full_disk_below_the_store(make_mount: MakeMount, small: Path) -> None:
    """The old version stays whole, no piece of the new one is left, until there is room."""
    images = small / "images"
    mount = make_mount({"s": "file"}, sections={"s": {"filesystem_store_datadir": images}})
    image = mount / "s" / "image"
    image.write_bytes(OLD)
    (mount / "s" / "filler").write_bytes(NEW)
    mount.expect_log("fsync s/image: .*ENOSPC")
    mount.expect_log("s: image: could not be stored")
    descriptor = os.open(image, os.O_RDWR)
    os.pwrite(descriptor, NEW, 0)
    assert told(os.fsync, descriptor) == errno.ENOSPC
    os.close(descriptor)
    await_true(lambda: mount.logged("could not be stored"), "an attempt")
    await_true(lambda: sorted(os.listdir(images)) == ["filler", "image"], "nothing half-written")
    assert (images / "image").read_bytes() == OLD
    os.unlink(mount / "s" / "filler")
    await_true(lambda: not mount.spooled(), "another attempt")
    assert (images / "image").read_bytes() == NEW
    mount.umount()
