# SPDX-License-Identifier: Apache-2.0
"""Deleting, as a real sheep does it: late, with tombstones, and not where somebody still writes."""

import contextlib
from typing import Any

import pytest

from storefs import exceptions
from tests.contract.images import add, listed, pattern, read, write
from tests.servers import sheep_cluster as fake
from tests.servers.sheep import Sheep
from tests.servers.sheep_client import INDEX, SheepClient, SheepError, inode
from tests.unit.sheepdog.conftest import MakeDriver
from tests.unit.sheepdog.test_publish import wait_for_sweeps

MiB = 1024 * 1024

WRITE, DELETE = 0x03, 0x17


def test_what_another_program_wrote_meanwhile_is_deleted_too(
    driver: Any, sheep: Sheep, client: SheepClient
) -> None:
    """The sheep says of a VDI with objects that it was deleted, and it is not."""
    vid = client.put(b"image", pattern(5 * MiB))
    other = SheepClient(sheep.host, sheep.port)

    def write_on() -> None:
        other.write(vid << 32, b"late", create=True)
        other.write(inode(vid), vid.to_bytes(4, "little"), INDEX)

    sheep.fault(DELETE, then=write_on)
    driver.delete(driver.locate("image"))
    assert sheep.cluster.names() == {}
    assert sheep.cluster.data_objects() == []
    other.close()


def test_who_writes_all_the_time_is_told_of_and_the_rest_goes_at_the_next_start(
    make_driver: MakeDriver, sheep: Sheep, client: SheepClient, watched_log: Any
) -> None:
    driver = make_driver()
    vid = client.put(b"image", pattern(5 * MiB))
    other = SheepClient(sheep.host, sheep.port)

    def write_on() -> None:
        other.write(vid << 32, b"late", create=True)
        other.write(inode(vid), vid.to_bytes(4, "little"), INDEX)

    sheep.fault(DELETE, times=100, then=write_on)
    driver.delete(driver.locate("image"))
    assert listed(driver) == {}
    (record,) = watched_log.records
    assert "another program, such as a running qemu" in record.getMessage()
    watched_log.records.clear()
    sheep._faults.clear()
    sheep.cluster.restart()
    driver._own.leavings.journal.close()
    make_driver()._own.leavings.journal.sweep()
    wait_for_sweeps()
    assert sheep.cluster.names() == {}
    assert sheep.cluster.data_objects() == []
    other.close()


@pytest.mark.parametrize("how", ["delete", "replace", "abort"])
def test_where_ids_are_given_again_no_image_loses_objects_to_the_one_before(
    make_driver: MakeDriver, sheep: Sheep, how: str
) -> None:
    """The objects of the deleted VDI go by and by: those of its successor have the same ids."""
    sheep.cluster = fake.Cluster(recycle=True, lag=1.0)
    driver, first, second = make_driver(), pattern(9 * MiB, 1), pattern(9 * MiB, 2)
    writer = driver.create(driver.locate("image"), None)
    write(writer, first)
    if how == "abort":
        writer.abort()
    else:
        writer.commit(len(first))
    if how == "delete":
        driver.delete(driver.locate("image"))
    if how == "replace":
        add(driver, "image", b"", replace=True)
    add(driver, "other", second)
    sheep.cluster.reclaim.settle()
    assert read(driver, "other") == second
    assert sheep.cluster.orphans() == []


def test_where_ids_are_given_again_a_name_with_snapshots_is_taken(
    make_driver: MakeDriver, sheep: Sheep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storefs.drivers.sheepdog.publish._PATIENCE", 0.01)
    sheep.cluster = fake.Cluster(recycle=True)
    driver = make_driver()
    with contextlib.closing(SheepClient(sheep.host, sheep.port)) as client:
        client.put(b"image", b"bytes")
        client.snapshot(b"image", b"tag")
        driver.delete(driver.locate("image"))
        assert listed(driver) == {}
        with pytest.raises(exceptions.HasSnapshot, match="dog vdi delete -s"):
            add(driver, "image", b"again")
        assert [vdi.snapshot for vdi in client.vdis()] == [True]
    assert sheep.cluster.orphans() == []


def test_a_cluster_without_room_for_an_inode_is_full(driver: Any, sheep: Sheep) -> None:
    add(driver, "image", pattern(5 * MiB))
    sheep.cluster.capacity = 1
    with pytest.raises(exceptions.StorageFull, match="0 bytes left"):
        driver.create(driver.locate("other"), None)
    driver.delete(driver.locate("image"))
    assert sheep.cluster.data_objects() == []


def test_an_inode_that_cannot_be_written_where_there_is_room_is_an_error(
    driver: Any, sheep: Sheep
) -> None:
    sheep.fault(0x11, result=0x0B)
    with pytest.raises(exceptions.BackendException, match="cannot be written"):
        driver.create(driver.locate("other"), None)


def test_a_lost_inode_on_the_way_to_a_name_is_no_missing_image(driver: Any, sheep: Sheep) -> None:
    """The sheep says "no such object" of a name it cannot look up."""
    add(driver, "image", b"bytes")
    for call in (
        lambda: driver.stat(driver.locate("image")),
        lambda: driver.create(driver.locate("image"), None),
    ):
        sheep.fault(0x14, result=0x02)
        with pytest.raises(exceptions.BackendException, match="lost the inode"):
            call()
    sheep.fault(0x11, result=0x02)
    with pytest.raises(exceptions.BackendException, match="lost the inode"):
        driver.create(driver.locate("other"), None)


def test_an_object_of_a_snapshot_is_read_only(client: SheepClient) -> None:
    client.put(b"image", b"bytes")
    vid, _ = client.snapshot(b"image", b"tag")
    for number in (0, 1):
        with pytest.raises(SheepError, match="0x1a"):
            client.write(vid << 32 | number, b"x")
