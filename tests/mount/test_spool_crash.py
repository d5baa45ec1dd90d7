# SPDX-License-Identifier: Apache-2.0
"""What close and fsync promised is kept: by the next start, or by the unmount."""

import contextlib
import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.mount.conftest import MakeMount
from tests.mount.mounting import STOREFS, Mount
from tests.mount.tools import MiB, attempt, await_true, data

OLD = data(2 * MiB + 5, seed=1)


def patched(content: bytes, patch: bytes, offset: int) -> bytes:
    content = content.ljust(offset, b"\0")
    return content[:offset] + patch + content[offset + len(patch) :]


def stored(mount: Mount, name: str) -> bytes:
    await_true(lambda: not mount.spooled(), f"an empty spool: {mount.spooled()}")
    return (mount.datadirs["shared"] / name).read_bytes()


@pytest.fixture
def slow(make_mount: MakeMount) -> Mount:
    """A mount that publishes nothing by itself."""
    return make_mount(options={"publish_delay": 600})


def test_what_was_closed_is_stored_by_the_next_start(slow: Mount) -> None:
    new, changed = slow / "shared" / "new", slow / "shared" / "changed"
    changed.write_bytes(OLD)
    with open(new, "x+b", buffering=0) as file:
        os.pwrite(file.fileno(), OLD, 100)
    with open(changed, "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"first", MiB)
    with open(changed, "r+b", buffering=0) as file:
        os.ftruncate(file.fileno(), 2 * MiB)
        os.pwrite(file.fileno(), b"second", 10)
    os.utime(changed, ns=(10**18, 10**18))
    slow.kill9()
    assert os.listdir(slow.datadirs["shared"]) == ["changed"]
    slow.start()
    expected = patched(patched(OLD[: 2 * MiB], b"first", MiB), b"second", 10)
    assert changed.read_bytes() == expected
    assert sorted(os.listdir(slow / "shared")) == ["changed", "new"]
    slow.umount()
    assert (slow.datadirs["shared"] / "changed").read_bytes() == expected
    assert (slow.datadirs["shared"] / "new").read_bytes() == bytes(100) + OLD
    slow.start()
    assert os.stat(changed).st_mtime_ns == 10**18
    digest = os.getxattr(changed, "user.storefs.os_hash_value").decode()
    assert digest == hashlib.sha512(expected).hexdigest()


def test_what_was_not_closed_is_dropped(slow: Mount) -> None:
    new, changed = slow / "shared" / "new", slow / "shared" / "changed"
    changed.write_bytes(OLD)
    descriptors = [os.open(new, os.O_RDWR | os.O_CREAT), os.open(changed, os.O_RDWR)]
    for descriptor in descriptors:
        os.write(descriptor, b"half of it")
    slow.kill9()
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    slow.start()
    assert slow.spooled() == []
    assert os.listdir(slow / "shared") == ["changed"]
    assert changed.read_bytes() == OLD


def test_the_last_close_counts_and_not_what_came_after_it(slow: Mount) -> None:
    """Not a mix of both, although both were in the spool."""
    image = slow / "shared" / "image"
    image.write_bytes(OLD)
    with open(image, "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"promised" * 1000, 0)
    file = open(image, "r+b", buffering=0)  # noqa: SIM115 - it is never closed
    os.pwrite(file.fileno(), b"X" * 5000, 100)
    os.ftruncate(file.fileno(), 10)
    slow.kill9()
    with contextlib.suppress(OSError):
        file.close()
    slow.start()
    expected = patched(OLD, b"promised" * 1000, 0)
    assert image.read_bytes() == expected
    slow.umount()
    assert (slow.datadirs["shared"] / "image").read_bytes() == expected


def test_what_was_deleted_does_not_come_back(slow: Mount) -> None:
    image = slow / "shared" / "image"
    with open(image, "x+b") as file:
        file.write(OLD)
    os.unlink(image)
    slow.kill9()
    slow.start()
    assert os.listdir(slow / "shared") == []


def test_an_image_changed_elsewhere_is_kept_beside_it_and_told(slow: Mount) -> None:
    image = slow / "shared" / "image"
    image.write_bytes(OLD)
    with open(image, "r+b", buffering=0) as file:
        file.write(b"here")
    slow.kill9()
    other = slow.datadirs["shared"] / "other"
    other.write_bytes(b"elsewhere")
    os.replace(other, slow.datadirs["shared"] / "image")
    slow.config.write_text(slow.config.read_text().replace("600", "0.1"))
    slow.start()
    slow.expect_log("shared: image: could not be stored: Image image was changed elsewhere")
    await_true(lambda: slow.logged("was changed elsewhere"), "the warning")
    assert (slow.datadirs["shared"] / "image").read_bytes() == b"elsewhere"
    (line,) = uploads(slow)
    assert line["state"] == "failed"
    assert "changed elsewhere" in line["error"]
    os.unlink(image)
    assert image.read_bytes() == b"elsewhere"
    assert uploads(slow) == []


def test_a_crash_between_publication_and_its_note_publishes_once(slow: Mount) -> None:
    """As if it had happened there: the record is put back after the image was stored."""
    image = slow / "shared" / "image"
    image.write_bytes(OLD)
    with open(image, "r+b", buffering=0) as file:
        file.write(b"new")
    kept: dict[str, bytes] = {}
    while True:  # the record that has the hashes is there for a moment
        kept = {name: (slow.spool / name).read_bytes() for name in slow.spooled()}
        if kept:
            break
    record = next(name for name in kept if name.endswith(".json"))
    content = json.loads(kept[record])
    expected = patched(OLD, b"new", 0)
    with open(image, "r+b") as file:
        os.fsync(file.fileno())
    slow.umount()
    inode = (slow.datadirs["shared"] / "image").stat().st_ino
    content["uploaded"] = {
        "size": len(OLD),
        "os_hash_algo": "sha512",
        "os_hash_value": hashlib.sha512(expected).hexdigest(),
        "layers": 1,
    }
    kept[record] = json.dumps(content).encode()
    for name, value in kept.items():
        (slow.spool / name).write_bytes(value)
    slow.start()
    slow.umount()
    assert (slow.datadirs["shared"] / "image").stat().st_ino == inode
    slow.start()
    assert image.read_bytes() == expected


def test_another_mount_leaves_the_records_of_a_living_one(
    slow: Mount, make_mount: MakeMount
) -> None:
    image = slow / "shared" / "image"
    with open(image, "x+b") as file:
        file.write(OLD)
    other = make_mount(
        {"shared": "file"},
        sections={"shared": {"filesystem_store_datadir": slow.datadirs["shared"]}},
        options={"spool_dir": slow.spool},
    )
    assert not other.logged("image")
    other.discard()
    assert uploads(slow) != []


def test_a_record_of_another_store_is_left_alone(slow: Mount, make_mount: MakeMount) -> None:
    with open(slow / "shared" / "image", "x+b") as file:
        file.write(OLD)
    slow.kill9()
    other = make_mount({"shared": "file"}, options={"spool_dir": slow.spool})
    other.expect_log("image is written and not stored: mount the store shared that keeps it in ")
    await_true(lambda: other.logged("image is written"), "the warning")
    assert os.listdir(other / "shared") == []
    other.check_log()
    slow.start()
    slow.umount()
    assert (slow.datadirs["shared"] / "image").read_bytes() == OLD


# -- unmounting -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["umount", "signal", "storefs"])
def test_unmount_stores_what_waits(slow: Mount, how: str) -> None:
    for number in range(5):
        with open(slow / "shared" / f"image{number}", "x+b") as file:
            file.write(OLD)
    if how == "umount":
        slow.umount()
    elif how == "signal":
        os.kill(slow.pid, signal.SIGTERM)
        slow.ended(0)
    else:
        result = attempt(*STOREFS, "umount", slow.path)
        assert (result.returncode, result.stderr) == (0, "")
        slow.ended(0)
    assert slow.spooled() == []
    for number in range(5):
        assert (slow.datadirs["shared"] / f"image{number}").read_bytes() == OLD


def test_unmount_tells_what_it_could_not_store(make_mount: MakeMount) -> None:
    sections = {"mem": {"memory_store_capacity": 100}}
    mount = make_mount(
        {"mem": "memory", "shared": "file"}, sections=sections, options={"publish_delay": 600}
    )
    with open(mount / "mem" / "image", "x+b") as file:
        file.write(OLD)
    mount.expect_log("mem: image: could not be stored: There is not enough disk space")
    mount.expect_log("mem: image: written, but not stored .There is not enough disk space")
    result = attempt(*STOREFS, "umount", mount.path)
    assert result.returncode == 3
    assert "image is written but not stored in mem: it is kept in" in result.stderr
    mount.ended(3)
    mount.check_log()
    mount.config.write_text(
        mount.config.read_text().replace("_capacity = 100", "_capacity = 99999999")
    )
    mount.start()
    await_true(lambda: not mount.spooled() or uploads(mount)[0]["state"] == "waiting", "taken up")
    assert (mount / "mem" / "image").read_bytes() == OLD
    with open(mount / "mem" / "image", "r+b") as file:
        os.fsync(file.fileno())
    await_true(lambda: not mount.spooled(), "an empty spool")


def test_a_store_that_refuses_is_tried_again(make_mount: MakeMount) -> None:
    mount = make_mount({"mem": "memory"}, sections={"mem": {"memory_store_capacity": 3 * MiB}})
    filler = mount / "mem" / "filler"
    filler.write_bytes(OLD)
    image = mount / "mem" / "image"
    mount.expect_log("mem: image: could not be stored: There is not enough disk space")
    with open(image, "x+b") as file:
        file.write(OLD)
    await_true(lambda: mount.logged("could not be stored"), "the first attempt")
    assert uploads(mount)[0]["state"] == "failed"
    assert image.read_bytes() == OLD
    os.unlink(filler)
    await_true(lambda: not mount.spooled(), "the second attempt")
    assert image.read_bytes() == OLD


def test_fsync_tells_what_the_store_says(make_mount: MakeMount) -> None:
    mount = make_mount({"mem": "memory"}, sections={"mem": {"memory_store_capacity": 100}})
    mount.expect_log("fsync mem/image: There is not enough disk space")
    descriptor = os.open(mount / "mem" / "image", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, bytes(99) + b"xx")
    with pytest.raises(OSError) as caught:
        os.fsync(descriptor)
    assert caught.value.errno == errno.ENOSPC
    os.ftruncate(descriptor, 100)
    os.fsync(descriptor)
    os.close(descriptor)
    assert (mount / "mem" / "image").read_bytes() == bytes(99) + b"x"


# -- what is under way ---------------------------------------------------------------------


def uploads(mount: Mount) -> list[dict[str, object]]:
    text = (mount / ".storefs" / "uploads").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_uploads_can_be_looked_at(slow: Mount) -> None:
    assert ".storefs" not in os.listdir(slow.path)
    assert os.listdir(slow / ".storefs") == ["uploads"]
    assert uploads(slow) == []
    with open(slow / "shared" / "stream", "wb", buffering=0) as stream:
        stream.write(OLD)
        with open(slow / "mem" / "random", "x+b") as file:
            file.write(OLD)
        lines = {line["image"]: line for line in uploads(slow)}
        assert lines["stream"] == {
            "store": "shared", "image": "stream", "state": "streaming",
            "bytes": len(OLD), "stored": len(OLD), "error": None,
        }  # fmt: skip
        assert lines["random"] == {
            "store": "mem", "image": "random", "state": "waiting",
            "bytes": len(OLD), "stored": 0, "error": None,
        }  # fmt: skip
    with open(slow / "mem" / "random", "r+b") as file:
        os.fsync(file.fileno())
    assert uploads(slow) == []


@pytest.mark.parametrize("name", [".storefs", ".storefs/uploads", ".storefs/other"])
def test_nothing_can_be_changed_there(slow: Mount, name: str) -> None:
    with pytest.raises(OSError) as caught:
        (slow / name).write_bytes(b"x")
    assert caught.value.errno in (errno.EPERM, errno.EISDIR, errno.EACCES)
    with pytest.raises(OSError):
        (slow / name).unlink()
    with pytest.raises(OSError):
        (slow / name).rename(slow / "shared" / "image")
    assert os.listdir(slow / ".storefs") == ["uploads"]


# -- killed at random --------------------------------------------------------------------

#: Writes, closes and says so: what it printed was promised. argv: directory, seed.
_WRITER = """
import hashlib, os, random, sys
directory, rng = sys.argv[1], random.Random(int(sys.argv[2]))
contents = {}
def say(name):
    print(name, hashlib.sha256(contents[name]).hexdigest(), flush=True)
while True:
    name = f"image{rng.randrange(4)}"
    new = bytearray(contents.get(name, b""))
    path = os.path.join(directory, name)
    print("begin", name, flush=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    for turn in range(rng.randrange(1, 6)):
        if rng.random() < 0.2:
            size = rng.randrange(1_500_000)
            os.ftruncate(descriptor, size)
            new[size:] = bytes(max(0, size - len(new)))
            continue
        offset, piece = rng.randrange(1_000_000), rng.randbytes(rng.randrange(1, 200_000))
        os.pwrite(descriptor, piece, offset)
        new.extend(bytes(max(0, offset + len(piece) - len(new))))
        new[offset:offset + len(piece)] = piece
    contents[name] = bytes(new)
    print("end", name, hashlib.sha256(new).hexdigest(), flush=True)
    if rng.random() < 0.3:
        os.fsync(descriptor)
    os.close(descriptor)
    say(name)
"""


@pytest.mark.parametrize("seed", range(12))
def test_killed_at_any_moment(make_mount: MakeMount, seed: int) -> None:
    """Each image is what its last close promised, or what was being promised just then."""
    rng = random.Random(seed)
    mount = make_mount(options={"publish_delay": rng.choice([0, 0.05, 0.3])})
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, mount / "shared", str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    killer = threading.Timer(rng.uniform(0.1, 2.0), os.kill, (mount.pid, signal.SIGKILL))
    killer.start()
    promised: dict[str, str] = {}
    perhaps: dict[str, set[str]] = {}
    assert writer.stdout is not None
    for line in writer.stdout:
        word, *rest = line.split()
        if word == "end":
            perhaps[rest[0]] = {promised.get(rest[0], ""), rest[1]}
        elif word != "begin":
            promised[word] = rest[0]
            perhaps.pop(word, None)
    writer.stdout.close()
    writer.wait()
    mount.kill9()
    mount.start()
    mount.umount()
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in mount.datadirs["shared"].iterdir()
    }
    for name in promised.keys() | perhaps.keys():
        assert found.get(name, "") in perhaps.get(name, {promised.get(name, "")}), name
    assert found.keys() <= promised.keys() | perhaps.keys()
    mount.start()


def test_spool_is_below_the_staging_store(make_mount: MakeMount, tmp_path: Path) -> None:
    staging = tmp_path / "staging"
    mount = make_mount(
        sections={"os_glance_staging_store": {"filesystem_store_datadir": staging}},
        options={"publish_delay": 600, "spool_dir": ""},
    )
    with open(mount / "shared" / "image", "x+b") as file:
        file.write(b"x")
    assert os.listdir(staging) == [".storefs-spool"]
    assert len(os.listdir(staging / ".storefs-spool")) == 3
