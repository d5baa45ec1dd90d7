# SPDX-License-Identifier: Apache-2.0
"""Writers that do not go from start to end, with the tools people use."""

import contextlib
import errno
import hashlib
import mmap
import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.mount.conftest import MakeMount
from tests.mount.mounting import Mount
from tests.mount.tools import KiB, MiB, attempt, await_true, data, run, shell

OLD = data(3 * MiB + 5, seed=1)

STORES = pytest.mark.parametrize("store", ["mem", "shared"])


@pytest.fixture
def image(mount: Mount, request: pytest.FixtureRequest) -> Path:
    """An image of 3 MiB and 5 bytes."""
    path = mount / request.node.callspec.params["store"] / "image"
    path.write_bytes(OLD)
    return path


def settled(mount: Mount) -> None:
    """Until all that was written is in the stores."""
    await_true(lambda: not mount.spooled(), f"an empty spool: {mount.spooled()}")


def cold(mount: Mount, path: Path) -> bytes:
    """What the store has: by then nothing of it is in the spool, or in the kernel."""
    settled(mount)
    if path.parent.name in mount.datadirs:
        return (mount.datadirs[path.parent.name] / path.name).read_bytes()
    return path.read_bytes()


def patched(content: bytes, patch: bytes, offset: int) -> bytes:
    content = content.ljust(offset, b"\0")
    return content[:offset] + patch + content[offset + len(patch) :]


# -- single calls ------------------------------------------------------------------------


@STORES
@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 1), (4095, 2), (MiB - 1, MiB + 2), (len(OLD) - 1, 1), (len(OLD), 10), (5 * MiB, 1)],
)
def test_write_into_a_published_image(
    mount: Mount, image: Path, store: str, offset: int, length: int
) -> None:
    patch = data(length, seed=7)
    with open(image, "r+b", buffering=0) as file:
        assert os.pwrite(file.fileno(), patch, offset) == length
        expected = patched(OLD, patch, offset)
        assert os.pread(file.fileno(), 10 * MiB, 0) == expected
        assert image.read_bytes() == expected
        assert os.fstat(file.fileno()).st_size == len(expected)
    assert image.read_bytes() == expected
    assert cold(mount, image) == expected
    assert image.read_bytes() == expected


@STORES
@pytest.mark.parametrize("size", [0, 1, 4096, MiB, len(OLD) - 1, len(OLD) + 1, 4 * MiB])
@pytest.mark.parametrize("how", ["path", "descriptor"])
def test_truncate(mount: Mount, image: Path, store: str, size: int, how: str) -> None:
    expected = OLD[:size].ljust(size, b"\0")
    if how == "path":
        os.truncate(image, size)
    else:
        with open(image, "r+b") as file:
            os.ftruncate(file.fileno(), size)
    assert os.stat(image).st_size == size
    assert image.read_bytes() == expected
    assert cold(mount, image) == expected


@STORES
def test_what_is_cut_off_does_not_come_back(mount: Mount, image: Path, store: str) -> None:
    with open(image, "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"x" * MiB, MiB)
        os.ftruncate(file.fileno(), 1000)
        os.ftruncate(file.fileno(), 3 * MiB)
        os.pwrite(file.fileno(), b"end", 2 * MiB)
    expected = patched(OLD[:1000].ljust(3 * MiB, b"\0"), b"end", 2 * MiB)
    assert image.read_bytes() == expected
    assert cold(mount, image) == expected


@STORES
def test_append(mount: Mount, image: Path, store: str) -> None:
    expected = OLD
    for number in range(20):
        with open(image, "ab", buffering=0) as file:
            file.write(b"line %d\n" % number)
        expected += b"line %d\n" % number
        assert os.stat(image).st_size == len(expected)
    assert image.read_bytes() == expected
    assert cold(mount, image) == expected


@STORES
def test_two_who_append_through_two_descriptors(mount: Mount, image: Path, store: str) -> None:
    with open(image, "ab", buffering=0) as one, open(image, "ab", buffering=0) as two:
        for turn in range(5):
            one.write(b"one %d\n" % turn)
            two.write(b"two %d\n" % turn)
    lines = [b"%s %d\n" % (name, turn) for turn in range(5) for name in (b"one", b"two")]
    assert cold(mount, image) == OLD + b"".join(lines)


@STORES
def test_children_of_a_shell_share_a_descriptor(mount: Mount, store: str) -> None:
    shell("(/bin/echo one; /bin/echo two; cat /bin/ls) > log", mount / store)
    expected = b"one\ntwo\n" + Path("/bin/ls").read_bytes()
    assert (mount / store / "log").read_bytes() == expected
    assert cold(mount, mount / store / "log") == expected


@STORES
def test_a_short_stream_may_go_back(mount: Mount, store: str) -> None:
    """As who writes a header last does, with a descriptor that cannot read."""
    image = mount / store / "image"
    with open(image, "wb", buffering=0) as file:
        file.write(bytes(512) + OLD)
        os.pwrite(file.fileno(), b"header", 0)
        os.ftruncate(file.fileno(), 1000)
        file.seek(0, os.SEEK_END)
        file.write(b"more")
    expected = patched(bytes(512) + OLD, b"header", 0)[:1000] + b"more"
    assert image.read_bytes() == expected
    assert cold(mount, image) == expected


@STORES
def test_a_new_image_written_in_any_order(mount: Mount, store: str) -> None:
    image, expected = mount / store / "image", data(5 * MiB + 3, seed=4)
    blocks = list(range(0, len(expected), 37 * KiB))
    random.Random(0).shuffle(blocks)
    with open(image, "x+b", buffering=0) as file:
        for offset in blocks:
            os.pwrite(file.fileno(), expected[offset : offset + 37 * KiB], offset)
        assert os.pread(file.fileno(), len(expected) + 1, 0) == expected
        assert "image" not in os.listdir(mount / store)
    assert os.listdir(mount / store) == ["image"]
    assert image.read_bytes() == expected
    assert cold(mount, image) == expected


@STORES
def test_mmap_reads_and_writes(mount: Mount, image: Path, store: str) -> None:
    with open(image, "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        assert view[MiB : MiB + 10] == OLD[MiB : MiB + 10]
        view[MiB : MiB + 5] = b"hello"
        view[0:1] = b"X"
        view.flush()
        view[-3:] = b"end"
    expected = patched(patched(patched(OLD, b"hello", MiB), b"X", 0), b"end", len(OLD) - 3)
    assert image.read_bytes() == expected
    assert cold(mount, image) == expected


@STORES
def test_a_mapping_outlives_its_descriptor(mount: Mount, image: Path, store: str) -> None:
    with open(image, "r+b") as file:
        view = mmap.mmap(file.fileno(), 0)
    view[0:5] = b"later"
    view.close()
    expected = patched(OLD, b"later", 0)
    await_true(lambda: image.read_bytes() == expected, "the pages that were written")
    assert cold(mount, image) == expected


@STORES
def test_replacing_in_any_order_shows_the_new_one_after_close(
    mount: Mount, image: Path, store: str
) -> None:
    with open(image, "w+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"tail", 100)
        os.pwrite(file.fileno(), b"head", 0)
        assert image.read_bytes() == OLD
    expected = b"head".ljust(100, b"\0") + b"tail"
    assert image.read_bytes() == expected
    assert cold(mount, image) == expected


@STORES
def test_fsync_publishes(mount: Mount, store: str) -> None:
    image = mount / store / "image"
    with open(image, "x+b", buffering=0) as file:
        os.pwrite(file.fileno(), OLD, 0)
        os.fsync(file.fileno())
        assert os.listdir(mount / store) == ["image"]
        if store == "shared":
            assert (mount.datadirs["shared"] / "image").read_bytes() == OLD
        os.pwrite(file.fileno(), b"more", MiB)
        assert image.read_bytes() == patched(OLD, b"more", MiB)
        if store == "shared":
            assert (mount.datadirs["shared"] / "image").read_bytes() == OLD
    assert cold(mount, image) == patched(OLD, b"more", MiB)


def test_an_image_that_did_not_change_is_not_stored_again(mount: Mount) -> None:
    image = mount / "shared" / "image"
    image.write_bytes(OLD)
    before = (mount.datadirs["shared"] / "image").stat().st_ino
    with open(image, "r+b", buffering=0) as file:
        file.write(OLD[: 2 * MiB])
    assert cold(mount, image) == OLD
    assert (mount.datadirs["shared"] / "image").stat().st_ino == before


def test_holes_stay_holes(mount: Mount) -> None:
    image = mount / "shared" / "image"
    with open(image, "x+b", buffering=0) as file:
        os.ftruncate(file.fileno(), 200 * MiB)
        os.pwrite(file.fileno(), b"x", 100 * MiB)
        os.pwrite(file.fileno(), bytes(MiB), 150 * MiB)
    settled(mount)
    stat = (mount.datadirs["shared"] / "image").stat()
    assert stat.st_size == 200 * MiB
    assert stat.st_blocks * 512 < 8 * MiB
    with open(image, "rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    assert os.getxattr(image, "user.storefs.md5").decode() == digest


@STORES
def test_mtime_of_the_last_write_is_kept(mount: Mount, image: Path, store: str) -> None:
    with open(image, "r+b", buffering=0) as file:
        file.write(b"new")
    written = os.stat(image).st_mtime_ns
    settled(mount)
    assert os.stat(image).st_mtime_ns == written
    with open(image, "r+b", buffering=0) as file:
        file.write(b"newer")
        os.utime(file.fileno(), ns=(10**18, 10**18))
    assert os.stat(image).st_mtime_ns == 10**18
    settled(mount)
    assert os.stat(image).st_mtime_ns == 10**18


@STORES
def test_state_can_be_asked_for(make_mount: MakeMount, store: str) -> None:
    mount = make_mount(options={"publish_delay": 600})
    image = mount / store / "image"
    with open(image, "x+b") as file:
        assert os.getxattr(image, "user.storefs.state") == b"writing"
        file.write(b"x")
    assert os.getxattr(image, "user.storefs.state") == b"waiting"
    with open(image, "r+b") as file:
        os.fsync(file.fileno())
    assert os.getxattr(image, "user.storefs.state") == b"published"


# -- names -------------------------------------------------------------------------------


@STORES
def test_unlink_takes_back_what_is_not_stored_yet(mount: Mount, store: str) -> None:
    image = mount / store / "image"
    with open(image, "x+b", buffering=0) as file:
        file.write(OLD)
        os.unlink(image)
        assert os.pread(file.fileno(), 100, 0) == OLD[:100]
        file.write(b"more")
    assert not image.exists()
    settled(mount)
    assert os.listdir(mount / store) == []


@STORES
def test_unlink_of_what_is_being_changed_deletes_it(mount: Mount, image: Path, store: str) -> None:
    with open(image, "r+b", buffering=0) as file:
        file.write(b"new")
        os.unlink(image)
        assert os.pread(file.fileno(), 5, 0) == b"new" + OLD[3:5]
    settled(mount)
    assert os.listdir(mount / store) == []


@STORES
@pytest.mark.parametrize("there", [True, False])
def test_rename_stores_under_the_new_name(mount: Mount, store: str, there: bool) -> None:
    image, other = mount / store / "image", mount / store / "other"
    if there:
        other.write_bytes(b"something else")
    with open(image, "x+b", buffering=0) as file:
        file.write(OLD)
        os.pwrite(file.fileno(), b"X", 5)
    os.rename(image, other)
    assert os.listdir(mount / store) == ["other"]
    if store == "shared":
        assert (mount.datadirs["shared"] / "other").read_bytes() == patched(OLD, b"X", 5)
    assert other.read_bytes() == patched(OLD, b"X", 5)


@STORES
def test_rename_of_a_changed_image(mount: Mount, image: Path, store: str) -> None:
    other = image.with_name("other")
    with open(image, "r+b", buffering=0) as file:
        file.write(b"new")
        os.rename(image, other)
        file.write(b"more")
    assert os.listdir(mount / store) == ["other"]
    assert other.read_bytes() == b"newmore" + OLD[7:]
    assert cold(mount, other) == b"newmore" + OLD[7:]


@STORES
def test_replaced_by_rename_while_it_waits(mount: Mount, image: Path, store: str) -> None:
    other = image.with_name("other")
    other.write_bytes(b"other")
    with open(image, "r+b", buffering=0) as file:
        file.write(b"new")
    os.rename(other, image)
    assert image.read_bytes() == b"other"
    assert cold(mount, image) == b"other"


@STORES
def test_copied_over_while_it_waits(mount: Mount, image: Path, store: str) -> None:
    with open(image, "r+b", buffering=0) as file:
        file.write(b"new")
    image.write_bytes(b"the last word")
    assert image.read_bytes() == b"the last word"
    assert cold(mount, image) == b"the last word"


# -- tools -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw disk of 24 MiB with a filesystem and something in it."""
    path = tmp_path_factory.mktemp("disk") / "disk.raw"
    path.touch()
    os.truncate(path, 24 * MiB)
    run("mke2fs", "-q", "-t", "ext4", path)
    payload = path.with_name("payload")
    payload.write_bytes(data(3 * MiB, seed=9))
    run("debugfs", "-w", "-R", f"write {payload} payload", path, chatty=True)
    return path


@STORES
@pytest.mark.parametrize(
    "options",
    [
        ["raw"],
        ["qcow2"],
        ["qcow2", "-c"],
        ["vmdk"],
        ["vmdk", "-o", "subformat=streamOptimized"],
        ["vdi"],
        ["vpc"],
        ["raw", "-t", "none"],
        ["qcow2", "-t", "writeback", "-W", "-m", "8"],
    ],
    ids=" ".join,
)
def test_qemu_img_convert(mount: Mount, disk: Path, store: str, options: list[str]) -> None:
    image = mount / store / "image"
    run("qemu-img", "convert", "-f", "raw", "-O", *options, disk, image)
    compare = ["qemu-img", "compare", "-f", "raw", "-F", options[0], disk]
    run(*compare, image)
    settled(mount)
    if store == "shared":
        run(*compare, mount.datadirs["shared"] / "image")
    run(*compare, image)
    assert len(os.listdir(mount / store)) == 1


def test_qemu_img_convert_between_stores(mount: Mount, disk: Path) -> None:
    raw, qcow2 = mount / "shared" / "raw", mount / "mem" / "qcow2"
    run("cp", disk, raw)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2)
    back = mount / "second" / "raw"
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", qcow2, back)
    assert hashlib.md5(cold(mount, back)).digest() == hashlib.md5(disk.read_bytes()).digest()


@STORES
def test_qemu_img_convert_over_an_image(mount: Mount, image: Path, disk: Path, store: str) -> None:
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, image)
    settled(mount)
    run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", disk, image)


@STORES
def test_qemu_img_in_place(mount: Mount, disk: Path, store: str) -> None:
    base, image = mount / store / "base", mount / store / "image"
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, base)
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", image)
    run("qemu-img", "resize", "-q", image, "32M")
    run("qemu-img", "snapshot", "-c", "one", image)
    settled(mount)
    run("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "", image)
    assert '"virtual-size": 33554432' in run("qemu-img", "info", "--output=json", image)
    assert "backing" not in run("qemu-img", "info", image)
    run("qemu-img", "check", "-q", image)
    settled(mount)
    run("qemu-img", "check", "-q", image)
    assert "one" in run("qemu-img", "snapshot", "-l", image)


@STORES
def test_debugfs_writes_into_a_disk(mount: Mount, disk: Path, store: str) -> None:
    image = mount / store / "image"
    run("cp", disk, image)
    for number in range(3):
        run("debugfs", "-w", "-R", f"mkdir new{number}", image, chatty=True)
    settled(mount)
    assert attempt("e2fsck", "-fn", image).returncode == 0
    names = run("debugfs", "-R", "ls -p /", image, chatty=True)
    assert all(f"/new{number}/" in names for number in range(3))
    run("debugfs", "-R", "dump payload /dev/null", image, chatty=True)


@STORES
def test_mke2fs_in_place(mount: Mount, store: str) -> None:
    image = mount / store / "image"
    run("truncate", "-s", "16M", image)
    run("mke2fs", "-q", "-t", "ext4", image)
    settled(mount)
    assert attempt("e2fsck", "-fn", image).returncode == 0


@STORES
def test_dd_notrunc_and_seek(mount: Mount, image: Path, store: str, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(OLD)
    for target in (image, local):
        dd = ["dd", f"of={target}", "status=none"]
        run(*dd, "if=/bin/ls", "conv=notrunc", "bs=1000", "count=70", "seek=3")
        run(*dd, "if=/bin/cat", "oflag=append", "conv=notrunc")
        run(*dd, "if=/bin/ls", "bs=4096", "count=2", "seek=10", "conv=notrunc,fsync")
    assert cold(mount, image) == local.read_bytes()
    for target in (image, local):  # without notrunc it cuts at the seek
        run("dd", f"of={target}", "if=/bin/ls", "bs=4096", "seek=5", "count=1", "status=none")
    assert cold(mount, image) == local.read_bytes()


@STORES
def test_rsync_inplace_over_an_image(mount: Mount, image: Path, store: str, tmp_path: Path) -> None:
    source = tmp_path / "image"
    for content in (patched(OLD, b"changed", MiB), OLD[:MiB], OLD + b"more"):
        source.write_bytes(content)
        run("rsync", "-aI", "--inplace", "--no-whole-file", source, image)
        assert image.read_bytes() == content
        assert cold(mount, image) == content
        assert run("rsync", "-a", "--inplace", "--itemize-changes", source, image) == ""
    run("rsync", "-a", "--append", source, image)


@STORES
def test_ex_edits(mount: Mount, store: str) -> None:
    text = mount / store / "text"
    text.write_text("one\ntwo\nthree\n")
    for backup in ("yes", "no"):
        script = f"set backupcopy={backup}\n%s/two/2/e\n$append\nfour\n.\nwq\n"
        run("ex", "-s", text, input=script, chatty=True)
    assert text.read_text() == "one\n2\nthree\nfour\nfour\n"
    settled(mount)
    assert text.read_text() == "one\n2\nthree\nfour\nfour\n"
    assert os.listdir(mount / store) == ["text"]


@STORES
def test_sed_edits_in_place(mount: Mount, store: str) -> None:
    text = mount / store / "text"
    text.write_text("one\ntwo\n")
    run("sed", "-i", "s/two/2/", text)
    assert cold(mount, text) == b"one\n2\n"
    assert os.listdir(mount / store) == ["text"]


@STORES
def test_sqlite_works(mount: Mount, store: str) -> None:
    database = mount / store / "db"
    run("sqlite3", database, "create table t(x); insert into t values (1), (2);")
    for number in range(3):
        run("sqlite3", database, f"insert into t values ({number});")
    assert run("sqlite3", database, "select sum(x) from t; pragma integrity_check;") == "6\nok\n"
    settled(mount)
    assert os.listdir(mount / store) == ["db"]
    assert run("sqlite3", database, "select sum(x) from t; pragma integrity_check;") == "6\nok\n"


@STORES
def test_fallocate_is_refused_as_tools_expect(mount: Mount, image: Path, store: str) -> None:
    result = attempt("fallocate", "-l", "8M", image)
    assert result.returncode == 1
    assert "not supported" in result.stderr
    run("fallocate", "--posix", "-l", str(4 * MiB), image)
    assert cold(mount, image) == OLD.ljust(4 * MiB, b"\0")


@STORES
@pytest.mark.parametrize("there", [True, False])
def test_what_a_killed_writer_wrote_is_given_up(
    mount: Mount, image: Path, store: str, there: bool
) -> None:
    mount.expect_log(rf"{store}: image: its writer was killed")
    if not there:
        os.unlink(image)
    script = (
        "import os, sys, time; f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
        "os.pwrite(f, b'half', 1000); print('written', flush=True); time.sleep(600)"
    )
    writer = subprocess.Popen(["python3", "-c", script, image], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"written\n"
    assert os.path.getsize(image) == (len(OLD) if there else 1004)
    writer.kill()
    writer.communicate()
    await_true(lambda: mount.logged("writer was killed"), "the end of what it wrote")
    settled(mount)
    assert os.listdir(mount / store) == ["image"] * there
    if there:
        assert image.read_bytes() == OLD


# -- room --------------------------------------------------------------------------------


def test_a_full_spool_is_told_to_who_fills_it_alone(make_mount: MakeMount) -> None:
    mount = make_mount(options={"spool_limit": 2, "publish_delay": 600})
    first, second = mount / "shared" / "first", mount / "shared" / "second"
    mount.expect_log("write shared/second: .*spool_limit of 2 MiB")
    with open(first, "x+b", buffering=0) as file:
        file.write(OLD[:MiB])
    with open(second, "x+b", buffering=0) as file:
        file.write(OLD[: MiB - 1000])
        file.write(OLD[: 2 * MiB])  # some of it fits
        with pytest.raises(OSError) as caught:
            file.write(OLD[: 2 * MiB])
        assert caught.value.errno == errno.ENOSPC
        os.pwrite(file.fileno(), b"over what is there", 0)
    run("cp", "/bin/ls", mount / "shared" / "third")
    with open(second, "rb") as file:
        assert file.read(18) == b"over what is there"
    for path in (first, second):
        with open(path, "r+b") as file:
            os.fsync(file.fileno())
    with open(second, "r+b", buffering=0) as file:  # what is stored takes no room
        file.write(OLD[: 2 * MiB - 1])
    os.unlink(second)


def test_the_floor_of_free_space(make_mount: MakeMount) -> None:
    mount = make_mount(options={"spool_min_free": 1 << 40})
    mount.expect_log("write shared/image: .*spool_min_free")
    descriptor = os.open(mount / "shared" / "image", os.O_RDWR | os.O_CREAT)
    with pytest.raises(OSError) as caught:
        os.write(descriptor, b"x")
    assert caught.value.errno == errno.ENOSPC
    os.unlink(mount / "shared" / "image")
    os.close(descriptor)
    run("cp", "/bin/ls", mount / "shared" / "image")


def test_many_writers_at_once_with_a_model(mount: Mount) -> None:
    """Processes that write the same image in disjoint places, and all of them their own."""
    script = """
import os, random, sys
path, own, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
rng = random.Random(number)
shared = os.open(path, os.O_RDWR)
mine = os.open(own, os.O_RDWR | os.O_CREAT | os.O_EXCL)
expected = bytearray(200_000)
for turn in range(60):
    os.pwrite(shared, bytes([number]) * 100, (turn * 8 + number) * 100)
    offset, piece = rng.randrange(190_000), rng.randbytes(rng.randrange(10_000))
    os.pwrite(mine, piece, offset)
    expected[offset:offset + len(piece)] = piece
    if turn % 20 == 7:
        os.fsync(mine)
    check = rng.randrange(190_000)
    got = os.pread(mine, 5000, check)
    assert got == bytes(expected[check:check + len(got)]), turn
os.ftruncate(mine, 200_000)
sys.stdout.buffer.write(expected)
"""
    image = mount / "shared" / "image"
    image.write_bytes(b"")
    writers = [
        subprocess.Popen(
            ["python3", "-c", script, image, mount / "shared" / f"own{n}", str(n)],
            stdout=subprocess.PIPE,
        )
        for n in range(8)
    ]
    wanted = [writer.communicate()[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 8
    rows = [bytes([n]) * 100 for n in range(8)]
    assert cold(mount, image) == b"".join(rows) * 60
    for number, content in enumerate(wanted):
        assert cold(mount, mount / "shared" / f"own{number}") == content
    with contextlib.suppress(FileNotFoundError):
        assert os.listdir(mount.spool) == []
