# SPDX-License-Identifier: Apache-2.0
"""Writing: sizes nobody told, failures at every step, and what a crash leaves."""

import functools
import io
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.journal import Journal
from storefs.drivers.rbd import RbdDriver
from storefs.drivers.rbd import writer as rbd_writer
from storefs.drivers.rbd.io import MiB
from storefs.drivers.rbd.target import RbdTarget
from storefs.upload import Upload
from tests.conftest import ExpectLog
from tests.contract.images import add, listed, parts_of, pattern, read, write
from tests.mount.tools import await_true
from tests.servers.rbd_pool import RbdPool
from tests.unit.child import kill_in_the_middle
from tests.unit.rbd.conftest import Make


@pytest.mark.parametrize("told", [None, 5, 100 * MiB])
def test_the_size_may_be_wrong_or_missing(
    driver: RbdDriver, images: RbdPool, told: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rbd_writer, "_LEAST_STEP", 9 * MiB)
    data = pattern(43 * MiB + 3)
    writer = driver.create(driver.locate("image"), told)
    with ThreadPoolExecutor(writer.max_concurrency) as pool:
        list(pool.map(lambda part: writer.pwrite(*part), reversed(parts_of(writer, data))))
    writer.commit(len(data))
    assert images.get("image") == data


def test_an_image_of_unknown_size_grows_in_few_steps(
    driver: RbdDriver,
) -> None:
    writer = driver.create(driver.locate("image"), None)
    assert isinstance(writer, rbd_writer.RbdWriter)
    steps = []
    for offset in range(0, 20 * 1024 * MiB, 512 * MiB):
        writer._make_room(offset + 512 * MiB)
        if writer._size not in steps:
            steps.append(writer._size)
    assert [step // (1024 * MiB) for step in steps] == [1, 2, 4, 8, 12, 16, 20]
    writer.abort()


def test_a_hole_takes_no_room(driver: RbdDriver) -> None:
    writer = driver.create(driver.locate("image"), None)
    writer.skip(8 * MiB, 0)
    writer.pwrite(memoryview(b"end"), 8 * MiB)
    writer.commit(8 * MiB + 3)
    info = driver.stat(driver.locate("image"))
    assert (info.size, info.allocated) == (8 * MiB + 3, 8 * MiB)


@pytest.mark.parametrize("thin", [True, False])
@pytest.mark.parametrize("features", ["", "layering"], ids=["mapped", "no map"])
def test_what_is_there_is_told_without_asking(
    make: Make, images: RbdPool, thin: bool, features: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = make(rbd_thin_provisioning=thin)
    if features:
        monkeypatch.setattr(driver._cluster, "default", lambda _name: features)
    data = pattern(17 * MiB) + bytes(23 * MiB) + pattern(5)
    cases: list[dict[str, str]] = [{}, {"mtime_ns": "1600000000123456789"}]
    for properties in cases:
        upload = Upload(driver.create(driver.locate("image"), None, replace=True))
        upload.feed(io.BytesIO(data))
        upload.finish(properties)
        assert upload.published is not None
        assert upload.published == driver.stat(driver.locate("image"))
        assert (upload.published.allocated is None) == bool(features)
    assert images.get("image") == data


@pytest.mark.parametrize("lengths", [[1024, 2048, 1024], [1, 300, 1300, 5000], [4096] * 9])
def test_pieces_of_any_length_come_where_they_belong(
    driver: RbdDriver, images: RbdPool, lengths: list[int]
) -> None:
    """*lengths* in KiB; every other one is zeros."""
    data = b"".join(
        bytes(length * 1024) if number % 2 else pattern(length * 1024, number)
        for number, length in enumerate(lengths * 5)
    )
    writer = driver.create(driver.locate("image"), None)
    for part, offset in parts_of(writer, data):
        left, pieces = bytes(part), []
        for length in lengths * 9:
            pieces.append(memoryview(left[: length * 1024]))
            left = left[length * 1024 :]
        assert not left
        writer.pwritev([piece for piece in pieces if piece], offset)
    writer.commit(len(data))
    assert images.get("image") == data


class Failing:
    """An rbd.Image that fails at one step, as Ceph cannot be told to.

    It has one and is none: what is derived from rbd.Image is freed wrongly with its class.
    Its __dealloc__ finds no `close` then, and the AttributeError keeps what is freed.
    """

    def __init__(self, rbd: Any, image: Any, step: str, *args: Any, **how: Any) -> None:
        self._rbd = rbd
        self._step = step
        self._image = image(*args, **how)

    def __getattr__(self, name: str) -> Any:
        return self._fail if name == self._step else getattr(self._image, name)

    def __enter__(self) -> "Failing":
        return self

    def __exit__(self, *_exc: object) -> None:
        self._image.close()

    def _fail(self, *_args: Any, **_how: Any) -> None:
        raise self._rbd.NoSpace("no room", errno=28)


STEPS = ["create_snap", "protect_snap", "metadata_set", "resize", "flush"]


@pytest.mark.parametrize("step", STEPS)
def test_whatever_fails_at_the_end_nothing_is_left(
    driver: RbdDriver, images: RbdPool, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rbd = driver._cluster.sdk.rbd
    add(driver, "old", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(rbd, "Image", functools.partial(Failing, rbd, rbd.Image, step))
        for name in ("old", "image"):
            with pytest.raises(exceptions.StorageFull):
                add(driver, name, b"bytes", replace=True)
    assert images.names() == ["old"]
    assert read(driver, "old") == b"old"


def _add_for_ever(driver: RbdDriver) -> None:
    for number in itertools.count():
        add(driver, "next", pattern(8 * MiB, number), replace=True)


def _refused(driver: RbdDriver, images: RbdPool) -> bool:
    """Delete ``image``; does the full pool keep it, and say so? Some do, of `rbd rm` as well."""
    try:
        driver.delete(driver.locate("image"))
    except exceptions.StorageFull:
        assert images.get("image", None) == pattern(8 * MiB)
        return True
    assert "image" not in images.names()
    return False


def test_a_full_pool_is_told_and_nothing_is_left(
    driver: RbdDriver, images: RbdPool, expect_log: ExpectLog
) -> None:
    """A pool that becomes full between the two steps of a replacement takes no name any more.

    Then, one time in ten or so, the old image waits for room under another one.
    """
    add(driver, "image", pattern(8 * MiB))
    images.command("osd", "pool", "set-quota", "images", "max_bytes", str(4 * MiB))
    try:
        with pytest.raises(exceptions.StorageFull, match="quota"):
            _add_for_ever(driver)
        await_true(lambda: driver.capacity().free == 0, "a full pool")
        left = [name for name in images.names() if name not in ("image", "next")]
        if "next" in images.names():
            assert left == []
        else:
            assert [name.startswith(".storefs-replaced-") for name in left] == [True]
            expect_log("Image next is called .storefs-replaced-")
        kept = _refused(driver, images)
    finally:
        images.command("osd", "pool", "set-quota", "images", "max_bytes", "0")
    await_true(lambda: driver.capacity().free > 0, "free space")
    if kept:
        driver.delete(driver.locate("image"))
    await_true(lambda: images.names() == ["next"], "its name for the image that was replaced")
    images.clear()

    def room() -> bool:
        try:
            add(driver, "again", b"bytes", replace=True)
        except exceptions.StorageFull:
            return False
        return True

    await_true(room, "room again")


_UPLOAD = """
writer = driver.create(driver.locate("image"), None)
write(writer, pattern(20 * 2**20))
ready()
"""


def test_an_upload_that_was_killed_is_removed_at_the_next_start(
    images: RbdPool, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storefs.drivers.rbd.target._AGAIN", 0.2)
    monkeypatch.setattr("storefs.drivers.rbd.target._BUSY", 200)
    kill_in_the_middle(RbdDriver, images.options, _UPLOAD)
    assert [name.startswith(".storefs-upload-") for name in images.names()] == [True]
    make()
    await_true(lambda: images.names() == [], "an empty pool")


_EXCHANGE = """
from storefs.drivers.rbd.target import RbdTarget
writer = driver.create(driver.locate("image"), None, replace=True)
write(writer, b"new")
real = RbdTarget._rename
def halt(self, pool, source, target):
    real(self, pool, source, target)
    if target.startswith(".storefs-replaced"):
        ready()
RbdTarget._rename = halt
writer.commit(3)
"""


def test_an_exchange_that_was_killed_between_its_renames_is_taken_back(
    images: RbdPool, make: Make
) -> None:
    driver = make()
    add(driver, "image", b"old")
    kill_in_the_middle(RbdDriver, images.options, _EXCHANGE)
    assert "image" not in images.names()
    again = make()
    await_true(lambda: images.names() == ["image"], "the image's name")
    assert read(again, "image") == b"old"


_DELETE = """
from storefs.drivers.rbd.target import RbdTarget
def halt(self, pool, name, image_id):
    ready()
RbdTarget.discard = halt
driver.delete(driver.locate("image"))
"""


def test_a_deletion_that_was_killed_is_finished(images: RbdPool, make: Make) -> None:
    add(make(), "image", pattern(9 * MiB))
    kill_in_the_middle(RbdDriver, images.options, _DELETE)
    assert [name.startswith(".storefs-deleted-") for name in images.names()] == [True]
    make()
    await_true(lambda: images.names() == [], "an empty pool")


def test_what_runs_elsewhere_is_not_touched(images: RbdPool, make: Make) -> None:
    first = make()
    writer = first.create(first.locate("image"), None)
    write(writer, b"bytes")
    second = make()
    assert isinstance(second._target, RbdTarget)
    second._target.journal.sweep()
    writer.commit(5)
    assert listed(first) == {"image": 5}


def test_a_store_that_has_nothing_to_undo_connects_nowhere(make: Make) -> None:
    driver = make()
    assert driver._cluster.asides.finished(30)
    assert driver._cluster.fsid is None
    assert isinstance(driver._target.journal, Journal)
