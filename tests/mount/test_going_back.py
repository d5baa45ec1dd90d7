# SPDX-License-Identifier: Apache-2.0
"""Streams longer than what is kept of them, whose writers go back."""

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.conftest import MakeMount
from tests.mount.mounting import Mount
from tests.mount.tools import KiB, MiB, await_true, data

LONG = data(20 * MiB + 5, seed=1)

PLUGIN = Path(__file__).parent / "plugin"

STORES = pytest.mark.parametrize("store", ["mem", "shared"])


def stored(mount: Mount, path: Path) -> bytes:
    """What the store has, once nothing is in the spool."""
    await_true(lambda: not mount.spooled(), "an empty spool")
    if path.parent.name in mount.datadirs:
        return (mount.datadirs[path.parent.name] / path.name).read_bytes()
    return path.read_bytes()


def no_upload(mount: Mount, store: str) -> None:
    """There is nothing of it, in the spool or the store."""
    await_true(lambda: not mount.spooled(), "an empty spool")
    await_true(lambda: not mount.temporaries(), "no temporary")
    assert os.listdir(mount / store) == []


@STORES
@pytest.mark.parametrize("there", [True, False])
def test_a_header_is_patched_after_a_long_stream(mount: Mount, store: str, there: bool) -> None:
    """As Python's `open(path, "wb")`, `seek(0)` and `write` do it."""
    image = mount / store / "image"
    if there:
        image.write_bytes(b"the old one")
    with open(image, "wb") as file:
        starts = range(0, len(LONG), 300 * KiB)
        file.writelines(LONG[start : start + 300 * KiB] for start in starts)
        file.seek(0)
        file.write(b"header")
        file.seek(10 * MiB - 3)
        file.write(b"middle")
        file.seek(0, os.SEEK_END)
        file.write(b"the end")
        file.flush()
        assert mount.temporaries() == []
        assert os.stat(file.fileno()).st_size == len(LONG) + 7
        assert os.listdir(mount / store) == ["image"] * there
    expected = bytearray(LONG + b"the end")
    expected[:6] = b"header"
    expected[10 * MiB - 3 : 10 * MiB + 3] = b"middle"
    assert image.read_bytes() == expected
    assert stored(mount, image) == expected


@STORES
@pytest.mark.parametrize("size", [0, 1, 5 * MiB + 1, len(LONG) - 1])
def test_a_long_stream_is_cut(mount: Mount, store: str, size: int) -> None:
    image = mount / store / "image"
    with open(image, "wb", buffering=0) as file:
        file.write(LONG)
        os.ftruncate(file.fileno(), size)
        assert os.fstat(file.fileno()).st_size == size
        os.pwrite(file.fileno(), b"more", size + 10)
    expected = LONG[:size] + bytes(10) + b"more"
    assert image.read_bytes() == expected
    assert stored(mount, image) == expected


@STORES
def test_holes_and_what_was_announced_are_kept(mount: Mount, store: str) -> None:
    """The size that ftruncate set, a gap that nobody wrote, an mtime that was set."""
    image = mount / store / "image"
    with open(image, "wb", buffering=0) as file:
        file.truncate(30 * MiB)
        file.write(LONG[: 5 * MiB])
        file.seek(15 * MiB)
        file.write(LONG[: 5 * MiB + 3])
        os.pwrite(file.fileno(), b"overlap", 20 * MiB)
        os.utime(file.fileno(), ns=(0, 10**18))
    expected = bytearray(30 * MiB)
    expected[: 5 * MiB] = LONG[: 5 * MiB]
    expected[15 * MiB : 20 * MiB + 3] = LONG[: 5 * MiB + 3]
    expected[20 * MiB : 20 * MiB + 7] = b"overlap"
    assert image.read_bytes() == expected
    assert stored(mount, image) == expected
    assert os.stat(image).st_mtime_ns == 10**18


@STORES
def test_fsync_publishes_what_went_back(mount: Mount, store: str) -> None:
    image = mount / store / "image"
    with open(image, "wb", buffering=0) as file:
        file.write(LONG)
        os.pwrite(file.fileno(), b"header", 0)
        os.fsync(file.fileno())
        assert stored_now(mount, image) == b"header" + LONG[6:]
        os.pwrite(file.fileno(), b"HEAD", 0)
    assert stored(mount, image) == b"HEADer" + LONG[6:]


def stored_now(mount: Mount, path: Path) -> bytes:
    if path.parent.name in mount.datadirs:
        return (mount.datadirs[path.parent.name] / path.name).read_bytes()
    return path.read_bytes()


@STORES
def test_rsync_s_temporary_may_go_back(mount: Mount, store: str) -> None:
    """Also after its close, when it waits for the rename."""
    image, temporary = mount / store / "image", mount / store / ".image.Ab3dEf"
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    with open(descriptor, "wb", buffering=0) as file:
        file.write(LONG)
        os.close(os.dup(descriptor))
        os.pwrite(descriptor, b"header", 0)
    os.rename(temporary, image)
    assert stored(mount, image) == b"header" + LONG[6:]
    assert os.listdir(mount / store) == ["image"]


_GO_BACK = """
import os, sys, time
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
for _ in range(20):
    os.write(f, os.urandom(1 << 20))
os.pwrite(f, b"header", 0)
print("written", flush=True)
time.sleep(600)
"""


@STORES
@pytest.mark.parametrize("there", [True, False])
def test_a_killed_writer_that_went_back_publishes_nothing(
    mount: Mount, store: str, there: bool
) -> None:
    mount.expect_log(rf"{store}: image: its writer was killed")
    image = mount / store / "image"
    if there:
        image.write_bytes(b"the old one")
    writer = subprocess.Popen(["python3", "-c", _GO_BACK, image], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"written\n"
    writer.kill()
    writer.communicate()
    await_true(lambda: mount.logged("writer was killed"), "the end of what it wrote")
    await_true(lambda: not mount.spooled(), "an empty spool")
    assert os.listdir(mount / store) == ["image"] * there
    if there:
        assert image.read_bytes() == b"the old one"


def test_what_went_back_and_was_closed_survives_a_crash(make_mount: MakeMount) -> None:
    mount = make_mount(options={"publish_delay": 600})
    image = mount / "shared" / "image"
    with open(image, "wb", buffering=0) as file:
        file.write(LONG)
        os.pwrite(file.fileno(), b"header", 0)
    mount.kill9()
    assert not (mount.datadirs["shared"] / "image").exists()
    mount.start()
    assert image.read_bytes() == b"header" + LONG[6:]
    mount.umount()
    assert (mount.datadirs["shared"] / "image").read_bytes() == b"header" + LONG[6:]


def test_deleted_after_it_went_back(mount: Mount) -> None:
    image = mount / "shared" / "image"
    with open(image, "wb", buffering=0) as file:
        file.write(LONG)
        os.pwrite(file.fileno(), b"header", 0)
        os.unlink(image)
        file.write(b"more")
    no_upload(mount, "shared")


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("how", ["write", "truncate"])
def test_a_full_spool_ends_the_upload_and_is_told(
    make_mount: MakeMount, there: bool, how: str
) -> None:
    mount = make_mount(options={"spool_limit": 8})
    image = mount / "shared" / "image"
    if there:
        image.write_bytes(b"the old one")
    mount.expect_log("shared/image: .*spool_limit of 8 MiB")
    with open(image, "wb", buffering=0) as file:
        file.write(LONG)
        go_back = {"write": _patch, "truncate": _cut}[how]
        with pytest.raises(OSError) as caught:
            go_back(file.fileno())
        assert caught.value.errno == errno.ENOSPC
        assert mount.spooled() == []
        assert mount.temporaries() == []
        for call in (lambda: file.write(b"more"), lambda: os.close(os.dup(file.fileno()))):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.ENOSPC
        with contextlib.suppress(OSError):
            file.close()
    await_true(lambda: os.listdir(mount / "shared") == ["image"] * there, "the name is free")
    if there:
        assert image.read_bytes() == b"the old one"
    image.write_bytes(LONG)
    assert image.read_bytes() == LONG


def _patch(descriptor: int) -> None:
    os.pwrite(descriptor, b"header", 0)


def _cut(descriptor: int) -> None:
    os.ftruncate(descriptor, 19 * MiB)


# -- stores that cannot give back, or fail to ---------------------------------------------


@pytest.fixture
def faulty(make_mount: MakeMount) -> Iterator[Mount]:
    """A store that gives back images whose names begin with ``reread``, and no others."""
    mount = make_mount({"faulty": "faulty"}, environment={"PYTHONPATH": str(PLUGIN)})
    yield mount
    mount.check_log()


@pytest.mark.parametrize(
    ("name", "number", "log"),
    [
        ("image", errno.EINVAL, r".*from start to end.*\[EINVAL\].*copy it here"),
        ("reread@3-RemoteServiceUnavailable", errno.EREMOTEIO, ""),
        ("reread-AssertionError", errno.EIO, ""),
    ],
)
def test_a_store_that_gives_nothing_back(faulty: Mount, name: str, number: int, log: str) -> None:
    """Its upload is given up, whoever goes on is told why, and nothing is left."""
    image = faulty / "faulty" / name
    faulty.expect_log(f"write faulty/{name}: {log}")
    with open(image, "wb", buffering=0) as file:
        file.write(LONG)
        with pytest.raises(OSError) as caught:
            os.pwrite(file.fileno(), b"header", 0)
        assert caught.value.errno == number
        with pytest.raises(OSError):
            file.write(b"more")
        with pytest.raises(OSError):
            os.fsync(file.fileno())
        with pytest.raises(OSError):
            os.close(os.dup(file.fileno()))
        with contextlib.suppress(OSError):
            file.close()
    no_upload(faulty, "faulty")
    assert not image.exists()
    free = os.statvfs(faulty / "faulty")
    assert free.f_bavail == free.f_blocks
    image.with_name("other").write_bytes(LONG)
