# SPDX-License-Identifier: Apache-2.0
"""When an image is there, for whom, and what becomes of it when something fails."""

import errno
import hashlib
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.mount.conftest import MakeMount
from tests.mount.mounting import Mount
from tests.mount.requirements import need_root, need_tools
from tests.mount.tools import MiB, attempt, await_true, data, run

OLD, NEW = data(3 * MiB, seed=1), data(4 * MiB + 77, seed=2)


@pytest.mark.parametrize("store", ["mem", "shared"])
def test_nobody_sees_an_image_that_is_being_written(mount: Mount, store: str) -> None:
    image = mount / store / "image"
    with open(image, "wb", buffering=0) as file:
        file.write(NEW[:MiB])
        assert os.listdir(mount / store) == []
        assert os.stat(image).st_size == MiB
        file.write(NEW[MiB:])
        assert os.stat(image).st_size == len(NEW)
        with pytest.raises(OSError) as caught:
            image.read_bytes()
        assert caught.value.errno == errno.EBUSY
    assert os.listdir(mount / store) == ["image"]
    assert image.read_bytes() == NEW
    mount.expect_log("read .*/image: Image image is still being written")


def test_nothing_is_in_the_datadir_before_close(mount: Mount) -> None:
    with open(mount / "shared" / "image", "wb", buffering=0) as file:
        file.write(NEW)
        assert not (mount.datadirs["shared"] / "image").exists()
    assert (mount.datadirs["shared"] / "image").read_bytes() == NEW


def test_another_mount_of_the_datadir_sees_only_what_is_published(
    mount: Mount, make_mount: MakeMount
) -> None:
    sections = {"other": {"filesystem_store_datadir": mount.datadirs["shared"]}}
    other = make_mount({"other": "file"}, sections=sections, options={"attribute_timeout": 0})
    with open(mount / "shared" / "image", "wb", buffering=0) as file:
        file.write(NEW)
        assert os.listdir(other / "other") == []
        assert not (other / "other" / "image").exists()
    assert os.listdir(other / "other") == ["image"]
    assert (other / "other" / "image").read_bytes() == NEW


@pytest.mark.parametrize("store", ["mem", "shared"])
def test_fsync_publishes_and_the_descriptor_goes_on(mount: Mount, store: str) -> None:
    image = mount / store / "image"
    with open(image, "wb", buffering=0) as file:
        file.write(OLD)
        os.fsync(file.fileno())
        assert image.read_bytes() == OLD
        file.write(NEW)
    assert image.read_bytes() == OLD + NEW


@pytest.mark.parametrize("store", ["mem", "shared"])
def test_old_readers_keep_the_old_bytes(mount: Mount, store: str) -> None:
    """Also through mmap, also what they had not read when it was replaced."""
    image = mount / store / "image"
    image.write_bytes(OLD)
    with open(image, "rb") as reader:
        view = mmap.mmap(reader.fileno(), 0, prot=mmap.PROT_READ)
        start = reader.read(100)
        with open(image, "wb", buffering=0) as writer:
            writer.write(NEW)
            assert os.fstat(writer.fileno()).st_size == len(NEW)
            assert os.stat(image).st_size == len(OLD)
            assert view[MiB : MiB + 100] == OLD[MiB : MiB + 100]
            assert image.read_bytes() == OLD
        assert image.read_bytes() == NEW
        assert view[:] == OLD
        assert start + reader.read() == OLD
        assert os.fstat(reader.fileno()).st_size == len(OLD)
        view.close()
    assert image.read_bytes() == NEW


@pytest.mark.parametrize("store", ["mem", "shared"])
@pytest.mark.parametrize("how", ["unlink", "rename"])
def test_old_readers_outlive_the_name(mount: Mount, store: str, how: str) -> None:
    image, other = mount / store / "image", mount / store / "other"
    image.write_bytes(OLD)
    other.write_bytes(NEW)
    with open(image, "rb") as reader:
        os.unlink(image) if how == "unlink" else os.rename(other, image)
        assert hashlib.sha512(reader.read()).digest() == hashlib.sha512(OLD).digest()


@pytest.mark.parametrize("store", ["mem", "shared"])
def test_readers_never_get_a_mix(mount: Mount, store: str) -> None:
    """While one process replaces the image, others read it whole, over and over."""
    image = mount / store / "image"
    versions = [data(MiB + 1000 * n, seed=n) for n in range(4)]
    sums = {hashlib.sha256(version).hexdigest() for version in versions}
    image.write_bytes(versions[0])
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", _READ_OVER_AND_OVER, str(image)], stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    for turn in range(40):
        image.write_bytes(versions[turn % len(versions)])
    os.unlink(image)
    for reader in readers:
        seen = reader.communicate()[0].decode().split()
        assert reader.returncode == 0
        assert seen
        assert set(seen) <= sums


_READ_OVER_AND_OVER = """
import errno, hashlib, sys
while True:
    try:
        file = open(sys.argv[1], "rb")
    except FileNotFoundError:
        break
    except OSError as error:
        # replaced twice while it was opened: the kernel asks again once and no more
        assert error.errno == errno.ESTALE
        continue
    with file:
        print(hashlib.sha256(file.read()).hexdigest())
"""


def test_replacing_through_a_descriptor_in_proc(mount: Mount) -> None:
    """There is no name the kernel could look up again."""
    image = mount / "shared" / "image"
    image.write_bytes(OLD)
    with open(image, "rb") as reader:
        with open(f"/proc/self/fd/{reader.fileno()}", "wb") as writer:
            writer.write(NEW)
        assert image.read_bytes() == NEW


# -- errors --------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 8 MiB."""
    need_root()
    need_tools("mke2fs", "mount")
    disk, directory = tmp_path / "disk", tmp_path / "tiny"
    disk.touch()
    os.truncate(disk, 8 * MiB)
    directory.mkdir()
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", disk)
    run("mount", "-o", "loop", disk, directory)
    try:
        yield directory
    finally:
        run("umount", "-l", directory)


@pytest.fixture
def tiny_mount(tiny: Path, make_mount: MakeMount) -> Iterator[Mount]:
    """A store there, and one beside it with room."""
    sections = {"tiny": {"filesystem_store_datadir": tiny / "images"}}
    mount = make_mount({"tiny": "file", "shared": "file"}, sections=sections)
    yield mount
    mount.umount()  # before the filesystem under it


def test_disk_full_in_the_middle_of_cp(tiny_mount: Mount, tmp_path: Path) -> None:
    big, small = tmp_path / "big", tmp_path / "small"
    big.write_bytes(data(24 * MiB))
    small.write_bytes(OLD)
    run("cp", small, tiny_mount / "tiny" / "kept")
    free = os.statvfs(tiny_mount / "tiny").f_bfree
    tiny_mount.expect_log(r"tiny/big: .*space")
    result = attempt("cp", big, tiny_mount / "tiny" / "big")
    assert result.returncode == 1
    assert "No space left on device" in result.stderr
    assert os.listdir(tiny_mount / "tiny") == ["kept"]
    tiny_mount.check_leftovers()
    assert os.statvfs(tiny_mount / "tiny").f_bfree == free
    run("cp", big, tiny_mount / "shared" / "big")
    assert (tiny_mount / "tiny" / "kept").read_bytes() == OLD


def test_disk_full_while_replacing_keeps_the_old_image(tiny_mount: Mount) -> None:
    image = tiny_mount / "tiny" / "image"
    image.write_bytes(OLD)
    tiny_mount.expect_log(r"tiny/image: .*space")
    with pytest.raises(OSError) as caught:
        image.write_bytes(data(24 * MiB))
    assert caught.value.errno == errno.ENOSPC
    assert image.read_bytes() == OLD


def test_disk_full_for_rsync(tiny_mount: Mount, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(data(24 * MiB))
    tiny_mount.expect_log(r"tiny/\.big\.\w+: .*space")
    result = attempt("rsync", "-a", big, tiny_mount / "tiny" / "")
    assert result.returncode == 11
    assert os.listdir(tiny_mount / "tiny") == []


def test_room_is_each_stores_own(tiny_mount: Mount) -> None:
    tiny, shared = (os.statvfs(tiny_mount / store) for store in ("tiny", "shared"))
    assert tiny.f_blocks * tiny.f_frsize < 8 * MiB
    real = os.statvfs(tiny_mount.datadirs["shared"])
    assert shared.f_blocks * shared.f_frsize == real.f_blocks * real.f_frsize
    df = run("df", "--output=size", "-B1", tiny_mount / "tiny").split()[-1]
    assert int(df) == tiny.f_blocks * tiny.f_frsize


def test_error_at_close_reaches_the_writer(make_mount: MakeMount) -> None:
    """The last part is stored when the descriptor is closed: so it fails there."""
    sections = {"mem": {"memory_store_capacity": 100, "memory_store_part_size": MiB}}
    mount = make_mount({"mem": "memory"}, sections=sections)
    mount.expect_log("flush mem/image: There is not enough disk space")
    descriptor = os.open(mount / "mem" / "image", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, bytes(101))
    with pytest.raises(OSError) as caught:
        os.close(descriptor)
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(mount / "mem") == []
    (mount / "mem" / "image").write_bytes(bytes(100))


def test_error_at_fsync_reaches_dd(make_mount: MakeMount) -> None:
    sections = {"mem": {"memory_store_capacity": 100, "memory_store_part_size": MiB}}
    mount = make_mount({"mem": "memory"}, sections=sections)
    mount.expect_log("fsync mem/image: There is not enough disk space")
    result = attempt(
        "dd", "if=/dev/zero", f"of={mount.path}/mem/image",
        "bs=101", "count=1", "conv=fsync",
    )  # fmt: skip
    assert result.returncode == 1
    assert "No space left on device" in result.stderr
    assert os.listdir(mount / "mem") == []


# -- deleting what is written ----------------------------------------------------------


@pytest.mark.parametrize("store", ["mem", "shared"])
@pytest.mark.parametrize("there", [True, False])
def test_unlink_ends_the_upload_under_that_name(mount: Mount, store: str, there: bool) -> None:
    """What is deleted does not come back when its writer closes."""
    image = mount / store / "image"
    if there:
        image.write_bytes(OLD)
    descriptor = os.open(image, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(descriptor, NEW)
    os.unlink(image)
    with pytest.raises(FileNotFoundError):
        os.close(descriptor)
    assert os.listdir(mount / store) == []
    assert not image.exists()


# -- processes that die ----------------------------------------------------------------


def test_killed_storefs_leaves_nothing_half_written(make_mount: MakeMount) -> None:
    mount = make_mount()
    (mount / "shared" / "kept").write_bytes(OLD)
    writer = os.open(mount / "shared" / "image", os.O_WRONLY | os.O_CREAT)
    replacer = os.open(mount / "shared" / "kept", os.O_WRONLY | os.O_TRUNC)
    for descriptor in (writer, replacer):
        os.write(descriptor, NEW)
    await_true(lambda: len(mount.temporaries()) == 2, "two uploads")
    mount.kill9()
    for descriptor in (writer, replacer):
        with pytest.raises(OSError):
            os.close(descriptor)
    assert len(mount.temporaries()) == 2
    mount.start()
    assert os.listdir(mount / "shared") == ["kept"]
    assert (mount / "shared" / "kept").read_bytes() == OLD
    assert mount.temporaries() == []
    (mount / "shared" / "image").write_bytes(NEW)


def test_uploads_of_a_living_storefs_stay_when_another_starts(
    mount: Mount, make_mount: MakeMount
) -> None:
    with open(mount / "shared" / "image", "wb", buffering=0) as file:
        file.write(NEW)
        make_mount(
            {"other": "file"},
            sections={"other": {"filesystem_store_datadir": mount.datadirs["shared"]}},
        )
    assert (mount / "shared" / "image").read_bytes() == NEW


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_cp_publishes_nothing(mount: Mount, tmp_path: Path, number: int) -> None:
    """The kernel closes for it, and nobody meant that."""
    mount.expect_log(r"shared: (image|kept): its writer was killed")
    (mount / "shared" / "kept").write_bytes(OLD)
    for name in ("image", "kept"):
        pipe = tmp_path / name
        os.mkfifo(pipe)
        cp = subprocess.Popen(["cp", "--copy-contents", pipe, mount / "shared" / name])
        with open(pipe, "wb", buffering=0) as file:
            file.write(NEW)
            await_true(mount.temporaries, "all written")
            cp.send_signal(number)
            assert cp.wait() == -number
        await_true(lambda: not mount.temporaries(), "the end of the upload")
    assert os.listdir(mount / "shared") == ["kept"]
    assert (mount / "shared" / "kept").read_bytes() == OLD


def test_process_that_ends_without_a_close_publishes(mount: Mount) -> None:
    """Nobody killed it: leaving files to the kernel is a way to close them."""
    program = (
        f"import os; f = os.open({str(mount / 'shared' / 'image')!r}, os.O_WRONLY | os.O_CREAT)"
    )
    for status in (0, 3):
        code = f"{program}; os.write(f, b'all of it'); os._exit({status})"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == status
        assert (mount / "shared" / "image").read_bytes() == b"all of it"
        os.unlink(mount / "shared" / "image")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_unmounts_once_the_writer_is_done(make_mount: MakeMount, number: int) -> None:
    mount = make_mount()
    with open(mount / "shared" / "image", "wb", buffering=0) as file:
        file.write(OLD)
        os.kill(mount.pid, number)
        await_true(lambda: not os.path.ismount(mount.path), "the name's end")
        file.write(NEW)
    mount.ended(0)
    mount.check_log()
    mount.start()
    assert (mount / "shared" / "image").read_bytes() == OLD + NEW


def test_umount_waits_for_writers_as_any_filesystem(own_mount: Mount) -> None:
    with open(own_mount / "shared" / "image", "wb", buffering=0) as file:
        file.write(OLD)
        result = attempt("umount", own_mount.path)
        assert result.returncode != 0
        assert "busy" in result.stderr
    assert (own_mount / "shared" / "image").read_bytes() == OLD


# -- many at once -----------------------------------------------------------------------


@pytest.mark.parametrize("store", ["mem", "shared"])
def test_32_readers_and_8_writers(mount: Mount, store: str) -> None:
    images = {f"image{n}": data(2 * MiB + n * 4321, seed=n) for n in range(8)}
    written = {f"new{n}": data(3 * MiB + n, seed=100 + n) for n in range(8)}
    for name, content in images.items():
        (mount / store / name).write_bytes(content)

    def read(name: str) -> bool:
        return all((mount / store / name).read_bytes() == images[name] for _ in range(2))

    def write(name: str) -> bool:
        path = mount / store / name
        path.write_bytes(written[name])
        return path.read_bytes() == written[name]

    with ThreadPoolExecutor(40) as pool:
        results = [pool.submit(read, name) for name in list(images) * 4]
        results += [pool.submit(write, name) for name in written]
    assert [result.result() for result in results] == [True] * 40
    assert sorted(os.listdir(mount / store)) == sorted([*images, *written])
