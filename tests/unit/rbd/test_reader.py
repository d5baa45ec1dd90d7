# SPDX-License-Identifier: Apache-2.0
"""Reading what somebody removes meanwhile: the bytes that were there, or an error."""

import contextlib
import threading
from collections.abc import Iterator

import pytest

from storefs import exceptions
from storefs.drivers.base import Reader
from storefs.drivers.rbd import RbdDriver
from storefs.drivers.rbd import reader as rbd_reader
from storefs.drivers.rbd.io import MiB
from tests.contract.images import pattern
from tests.servers.rbd_pool import RbdPool

_OBJECT = 4 * MiB
_SIZE = 6 * _OBJECT


@contextlib.contextmanager
def _opened(driver: RbdDriver, name: str = "image") -> Iterator[Reader]:
    with contextlib.closing(driver.open(driver.locate(name))) as reader:
        yield reader


def _put(images: RbdPool, kind: str, data: bytes) -> None:
    images.put("image", data, order=22)
    if kind == "snapshot":
        with images.image("image") as image:
            image.create_snap("snap")


@pytest.mark.parametrize("kind", ["snapshot", "head"])
def test_what_was_removed_is_an_error_and_never_zeros(
    driver: RbdDriver, images: RbdPool, kind: str
) -> None:
    data = pattern(_SIZE)
    _put(images, kind, data)
    with _opened(driver) as reader:
        assert bytes(reader.pread(100, 0)) == data[:100]
        images.remove("image")
        for offset in (0, 5, _OBJECT, _SIZE - 1):
            with pytest.raises(exceptions.ImageChanged):
                reader.pread(1000, offset)


@pytest.mark.parametrize("kind", ["snapshot", "head"])
def test_zeros_that_are_there_are_read(driver: RbdDriver, images: RbdPool, kind: str) -> None:
    data = bytes(2 * _OBJECT) + pattern(_OBJECT) + bytes(3 * _OBJECT)
    _put(images, kind, data)
    with _opened(driver) as reader:
        assert bytes(reader.pread(_SIZE, 0)) == data
        assert bytes(reader.pread(7, _OBJECT)) == bytes(7)


@pytest.mark.parametrize("kind", ["snapshot", "head"])
def test_a_removal_at_work_is_seen(driver: RbdDriver, images: RbdPool, kind: str) -> None:
    """As ``rbd rm`` does it: it has the image open, and objects go first, the header last."""
    data = pattern(_SIZE)
    _put(images, kind, data)
    with images.image("image") as remover, _opened(driver) as reader:
        assert bytes(reader.pread(100, 0)) == data[:100]
        if kind == "snapshot":
            remover.remove_snap("snap")
        prefix = remover.block_name_prefix()
        for number in range(3):
            images.ioctx.remove_object(f"{prefix}.{number:016x}")
        with pytest.raises(exceptions.ImageChanged):
            reader.pread(100, _OBJECT)
        assert bytes(reader.pread(100, 5 * _OBJECT)) == data[5 * _OBJECT :][:100]


def test_holes_of_an_image_somebody_writes_to_are_read(
    driver: RbdDriver, images: RbdPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rbd_reader, "_PAUSE", 0.01)
    data = pattern(_OBJECT) + bytes(5 * _OBJECT)
    _put(images, "head", pattern(_OBJECT))
    with images.image("image") as writer:
        writer.resize(_SIZE)
        with _opened(driver) as reader:
            for _ in range(2):
                assert bytes(reader.pread(_SIZE, 0)) == data


def test_many_read_while_it_is_removed(driver: RbdDriver, images: RbdPool) -> None:
    data = pattern(_SIZE)
    _put(images, "head", data)
    with _opened(driver) as reader:
        assert bytes(reader.pread(1, 0)) == data[:1]
        wrong: list[int] = []

        def read() -> None:
            try:
                while True:
                    wrong.extend(
                        offset
                        for offset in range(0, _SIZE, _OBJECT)
                        if bytes(reader.pread(4096, offset)) != data[offset : offset + 4096]
                    )
            except exceptions.ImageChanged:
                return

        threads = [threading.Thread(target=read, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        images.remove("image")
        for thread in threads:
            thread.join(60)
        assert not wrong
        assert not any(thread.is_alive() for thread in threads)


def test_a_clone_whose_objects_are_gone_is_not_its_parent(
    driver: RbdDriver, images: RbdPool
) -> None:
    parent, child = pattern(_SIZE, 1), pattern(_SIZE, 2)
    images.put_glance("parent", parent)
    images.clone("parent", "image")
    with images.image("image") as image:
        image.write(child, 0)
    with _opened(driver) as reader:
        assert bytes(reader.pread(100, 0)) == child[:100]
        images.remove("image")
        with pytest.raises(exceptions.ImageChanged):
            reader.pread(100, 0)


def test_a_snapshot_taken_away_is_an_error_though_the_image_stays(
    driver: RbdDriver, images: RbdPool
) -> None:
    _put(images, "snapshot", pattern(_OBJECT) + bytes(_OBJECT))
    with _opened(driver) as reader:
        with images.image("image") as image:
            image.remove_snap("snap")
        with pytest.raises(exceptions.ImageChanged):
            reader.pread(10, _OBJECT)


def test_a_closed_reader_says_so(driver: RbdDriver, images: RbdPool) -> None:
    images.put("image", b"bytes")
    reader = driver.open(driver.locate("image"))
    reader.close()
    with pytest.raises(exceptions.BackendException):
        reader.pread(1, 0)
