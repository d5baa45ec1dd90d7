# SPDX-License-Identifier: Apache-2.0
"""rsync: one upload as people type it, and what becomes of one that is interrupted."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.images.collection import Images
from tests.mount.conftest import MakeMount
from tests.mount.mounting import Mount
from tests.mount.tools import MiB, attempt, await_true, data, run, sha512

BYTES = data(5 * MiB + 321)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    directory.mkdir()
    (directory / "image").write_bytes(BYTES)
    os.utime(directory / "image", (0, 1_234_567_890.5))
    return directory / "image"


@pytest.mark.parametrize("store", ["mem", "shared"])
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-a"],
        ["-aX"],
        ["-aAXH", "--no-owner"],
        ["--inplace"],
        ["-a", "--inplace"],
        ["--partial", "-t"],
        ["-aW", "--fsync"],
        ["-a", "--sparse"],
        ["-a", "--checksum"],
        ["-a", "--no-whole-file"],
        ["-rlpt", "--chmod=F600"],
    ],
    ids=" ".join,
)
def test_rsync_of_a_new_image(mount: Mount, source: Path, store: str, options: list[str]) -> None:
    image = mount / store / "image"
    run("rsync", *options, source, mount / store / "")
    assert os.listdir(mount / store) == ["image"]
    assert image.read_bytes() == BYTES
    if "-t" in options or any(o.startswith("-a") for o in options):
        assert os.stat(image).st_mtime == 1_234_567_890.5


@pytest.mark.parametrize("options", [["-t"], ["-a"], ["-aX"]], ids=" ".join)
@pytest.mark.parametrize("store", ["mem", "shared"])
def test_second_run_transfers_nothing(
    mount: Mount, source: Path, store: str, options: list[str]
) -> None:
    run("rsync", *options, source, mount / store / "")
    inode = os.stat(mount / store / "image").st_ino
    second = run("rsync", *options, "--itemize-changes", source, mount / store / "")
    assert ">f" not in second
    assert os.stat(mount / store / "image").st_ino == inode


def test_second_run_after_a_remount_transfers_nothing(own_mount: Mount, source: Path) -> None:
    run("rsync", "-a", source, own_mount / "shared" / "")
    own_mount.remount()
    again = run("rsync", "-a", "--itemize-changes", source, own_mount / "shared" / "")
    assert ">f" not in again


@pytest.mark.parametrize("store", ["mem", "shared"])
def test_rsync_replaces(mount: Mount, source: Path, store: str) -> None:
    (mount / store / "image").write_bytes(b"old")
    run("rsync", "-a", source, mount / store / "")
    assert (mount / store / "image").read_bytes() == BYTES
    source.write_bytes(BYTES[::-1])
    run("rsync", "-a", "--no-whole-file", source, mount / store / "")
    assert (mount / store / "image").read_bytes() == BYTES[::-1]


def test_rsync_of_a_directory_there_and_back(mount: Mount, images: Images, tmp_path: Path) -> None:
    for image in (images.iso, images.kernel, images.qcow2):
        (tmp_path / "in").mkdir(exist_ok=True)
        os.link(image, tmp_path / "in" / image.name) if _same_device(image, tmp_path) else run(
            "cp", image, tmp_path / "in"
        )
    run("rsync", "-rt", f"{tmp_path / 'in'}/", mount / "shared" / "")
    run("rsync", "-rt", f"{mount / 'shared'}/", tmp_path / "out")
    for image in (images.iso, images.kernel, images.qcow2):
        assert sha512(mount / "shared" / image.name) == sha512(image)
        assert sha512(tmp_path / "out" / image.name) == sha512(image)


def _same_device(image: Path, directory: Path) -> bool:
    return os.stat(image).st_dev == os.stat(directory).st_dev


def test_one_upload_and_no_second_file(mount: Mount, source: Path) -> None:
    """The file that was uploaded is the file that is published: nothing is copied."""
    datadir = mount.datadirs["shared"]
    seen: dict[int, set[str]] = {}
    # slow enough to be seen while it is on its way
    rsync = subprocess.Popen(["rsync", "-a", "--bwlimit=6m", str(source), f"{mount / 'shared'}/"])
    while rsync.poll() is None:
        for name in os.listdir(datadir):
            try:
                seen.setdefault(os.stat(datadir / name).st_ino, set()).add(name)
            except FileNotFoundError:
                continue
    assert rsync.returncode == 0
    assert list(seen) == [os.stat(datadir / "image").st_ino]
    assert (mount / "shared" / "image").read_bytes() == BYTES


def test_killed_rsync_publishes_nothing(mount: Mount, source: Path) -> None:
    """What it had written is given up at once, without waiting for a rename."""
    rsync = subprocess.Popen(
        ["rsync", "-a", "--bwlimit=500k", "--whole-file", str(source), f"{mount / 'shared'}/"],
        start_new_session=True,
    )
    await_true(mount.temporaries, "an upload")
    os.killpg(rsync.pid, signal.SIGKILL)
    rsync.wait()
    mount.expect_log(r"shared: \.image\.\w{6}: its writer was killed")
    await_true(lambda: not mount.temporaries(), "the end of the upload")
    assert os.listdir(mount / "shared") == []
    assert os.listdir(mount.datadirs["shared"]) == []
    await_true(lambda: mount.logged("writer was killed"), "a word about it")


def test_held_upload_can_be_deleted(mount: Mount) -> None:
    temporary = _rsync_like(mount / "shared", "image", b"bytes")
    os.unlink(temporary)
    assert os.listdir(mount / "shared") == []
    assert mount.temporaries() == []


def test_held_upload_is_given_up_at_unmount(make_mount: MakeMount) -> None:
    mount = make_mount(options={"rename_grace": 600})
    _rsync_like(mount / "shared", "image", b"bytes")
    mount.expect_log(r"shared: \.image\.Ab12Cd: it was not finished before the unmount")
    mount.remount()
    assert os.listdir(mount / "shared") == []


def test_held_upload_keeps_the_old_image_until_the_rename(mount: Mount) -> None:
    image = mount / "shared" / "image"
    image.write_bytes(b"old")
    temporary = _rsync_like(mount / "shared", "image", b"new bytes")
    assert image.read_bytes() == b"old"
    assert os.stat(temporary).st_size == 9
    os.rename(temporary, image)
    assert image.read_bytes() == b"new bytes"


def test_rename_of_the_temporary_to_another_name(mount: Mount) -> None:
    temporary = _rsync_like(mount / "shared", "image", b"bytes")
    os.rename(temporary, mount / "shared" / "other")
    assert os.listdir(mount / "shared") == ["other"]
    assert (mount / "shared" / "other").read_bytes() == b"bytes"
    assert mount.temporaries() == []


def test_error_of_the_store_reaches_rsync(make_mount: MakeMount, source: Path) -> None:
    mount = make_mount({"mem": "memory"}, sections={"mem": {"memory_store_capacity": MiB}})
    mount.expect_log("not enough disk space")
    result = attempt("rsync", "-a", source, mount / "mem" / "")
    assert result.returncode == 11
    assert "No space left on device" in result.stderr
    assert os.listdir(mount / "mem") == []
    assert os.statvfs(mount / "mem").f_bfree * 4096 == MiB


def _rsync_like(directory: Path, name: str, content: bytes) -> Path:
    """What rsync does before it renames."""
    temporary = directory / f".{name}.Ab12Cd"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600)
    os.write(descriptor, content)
    os.close(descriptor)
    os.utime(temporary)
    return temporary
