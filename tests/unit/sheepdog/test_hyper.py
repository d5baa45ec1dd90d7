# SPDX-License-Identifier: Apache-2.0
"""Hyper volumes, whose index is a tree: read, replaced and deleted, and told of if it is broken."""

import contextlib
import struct
from typing import Any

import pytest

from storefs import exceptions
from tests.contract.images import add, listed, pattern, read
from tests.servers.sheep import Sheep
from tests.servers.sheep_client import INDEX, SheepClient, inode

MiB = 1024 * 1024
OBJECT = 4 * MiB

OBJECTS = {number: pattern(OBJECT, number) for number in (0, 1, 3, 6)}
SIZE = 7 * OBJECT - 5
DATA = b"".join(OBJECTS.get(n, bytes(OBJECT)) for n in range(7))[:SIZE]


@pytest.mark.parametrize("leaves", [0, 1, 3])
def test_a_hyper_volume_is_an_image(
    driver: Any, sheep: Sheep, client: SheepClient, leaves: int
) -> None:
    client.put_hyper(b"image", SIZE, OBJECTS, leaves)
    assert listed(driver) == {"image": SIZE}
    assert read(driver, "image") == DATA
    driver.delete(driver.locate("image"))
    assert sheep.cluster.data_objects() == []
    assert client.vdis() == []


def test_one_nobody_has_written_into_is_zeros(driver: Any, client: SheepClient) -> None:
    client.create(b"image", 9 * MiB, hyper=True)
    vid = client.create(b"old", 9 * MiB, hyper=True)
    client.write(inode(vid), client.read(inode(vid), INDEX) + bytes(8), 0)
    assert read(driver, "image") == read(driver, "old") == bytes(9 * MiB)


def test_one_may_be_larger_than_others_can(driver: Any, client: SheepClient) -> None:
    far = 1 << 30
    client.put_hyper(b"image", 1 << 53, {0: b"begin", far: b"far away"}, leaves=2)
    with contextlib.closing(driver.open(driver.locate("image"))) as reader:
        assert reader.info.size == 1 << 53
        assert bytes(reader.pread(6, 0)) == b"begin\0"
        assert bytes(reader.pread(9, far * OBJECT)) == b"far away\0"
        assert bytes(reader.pread(9, (1 << 53) - 9)) == bytes(9)


@pytest.mark.parametrize("leaves", [0, 2])
def test_one_is_replaced_and_nothing_of_it_or_of_others_is_touched(
    driver: Any, sheep: Sheep, client: SheepClient, leaves: int
) -> None:
    """Zeros over the tree would be taken for objects that are let go, whosesoever they are."""
    client.put(b"bystander", pattern(30 * MiB))
    client.put_hyper(b"image", SIZE, OBJECTS, leaves)
    add(driver, "image", b"flat", replace=True)
    assert read(driver, "image") == b"flat"
    assert len(sheep.cluster.data_objects()) == 1 + 8
    assert sheep.cluster.orphans() == []
    assert read(driver, "bystander") == pattern(30 * MiB)


@pytest.mark.parametrize(
    ("at", "bytes_"),
    [
        (INDEX, b"\xff"),
        (INDEX + 2, b"\3"),
        (INDEX + 4, b"\xff\xff\xff\xff"),
        (INDEX + 8 + 4, b"\xff\xff\xff\xff"),
        (INDEX + 8 + 8, bytes(4)),
    ],
    ids=["magic", "depth", "entries", "owner", "order"],
)
def test_a_root_that_makes_no_sense_is_an_error(
    driver: Any, client: SheepClient, at: int, bytes_: bytes
) -> None:
    vid = client.put_hyper(b"image", SIZE, OBJECTS)
    client.write(inode(vid), client.read(inode(vid), at) + bytes_, 0)
    assert listed(driver) == {"image": SIZE}
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="makes no sense"):
        driver.open(driver.locate("image"))


@pytest.mark.parametrize("bytes_", [struct.pack("<HHI", 0x6274, 2, 1), bytes(7) + b"\x01"])
def test_a_leaf_that_makes_no_sense_is_an_error(
    driver: Any, client: SheepClient, bytes_: bytes
) -> None:
    """A tree that goes deeper would lead round and round."""
    vid = client.put_hyper(b"image", SIZE, OBJECTS, leaves=2)
    client.write(1 << 60 | vid << 32, bytes_)
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="makes no sense"):
        driver.open(driver.locate("image"))


def test_a_leaf_of_another_vdi_is_an_error(driver: Any, client: SheepClient) -> None:
    vid = client.put_hyper(b"image", SIZE, OBJECTS, leaves=2)
    client.write(
        inode(vid), client.read(inode(vid), INDEX + 16) + struct.pack("<Q", 1 << 63 | 5 << 32), 0
    )
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="is no leaf"):
        driver.open(driver.locate("image"))
