# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a mount point, on real ones."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storefs import mountpoint
from storefs.mount_options import MountOptions
from storefs.mountpoint import MountBusy, MountError

_SERVER = textwrap.dedent(
    """
    import os, stat, sys, pyfuse3, trio

    class Operations(pyfuse3.Operations):
        async def getattr(self, inode, ctx=None):
            entry = pyfuse3.EntryAttributes()
            entry.st_ino, entry.st_mode, entry.st_nlink = inode, stat.S_IFDIR | 0o755, 2
            return entry

        async def opendir(self, inode, ctx):
            return inode

        async def statfs(self, ctx):
            return pyfuse3.StatvfsData()

    pyfuse3.init(Operations(), sys.argv[1], {"fsname=nothing", "subtype=storefs"})
    trio.run(pyfuse3.main)
    pyfuse3.close()
    """
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A mount that holds nothing, and its server."""
    path = str(tmp_path / "mnt with blank")
    os.mkdir(path)
    server = subprocess.Popen([sys.executable, "-c", _SERVER, path])
    deadline = time.monotonic() + 20
    while mountpoint.find(path) is None:
        assert server.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield path, server
    server.kill()
    server.wait()
    if mountpoint.find(path) is not None:
        mountpoint.detach(path, lazy=True)


@pytest.fixture
def dead(served: tuple[str, "subprocess.Popen[bytes]"]) -> str:
    path, server = served
    server.send_signal(signal.SIGKILL)
    server.wait()
    return path


def test_a_directory_will_do(tmp_path: Path) -> None:
    (tmp_path / "not empty").touch()
    mountpoint.check(str(tmp_path), MountOptions())


def test_a_missing_directory_is_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(MountError, match=r"does not exist: create it with `mkdir -p .*nowhere`"):
        mountpoint.check_directory(str(tmp_path / "nowhere"))


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MountError, match=r"not a directory"):
        mountpoint.check_directory(str(tmp_path / "file"))


def test_a_mount_is_named_with_what_is_there() -> None:
    with pytest.raises(MountError, match=r"already a mount point \(proc, .*storefs umount /proc"):
        mountpoint.check_directory("/proc")


def test_a_mount_behind_a_link_is_seen(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc")
    with pytest.raises(MountError, match=r"already a mount point"):
        mountpoint.check_directory(str(tmp_path / "link"))


def test_a_live_mount_is_not_dead(served: tuple[str, object]) -> None:
    path, _ = served
    assert not mountpoint.is_dead(path)
    with pytest.raises(MountError, match=r"already a mount point \(fuse.storefs, nothing\)"):
        mountpoint.check_directory(path)


def test_a_dead_mount_is_told_from_others(dead: str) -> None:
    assert mountpoint.is_dead(dead)
    with pytest.raises(MountError, match=r"dead mount .*endpoint.*storefs umount"):
        mountpoint.check_directory(dead)


def test_a_dead_mount_can_be_detached(dead: str) -> None:
    mountpoint.detach(dead, lazy=True)
    assert mountpoint.find(dead) is None
    mountpoint.check_directory(dead)


def test_a_mount_in_use_is_busy_unless_lazy(served: tuple[str, object]) -> None:
    path, _ = served
    user = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(MountBusy, match=r"fuser -vm .*--lazy"):
            mountpoint.detach(path, lazy=False)
        mountpoint.detach(path, lazy=True)
        assert mountpoint.find(path) is None
    finally:
        os.close(user)


def test_what_is_not_mounted_cannot_be_unmounted(tmp_path: Path) -> None:
    with pytest.raises(MountError, match=r"could not be unmounted"):
        mountpoint.detach(str(tmp_path), lazy=False)


def test_no_fuse_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MountError, match=r"modprobe fuse.*--device"):
        mountpoint.check_device(str(tmp_path / "fuse"))


def test_a_fuse_device_that_is_none_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MountError, match=r"cannot be opened .*modprobe fuse"):
        mountpoint.check_device(str(tmp_path))


def test_no_fusermount3_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MountError, match=r"apt install fuse3"):
        mountpoint.check_helper()


@pytest.mark.parametrize("text", [None, "", "#user_allow_other\n", "user_allow_others\n"])
def test_allow_other_needs_permission(tmp_path: Path, text: str | None) -> None:
    conf = tmp_path / "fuse.conf"
    if text is not None:
        conf.write_text(text)
    mountpoint.check_allow_other(MountOptions(), str(conf))
    with pytest.raises(MountError, match=r"user_allow_other"):
        mountpoint.check_allow_other(MountOptions(allow_other=True), str(conf))


def test_allow_other_with_permission(tmp_path: Path) -> None:
    conf = tmp_path / "fuse.conf"
    conf.write_text("mount_max = 10\n user_allow_other\n")
    mountpoint.check_allow_other(MountOptions(allow_other=True), str(conf))


def test_names_are_unescaped() -> None:
    line = r"36 35 0:53 / /mnt/a\040b\134c rw - fuse.storefs store\011fs rw,user_id=0"
    expected = mountpoint.Mount(36, "0:53", "/mnt/a b\\c", "fuse.storefs", "store\tfs")
    assert expected == mountpoint.parse_mountinfo(line)


def test_optional_fields_are_skipped() -> None:
    line = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw"
    assert mountpoint.parse_mountinfo(line).fstype == "ext3"


def test_links_above_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert mountpoint.absolute(f"{tmp_path}/link/mnt/") == f"{tmp_path}/real/mnt"
    assert mountpoint.absolute(f"{tmp_path}/link") == f"{tmp_path}/real"


def test_a_call_that_hangs_is_left_behind() -> None:
    reading, writing = os.pipe()
    try:
        assert mountpoint.ask(lambda: os.read(reading, 1), 0.01) is None
    finally:
        os.write(writing, b"x")
        os.close(writing)


def test_the_error_of_a_call_is_raised() -> None:
    with pytest.raises(FileNotFoundError):
        mountpoint.ask(lambda: os.stat("/no/such/thing"), 10)
