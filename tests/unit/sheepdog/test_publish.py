# SPDX-License-Identifier: Apache-2.0
"""Publication step by step: what other hosts see, what fails, what a killed storefs leaves."""

import contextlib
import signal
import subprocess
import threading
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.sheepdog import SheepdogDriver
from storefs.drivers.sheepdog.names import hidden_name, is_hidden, vdi_hash
from tests.contract.images import add, listed, pattern, read, write
from tests.servers import sheep_cluster as fake
from tests.servers.sheep import Sheep
from tests.servers.sheep_client import SheepClient, SheepError
from tests.unit.child import TREE, program
from tests.unit.sheepdog.conftest import MakeDriver

MiB = 1024 * 1024

WRITE, NEW, FIND, DELETE = 0x03, 0x11, 0x14, 0x17


def _inode_write(asked: fake.Asked) -> bool:
    """Does the request write the head of an inode?"""
    return bool(asked.oid >> 63) and asked.offset < fake.HEAD


def test_the_hash_is_sheepdog_s() -> None:
    assert vdi_hash(b"t1") == 0x6A5E16


@pytest.mark.parametrize("name", [b"a", b"image", b"\xff" * 255, "grüße".encode()])
def test_a_hidden_name_has_the_hash_of_the_other(name: bytes) -> None:
    first, second = hidden_name("new", name), hidden_name("old", name)
    assert first != second
    assert is_hidden(first)
    assert is_hidden(second)
    assert fake.fnv(first) == fake.fnv(second) == fake.fnv(name)


def test_only_storefs_names_are_hidden(driver: Any, client: SheepClient) -> None:
    client.put(b".storefs-no-such-form", b"visible")
    client.put(hidden_name("new", b"x"), b"hidden")
    assert listed(driver) == {".storefs-no-such-form": 7}


def test_a_draft_is_found_by_no_name_of_an_image(driver: Any, client: SheepClient) -> None:
    writer = driver.create(driver.locate("image"), None)
    write(writer, b"bytes")
    assert [is_hidden(vdi.name) for vdi in client.vdis()] == [True]
    writer.commit(5)
    assert [(vdi.name, vdi.size) for vdi in client.vdis()] == [(b"image", 5)]
    assert client.get(b"image") == b"bytes"


def test_a_name_is_taken_from_everybody_while_it_is_published(
    driver: Any, sheep: Sheep, client: SheepClient
) -> None:
    """Once there is a reservation another program cannot create the VDI, and nobody sees one."""
    told = []

    def meanwhile() -> None:
        other = SheepClient(sheep.host, sheep.port)
        with contextlib.closing(other), pytest.raises(SheepError, match="0x04"):
            other.put(b"image", b"theirs")
        told.append(listed(driver))
        with pytest.raises(exceptions.NotFound):
            driver.stat(driver.locate("image"))

    writer = driver.create(driver.locate("image"), None)
    write(writer, b"ours")
    sheep.fault(WRITE, fits=_inode_write, then=meanwhile)
    writer.commit(4)
    assert told == [{}]
    assert read(driver, "image") == b"ours"
    assert client.get(b"image") == b"ours"


@pytest.mark.parametrize("step", range(4))
def test_whoever_looks_while_it_is_replaced_sees_one_of_the_two(
    driver: Any, sheep: Sheep, step: int
) -> None:
    add(driver, "image", b"old image")
    seen = []

    def look() -> None:
        seen.append(read(driver, "image"))
        assert set(listed(driver)) == {"image"}

    writer = driver.create(driver.locate("image"), None, replace=True)
    write(writer, b"new")
    sheep.fault(WRITE, times=step, fits=_inode_write)
    sheep.fault(WRITE, fits=_inode_write, then=look)
    sheep.fault(DELETE, then=look)
    writer.commit(3)
    assert seen
    assert set(seen) <= {b"old image", b"new"}
    assert read(driver, "image") == b"new"


@pytest.mark.parametrize("opcode", [WRITE, NEW, DELETE, 0x01, FIND, 0x02])
@pytest.mark.parametrize("how", ["lose", "reset"])
@pytest.mark.parametrize("replace", [True, False], ids=["replace", "add"])
def test_an_answer_that_is_lost_changes_nothing(
    driver: Any, sheep: Sheep, opcode: int, how: str, replace: bool
) -> None:
    """Each request of the opcode loses its first answer, wherever it stands."""
    if replace:
        add(driver, "image", b"old")
    data = pattern(5 * MiB)
    seen: set[tuple[int, bytes]] = set()

    def first(asked: fake.Asked) -> bool:
        key = (asked.opcode, asked.fields + asked.payload[:256])
        fresh = key not in seen
        seen.add(key)
        return fresh

    sheep.fault(opcode, times=100, fits=first, **{how: True})
    add(driver, "image", data, replace=replace)
    assert read(driver, "image") == data
    assert set(sheep.cluster.names()) == {b"image"}
    assert sheep.cluster.orphans() == []


@pytest.mark.parametrize("nth", range(6))
@pytest.mark.parametrize("replace", [True, False], ids=["replace", "add"])
def test_an_error_at_any_write_leaves_the_old_or_the_new_image(
    driver: Any, sheep: Sheep, watched_log: Any, nth: int, replace: bool
) -> None:
    if replace:
        add(driver, "image", b"old")
    sheep.fault(WRITE, times=nth)
    sheep.fault(WRITE, result=0x03)
    try:
        add(driver, "image", b"new", replace=replace)
        expected = {"image": 3}
    except exceptions.BackendException:
        expected = {"image": 3} if replace else {}
        assert not replace or read(driver, "image") == b"old"
    else:
        assert read(driver, "image") == b"new"
    assert listed(driver) == expected
    stays = [r for r in watched_log.records if "stays until storefs starts" in r.getMessage()]
    assert len(sheep.cluster.names()) == len(expected) + len(stays)
    driver._own.leavings.journal.close()
    watched_log.records.clear()


def test_a_snapshot_that_is_newer_is_no_reason_to_lose_the_old_image(
    driver: Any, sheep: Sheep, client: SheepClient
) -> None:
    """The draft's id is lower than the snapshot's: Sheepdog would not find it."""
    writer = driver.create(driver.locate("image"), None, replace=True)
    write(writer, b"new")
    client.put(b"image", b"old")
    client.snapshot(b"image", b"tag")
    with pytest.raises(exceptions.InUseByStore, match="write it again"):
        writer.commit(3)
    writer.abort()
    assert read(driver, "image") == b"old"
    assert sheep.cluster.orphans() == []
    add(driver, "image", b"again", replace=True)
    assert read(driver, "image") == b"again"
    assert [vdi.snapshot for vdi in client.vdis()] == [True, False]


def test_snapshots_are_no_images_and_survive(driver: Any, client: SheepClient) -> None:
    client.put(b"image", pattern(5 * MiB))
    kept, _ = client.snapshot(b"image", b"tag")
    assert listed(driver) == {"image": 5 * MiB}
    driver.delete(driver.locate("image"))
    assert listed(driver) == {}
    assert client.read(kept << 32, 4 * MiB) == pattern(4 * MiB)


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("first", ["here", "there"])
def test_two_hosts_replace_at_once_and_one_of_them_is_the_image(
    make_driver: MakeDriver, sheep: Sheep, first: str, step: int
) -> None:
    """Whichever has the higher id, by which it hides the other: nothing stays below it."""
    here, there = make_driver(), make_driver()
    add(here, "image", b"old")
    writers = {
        d: d.create(d.locate("image"), None, replace=True)
        for d in ((here, there) if first == "here" else (there, here))
    }
    write(writers[here], b"here")
    write(writers[there], b"there")
    sheep.fault(WRITE, times=step, fits=_inode_write)
    sheep.fault(WRITE, fits=_inode_write, then=lambda: writers[there].commit(5))
    writers[here].commit(4)
    for writer in writers.values():
        writer.abort()
    assert read(here, "image") in {b"here", b"there"}
    assert set(sheep.cluster.names()) == {b"image"}
    assert sheep.cluster.orphans() == []
    there.delete(there.locate("image"))
    assert listed(here) == {}
    assert sheep.cluster.data_objects() == []


def test_a_reservation_of_a_dead_host_is_told(
    driver: Any, client: SheepClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storefs.drivers.sheepdog.publish._PATIENCE", 0.01)
    client.create(b"image", (4 << 40) + 5)
    assert listed(driver) == {}
    with pytest.raises(exceptions.Duplicate, match="dog vdi delete"):
        add(driver, "image", b"bytes")
    client.delete(b"image")
    add(driver, "image", b"bytes")


def test_an_upload_that_is_aborted_removes_every_object(driver: Any, sheep: Sheep) -> None:
    writer = driver.create(driver.locate("image"), None)
    write(writer, pattern(9 * MiB))
    assert len(sheep.cluster.data_objects()) == 3
    writer.abort()
    assert sheep.cluster.data_objects() == []
    assert sheep.cluster.names() == {}


def test_a_full_cluster_is_no_space_and_nothing_is_left(driver: Any, sheep: Sheep) -> None:
    sheep.cluster.capacity = 6 * MiB
    with pytest.raises(exceptions.StorageFull):
        add(driver, "image", pattern(20 * MiB))
    assert sheep.cluster.data_objects() == []
    assert sheep.cluster.names() == {}


def test_holes_are_no_objects(driver: Any, sheep: Sheep, client: SheepClient) -> None:
    writer = driver.create(driver.locate("image"), None)
    writer.skip(4 * MiB, 0)
    writer.pwrite(memoryview(b"end"), 4 * MiB)
    writer.commit(4 * MiB + 3)
    assert len(sheep.cluster.data_objects()) == 1
    assert client.get(b"image") == bytes(4 * MiB) + b"end"


def test_four_tebibytes_and_no_more(driver: Any, client: SheepClient) -> None:
    writer = driver.create(driver.locate("image"), None)
    with pytest.raises(exceptions.ImageTooLarge, match=str(4 << 40)):
        writer.pwrite(memoryview(b"x"), 4 << 40)
    writer.pwrite(memoryview(b"x"), (4 << 40) - 4 * MiB)
    writer.commit(4 << 40)
    assert driver.stat(driver.locate("image")).size == 4 << 40
    with contextlib.closing(driver.open(driver.locate("image"))) as reader:
        assert bytes(reader.pread(2, (4 << 40) - 4 * MiB)) == b"x\0"
        assert bytes(reader.pread(10, (4 << 40) - 2)) == bytes(2)


@pytest.mark.parametrize("shift", [20, 24])
def test_other_sizes_of_objects(
    make_driver: MakeDriver, sheep: Sheep, client: SheepClient, shift: int
) -> None:
    sheep.cluster.shift = shift
    driver, data = make_driver(), pattern(33 * MiB + 5)
    add(driver, "image", data)
    assert read(driver, "image") == data
    assert len(sheep.cluster.data_objects()) == -(-len(data) >> shift)
    assert all(
        len(sheep.cluster.objects[o].data) <= 1 << shift for o in sheep.cluster.data_objects()
    )
    driver.delete(driver.locate("image"))
    assert sheep.cluster.data_objects() == []


_KILLED = """
step = sys.argv[1]
writer = driver.create(driver.locate("image"), None, replace=sys.argv[2] == "replace")
write(writer, pattern(9 * 1024 * 1024))
vdis, die = driver._own.vdis, lambda *a, **k: os.kill(os.getpid(), 9)
if step == "written":
    die()
if step == "object":
    vdis.write_index = die
    writer.pwrite(memoryview(b"stray"), 12 << 20)
if step == "reserved":
    vdis.write_head = die
if step == "named":
    vdis.rename = die
if step == "published":
    driver._own.leavings.settle = die
writer.commit(9 * 1024 * 1024)
"""


@pytest.mark.parametrize("replace", ["replace", "add"])
@pytest.mark.parametrize("step", ["written", "object", "reserved", "named", "published"])
def test_what_a_killed_storefs_left_is_gone_at_the_next_start(
    make_driver: MakeDriver, sheep: Sheep, step: str, replace: str
) -> None:
    first = make_driver()
    if replace == "replace":
        add(first, "image", b"old")
    command = program(SheepdogDriver, {"sheepdog_store_port": sheep.port}, _KILLED)
    killed = subprocess.run([*command, step, replace], cwd=TREE, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    second = make_driver()
    second._own.leavings.journal.sweep()
    wait_for_sweeps()
    old = {b"old"} if replace == "replace" else set()
    new = pattern(9 * MiB)
    try:
        assert read(second, "image") in {*old, new}
    except exceptions.NotFound:
        assert not old
    assert {bytes(n) for n in sheep.cluster.names()} <= {b"image"}
    assert sheep.cluster.orphans() == []
    add(second, "image", b"again", replace=True)
    assert read(second, "image") == b"again"


def wait_for_sweeps() -> None:
    """Until no thread sweeps any more."""
    for thread in threading.enumerate():
        if thread.name == "sheepdog-vdis-sweep":
            thread.join(30)


def test_where_ids_are_given_again_a_reader_gets_no_foreign_bytes(
    make_driver: MakeDriver, sheep: Sheep, client: SheepClient
) -> None:
    sheep.cluster = fake.Cluster(recycle=True)
    driver = make_driver()
    client.put(b"image", pattern(8 * MiB, 1))
    with contextlib.closing(driver.open(driver.locate("image"))) as reader:
        assert bytes(reader.pread(10, 0)) == pattern(10, 1)
        client.delete(b"image")
        assert client.put(b"other", pattern(8 * MiB, 2)) == 1
        with pytest.raises(exceptions.ImageChanged):
            reader.pread(10, 4 * MiB)


def test_where_ids_are_given_again_images_are_published(
    make_driver: MakeDriver, sheep: Sheep
) -> None:
    sheep.cluster = fake.Cluster(recycle=True)
    driver = make_driver()
    for number in range(5):
        add(driver, "image", b"bytes %d" % number, replace=True)
        add(driver, f"image-{number}", b"other")
        assert read(driver, "image") == b"bytes %d" % number
        driver.delete(driver.locate(f"image-{number}"))
    assert listed(driver) == {"image": 7}
    assert set(sheep.cluster.names()) == {b"image"}
