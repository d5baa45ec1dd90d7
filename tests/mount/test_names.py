# SPDX-License-Identifier: Apache-2.0
"""What a mount shows: the root, names, attributes; and what it refuses."""

import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mount.conftest import MakeMount
from tests.mount.mounting import Mount
from tests.mount.requirements import need_root
from tests.mount.tools import MiB, attempt, await_true, data, run

BYTES = data(MiB + 11)

#: A listing of this many names must not be held in memory.
MANY = 100_000


def refused(number: int, operation: Callable[..., object], *args: object) -> None:
    """*operation* must fail with errno *number*."""
    with pytest.raises(OSError) as caught:
        operation(*args)
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[number]


# -- the root -------------------------------------------------------------------------


def test_root_shows_the_stores_and_hides_the_reserved_ones(
    make_mount: MakeMount, tmp_path: Path
) -> None:
    mount = make_mount(
        {"mem": "memory", "shared": "file"},
        sections={
            "os_glance_staging_store": {"filesystem_store_datadir": tmp_path / "staging"},
            "os_glance_tasks_store": {"filesystem_store_datadir": tmp_path / "tasks"},
        },
    )
    assert sorted(os.listdir(mount.path)) == ["mem", "shared"]
    assert run("ls", mount.path).split() == ["mem", "shared"]
    assert not (mount / "os_glance_staging_store").exists()


def test_image_written_to_the_root_goes_to_the_default_store(mount: Mount) -> None:
    (mount / "image").write_bytes(BYTES)
    assert (mount.datadirs["shared"] / "image").read_bytes() == BYTES
    assert (mount / "image").read_bytes() == BYTES
    assert sorted(os.listdir(mount.path)) == ["mem", "second", "shared"]
    os.unlink(mount / "image")
    assert os.listdir(mount / "shared") == []


def test_lookup_in_the_root_goes_by_weight(make_mount: MakeMount) -> None:
    sections = {"light": {"weight": 1}, "heavy": {"weight": 10}, "middle": {"weight": 5}}
    mount = make_mount(
        {"light": "memory", "heavy": "memory", "middle": "memory"}, sections=sections
    )
    for store in ("light", "middle"):
        (mount / store / "image").write_text(store)
    assert (mount / "image").read_text() == "middle"
    (mount / "heavy" / "image").write_text("heavy")
    os.unlink(mount / "middle" / "image")
    assert (mount / "image").read_text() == "heavy"
    refused(errno.ENOENT, os.stat, mount / "nobody has it")


def test_no_default_store(make_mount: MakeMount) -> None:
    mount = make_mount({"a": "memory", "b": "memory"}, default=None)
    mount.expect_log("create /image: Nothing can be created here: set default_backend")
    refused(errno.EROFS, (mount / "image").write_bytes, BYTES)


def test_inode_numbers_are_those_of_before_a_remount(own_mount: Mount) -> None:
    for store in ("shared", "second"):
        (own_mount / store / "image").write_bytes(BYTES)
    own_mount.remount()
    paths = [own_mount.path, own_mount / "shared", own_mount / "shared" / "image"]
    paths.append(own_mount / "second" / "image")
    before = [os.stat(path).st_ino for path in paths]
    assert len(set(before)) == 4
    own_mount.remount()
    assert [os.stat(path).st_ino for path in paths] == before


# -- names ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["with blank", "ümläut", "-n", "new\nline", "%2F", "a" * 255, "\udcff\udcfe", ".hidden", "*?"],
)
@pytest.mark.parametrize("store", ["mem", "shared"])
def test_any_name_a_file_may_have(mount: Mount, store: str, name: str) -> None:
    (mount / store / name).write_bytes(BYTES)
    assert os.listdir(mount / store) == [name]
    assert (mount / store / name).read_bytes() == BYTES
    os.rename(mount / store / name, mount / store / "other")
    os.rename(mount / store / "other", mount / store / name)
    os.unlink(mount / store / name)


@pytest.mark.parametrize("store", ["mem", "shared"])
def test_a_name_too_long(mount: Mount, store: str) -> None:
    long = mount / store / ("n" * 256)
    for call in (long.stat, long.touch, lambda: long.rename(mount / store / "short")):
        with pytest.raises(OSError) as refused:
            call()
        assert refused.value.errno == errno.ENAMETOOLONG


def test_driver_temporaries_cannot_be_made_or_seen(mount: Mount) -> None:
    name = ".storefs-upload-1234"
    (mount.datadirs["second"] / name).write_bytes(b"")
    assert os.listdir(mount / "second") == []
    assert not (mount / "second" / name).exists()
    mount.expect_log("create second/.storefs-upload-1234: .*EINVAL")
    refused(errno.EINVAL, (mount / "second" / name).write_bytes, BYTES)
    os.unlink(mount.datadirs["second"] / name)


def test_100_000_names_in_bounded_memory(make_mount: MakeMount) -> None:
    mount = make_mount({"shared": "file"})
    for number in range(MANY):
        os.close(os.open(mount.datadirs["shared"] / f"image-{number:06}", os.O_CREAT))
    before = _rss(mount.pid)
    names = run("ls", "-f", mount / "shared").split()
    assert len(names) == len(set(names)) == MANY
    assert _rss(mount.pid) - before < 150 * MiB
    with os.scandir(mount / "shared") as entries:
        assert sum(1 for _ in entries) == MANY


def _rss(pid: int) -> int:
    """Resident bytes of a process at their peak."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.parametrize("store", ["mem", "shared"])
def test_a_directory_can_be_read_again_and_from_the_middle(mount: Mount, store: str) -> None:
    expected = {f"image{number:04}" for number in range(1500)}
    for name in expected:
        if store == "shared":
            (mount.datadirs["shared"] / name).touch()
        else:
            (mount / store / name).touch()
    script = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("len", ctypes.c_ushort),
                ("type", ctypes.c_ubyte), ("name", ctypes.c_char * 256)]
libc.opendir.restype = libc.fdopendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.POINTER(Dirent)
libc.readdir.argtypes = libc.rewinddir.argtypes = libc.telldir.argtypes = [ctypes.c_void_p]
libc.telldir.restype = ctypes.c_long
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
directory = libc.opendir(os.fsencode(sys.argv[1]))
def rest():
    names = []
    while entry := libc.readdir(directory):
        names.append(os.fsdecode(entry.contents.name))
    return names
every = rest()
libc.rewinddir(directory)
assert rest() == every
libc.rewinddir(directory)
for _ in range(700):
    libc.readdir(directory)
place = libc.telldir(directory)
after = rest()
libc.seekdir(directory, place)
assert rest() == after == every[700:], (len(after), len(every))
print("\\n".join(every))
"""
    names = run(sys.executable, "-c", script, mount / store).split()
    assert len(names) == 1500
    assert set(names) == expected


# -- attributes ------------------------------------------------------------------------


def test_owner_and_mode_are_the_mounts(make_mount: MakeMount) -> None:
    mount = make_mount({"mem": "memory"}, arguments=["-o", "uid=1234,gid=5678,umask=027"])
    image = mount / "mem" / "image"
    image.write_bytes(BYTES)
    status, directory = os.stat(image), os.stat(mount / "mem")
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 5678, 0o640)
    assert (directory.st_uid, stat.S_IMODE(directory.st_mode)) == (1234, 0o750)
    assert status.st_nlink == 1
    assert status.st_blksize == MiB


def test_chmod_and_chown_succeed_and_change_nothing(mount: Mount) -> None:
    need_root()
    image = mount / "shared" / "image"
    image.write_bytes(BYTES)
    before = os.stat(image)
    run("chmod", "600", image)
    run("chown", "4242:4242", image)
    with open(image, "rb") as file:
        os.fchmod(file.fileno(), 0o400)
    after = os.stat(image)
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode, before.st_uid, before.st_gid,
    )  # fmt: skip
    assert image.read_bytes() == BYTES


def test_mtime_is_kept(own_mount: Mount) -> None:
    image = own_mount / "shared" / "image"
    image.write_bytes(BYTES)
    os.utime(image, ns=(0, 1_111_111_111_123_456_789))
    assert os.stat(image).st_mtime_ns == 1_111_111_111_123_456_789
    own_mount.remount()
    assert os.stat(image).st_mtime_ns == 1_111_111_111_123_456_789


def test_xattrs_can_be_read_and_are_not_listed(mount: Mount) -> None:
    image = mount / "shared" / "image"
    image.write_bytes(BYTES)
    assert os.getxattr(image, "user.storefs.store") == b"shared"
    assert os.getxattr(image, "user.storefs.state") == b"published"
    location = os.getxattr(image, "user.storefs.location").decode()
    assert location == f"file://{mount.datadirs['shared']}/image"
    assert os.getxattr(image, "user.storefs.os_hash_algo") == b"sha512"
    assert run("getfattr", "-d", "-m", "-", "image", cwd=mount / "shared") == ""
    refused(errno.ENODATA, os.getxattr, image, "user.other")
    refused(errno.ENOTSUP, os.setxattr, image, "user.other", b"value")
    assert os.getxattr(mount / "shared", "user.storefs.state") == b"ready"


def test_xattrs_of_an_image_that_is_being_written(mount: Mount) -> None:
    with open(mount / "shared" / "image", "wb", buffering=0) as file:
        file.write(BYTES)
        assert os.getxattr(file.fileno(), "user.storefs.state") == b"streaming"


# -- what is refused -----------------------------------------------------------------------


def test_stores_are_flat(mount: Mount) -> None:
    image = mount / "shared" / "image"
    image.write_bytes(BYTES)
    mount.expect_log("mkdir shared/directory: Stores are flat")
    refused(errno.EPERM, os.mkdir, mount / "shared" / "directory")
    refused(errno.EPERM, os.link, image, mount / "shared" / "link")
    refused(errno.EPERM, os.mkfifo, mount / "shared" / "pipe")
    mount.expect_log("symlink shared/link: A link in store shared must be a URI")
    refused(errno.EPERM, os.symlink, "image", mount / "shared" / "link")
    refused(errno.EPERM, os.rmdir, mount / "shared")
    mount.expect_log("symlink shared/url: A link in store shared must be a URI")
    refused(errno.EPERM, os.symlink, "http://localhost/image", mount / "shared" / "url")
    refused(errno.EXDEV, os.rename, image, mount / "second" / "image")
    mount.expect_log("rename .*: mem is a store")
    refused(errno.EPERM, os.rename, mount / "mem", mount / "memory")
    assert os.listdir(mount / "shared") == ["image"]


def test_read_only_mount(make_mount: MakeMount) -> None:
    mount = make_mount(arguments=["-o", "ro"])
    (mount.datadirs["shared"] / "image").write_bytes(BYTES)
    image = mount / "shared" / "image"
    assert image.read_bytes() == BYTES
    refused(errno.EROFS, image.write_bytes, b"")
    refused(errno.EROFS, os.unlink, image)
    refused(errno.EROFS, os.rename, image, mount / "shared" / "other")
    refused(errno.EROFS, os.utime, image)
    assert os.listdir(mount.datadirs["shared"]) == ["image"]


def test_read_only_store(make_mount: MakeMount) -> None:
    mount = make_mount(
        {"shared": "file", "archive": "file"}, sections={"archive": {"read_only": "true"}}
    )
    (mount.datadirs["archive"] / "image").write_bytes(BYTES)
    image = mount / "archive" / "image"
    for operation in ("create archive/new", "unlink archive/image", "rename archive/image"):
        mount.expect_log(f"{operation}.*read-only.*EROFS")
    refused(errno.EROFS, (mount / "archive" / "new").write_bytes, b"")
    refused(errno.EROFS, os.unlink, image)
    refused(errno.EROFS, os.rename, image, mount / "archive" / "other")
    assert image.read_bytes() == BYTES
    (mount / "shared" / "image").write_bytes(BYTES)


def test_broken_store_says_why_and_the_others_go_on(make_mount: MakeMount) -> None:
    mount = make_mount(
        {"shared": "file", "typo": "fiel", "bad": "file"},
        sections={"bad": {"filesystem_store_datadir": "/dev/null/images"}},
    )
    assert sorted(os.listdir(mount.path)) == ["bad", "shared", "typo"]
    for store in ("typo", "bad"):
        mount.expect_log(store)
        refused(errno.EIO, os.listdir, mount / store)
        refused(errno.EIO, os.stat, mount / store / "image")
        refused(errno.EIO, (mount / store / "image").write_bytes, BYTES)
        assert os.getxattr(mount / store, "user.storefs.state").startswith(b"broken: ")
    (mount / "shared" / "image").write_bytes(BYTES)
    assert (mount / "image").read_bytes() == BYTES
    refused(errno.ENOENT, os.stat, mount / "nowhere")


# -- somebody else in the datadir ---------------------------------------------------------


@pytest.fixture
def impatient(make_mount: MakeMount) -> Mount:
    """Attributes are asked for anew each time."""
    return make_mount({"shared": "file"}, options={"attribute_timeout": 0})


def test_image_made_behind_our_back(impatient: Mount) -> None:
    image = impatient / "shared" / "image"
    assert not image.exists()
    (impatient.datadirs["shared"] / "image").write_bytes(BYTES)
    assert os.listdir(impatient / "shared") == ["image"]
    assert image.read_bytes() == BYTES


def test_image_replaced_behind_our_back(impatient: Mount) -> None:
    image, behind = impatient / "shared" / "image", impatient.datadirs["shared"] / "image"
    image.write_bytes(BYTES)
    assert image.read_bytes() == BYTES
    with open(image, "rb") as reader:
        start = reader.read(1000)
        other = data(500_000, seed=5)
        (behind.parent / "other").write_bytes(other)
        os.rename(behind.parent / "other", behind)
        assert image.read_bytes() == other
        assert os.stat(image).st_size == len(other)
        assert start + reader.read() == BYTES


def test_image_removed_behind_our_back(impatient: Mount) -> None:
    image = impatient / "shared" / "image"
    image.write_bytes(BYTES)
    os.unlink(impatient.datadirs["shared"] / "image")
    refused(errno.ENOENT, image.read_bytes)
    refused(errno.ENOENT, os.stat, image)
    assert os.listdir(impatient / "shared") == []


def test_news_from_elsewhere_arrive_within_the_attribute_timeout(mount: Mount) -> None:
    image, behind = mount / "shared" / "image", mount.datadirs["shared"] / "image"
    image.write_bytes(BYTES)
    assert os.stat(image).st_size == len(BYTES)
    behind.unlink()
    behind.write_bytes(b"other")
    await_true(lambda: os.stat(image).st_size == 5, "the news")
    assert image.read_bytes() == b"other"
    behind.unlink()
    await_true(lambda: not image.exists(), "the end of it")


def test_who_would_create_an_image_does_not_hear_that_it_is_gone(make_mount: MakeMount) -> None:
    """The kernel still knows the name, and opens what was removed elsewhere."""
    mount = make_mount({"shared": "file"}, options={"attribute_timeout": 60})
    image, behind = mount / "shared" / "image", mount.datadirs["shared"] / "image"
    image.write_bytes(BYTES)
    assert os.stat(image).st_size == len(BYTES)
    behind.unlink()
    descriptor = os.open(image, os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"new")
    os.close(descriptor)
    assert image.read_bytes() == b"new"
    await_true(behind.exists, "the image in its store")
    assert behind.read_bytes() == b"new"
    behind.unlink()
    refused(errno.ENOENT, image.read_bytes)


# -- the command -----------------------------------------------------------------------------


def test_daemon(make_mount: MakeMount) -> None:
    mount = make_mount(daemon=True)
    assert mount.process is not None
    assert mount.pid != mount.process.pid
    (mount / "shared" / "image").write_bytes(BYTES)
    mount.remount()
    assert (mount / "shared" / "image").read_bytes() == BYTES


def test_daemon_that_is_killed_can_be_mounted_over(make_mount: MakeMount) -> None:
    mount = make_mount(daemon=True)
    (mount / "shared" / "image").write_bytes(BYTES)
    mount.kill9()
    mount.start()
    assert (mount / "shared" / "image").read_bytes() == BYTES


def test_mtime_of_now_is_now(mount: Mount) -> None:
    before = time.time()
    (mount / "shared" / "image").write_bytes(BYTES)
    assert before - 1 <= os.stat(mount / "shared" / "image").st_mtime <= time.time() + 1
    assert attempt("test", mount / "shared" / "image", "-nt", "/proc/self/exe").returncode == 0
