# SPDX-License-Identifier: Apache-2.0
"""Names with a store that stalls, and an upload's states, without a kernel."""

import os
import threading
from typing import ClassVar

import pytest
import trio
import trio.testing

from storefs import exceptions
from storefs.drivers.base import ImageInfo, Writer
from storefs.drivers.memory import MemoryDriver, MemoryLocation, MemoryWriter
from storefs.streams.layers import Layer
from storefs.streams.publication import FAILED, HELD, PUBLISHED, RETAINED, STREAMING
from storefs.streams.vfs import Vfs
from storefs.tree import Node
from tests.conftest import ExpectLog
from tests.streams.conftest import Served


class StallingDriver(MemoryDriver):
    """`stat` waits while *stalled*; *asked* counts."""

    stalled: ClassVar[threading.Event]
    asked: ClassVar[list[str]]

    def stat(self, location: MemoryLocation) -> ImageInfo:
        self.asked.append(location.image_id)
        assert self.stalled.wait(60)
        return super().stat(location)


class OneWayWriter(Writer):
    """What it was given cannot be had back."""

    def __init__(self, inner: Writer) -> None:
        self._inner = inner

    def pwrite(self, data: memoryview, offset: int) -> None:
        self._inner.pwrite(data, offset)

    def commit(self, size: int) -> ImageInfo | None:
        return self._inner.commit(size)

    def abort(self) -> None:
        self._inner.abort()


class OneWayDriver(MemoryDriver):
    def create(
        self, location: MemoryLocation, size: int | None, *, replace: bool = False
    ) -> Writer:
        return OneWayWriter(super().create(location, size, replace=replace))


class WaitingWriter(MemoryWriter):
    """The last `reread` tells when it begins, and waits before it ends."""

    begun: ClassVar[threading.Event]
    go_on: ClassVar[threading.Event]

    def reread(self, length: int, offset: int) -> bytes:
        if offset >= RETAINED:
            self.begun.set()
            assert self.go_on.wait(60)
        return super().reread(length, offset)


class WaitingDriver(MemoryDriver):
    def create(
        self, location: MemoryLocation, size: int | None, *, replace: bool = False
    ) -> Writer:
        return WaitingWriter(self, location.image_id, replace)


@pytest.fixture
def stalling() -> type[StallingDriver]:
    class Driver(StallingDriver):
        stalled = threading.Event()
        asked: ClassVar[list[str]] = []

    Driver.stalled.set()
    return Driver


async def write(vfs: Vfs, name: str, data: bytes, flags: int = 0) -> Node:
    """Write an image; the kernel knows of it."""
    handle, node = await vfs.files.create(vfs.tree.directories["s"], name, flags | os.O_WRONLY)
    vfs.tree.remember(node)
    await vfs.files.write(handle, 0, data)
    await vfs.files.flush(handle)
    await vfs.files.release(handle)
    return node


# -- names ----------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_stalled_store_does_not_keep_who_asks_for_a_known_name(
    served: Served, stalling: type[StallingDriver]
) -> None:
    """It is not even asked twice; the answer would come when the gate opens, below."""
    async with served(stalling, attribute_timeout=0) as vfs:
        node = await write(vfs, "image", b"bytes")
        stalling.stalled.clear()
        stalling.asked.clear()
        with trio.fail_after(30):
            for _ in range(10):
                await vfs.names.refresh(node)
                assert node.info.size == 5
        assert stalling.asked == ["image"]
        stalling.stalled.set()


@pytest.mark.trio
async def test_fresh_news_are_not_asked_for_again(
    served: Served, stalling: type[StallingDriver]
) -> None:
    async with served(stalling, attribute_timeout=10) as vfs:
        node = await write(vfs, "image", b"bytes")
        stalling.asked.clear()
        await vfs.names.refresh(node)
        assert stalling.asked == []
        node.known_at -= 11
        await vfs.names.refresh(node)
        assert stalling.asked == ["image"]


@pytest.mark.trio
async def test_what_somebody_else_did_is_learnt(served: Served) -> None:
    async with served(attribute_timeout=0) as vfs:
        old = await write(vfs, "image", b"bytes")
        store = vfs.stores["s"]
        driver = store.driver
        driver.reserve(5)
        driver.publish("image", memoryview(b"other"), {}, replace=True)
        new = await vfs.names.image("s", "image")
        assert new is not old
        assert new.inode != old.inode
        assert not old.named
        driver.delete(store.locate("image"))
        with pytest.raises(exceptions.NotFound):
            await vfs.names.image("s", "image")


@pytest.mark.trio
async def test_who_creates_an_image_looks_for_it_once(
    served: Served, stalling: type[StallingDriver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storefs.streams.names.ABSENT", 60)
    async with served(stalling, attribute_timeout=60) as vfs:
        for _ in range(2):
            with pytest.raises(exceptions.NotFound):
                await vfs.names.image("s", "image")
        assert stalling.asked == ["image"]
        node = await write(vfs, "image", b"bytes")
        assert await vfs.names.image("s", "image") is node
        vfs.tree.forget(node.inode, node.lookups)  # as the kernel does when memory is short
        assert vfs.tree.find("s", "image") is None
        assert (await vfs.names.image("s", "image")).info.size == 5


@pytest.mark.trio
async def test_an_absent_name_is_asked_for_again_after_the_attribute_time_out(
    served: Served, stalling: type[StallingDriver]
) -> None:
    async with served(stalling, attribute_timeout=0) as vfs:
        for _ in range(2):
            with pytest.raises(exceptions.NotFound):
                await vfs.names.image("s", "image")
        assert stalling.asked == ["image", "image"]


@pytest.mark.trio
async def test_old_news_do_not_bring_back_what_was_deleted(
    served: Served, stalling: type[StallingDriver]
) -> None:
    async with served(stalling, attribute_timeout=0) as vfs:
        node = await write(vfs, "image", b"bytes")
        stalling.stalled.clear()
        await vfs.names.refresh(node)  # on its way
        driver = vfs.stores["s"].driver
        stalling.stalled.set()
        await vfs.unlink(vfs.tree.directories["s"], "image")
        await trio.testing.wait_all_tasks_blocked()
        assert vfs.tree.find("s", "image") is None
        assert list(driver.list()) == []


@pytest.mark.trio
async def test_news_of_an_old_name_do_not_take_the_new_one_away(
    served: Served, stalling: type[StallingDriver]
) -> None:
    """The store was asked before the image was renamed, and answers after it."""

    class Driver(stalling):  # type: ignore[valid-type, misc]
        def stat(self, location: MemoryLocation) -> ImageInfo:
            if location.image_id == "new":
                return MemoryDriver.stat(self, location)
            return super().stat(location)

    async with served(Driver, attribute_timeout=0) as vfs:
        directory = vfs.tree.directories["s"]
        node = await write(vfs, "old", b"bytes")
        stalling.stalled.clear()
        await vfs.names.refresh(node)  # on its way
        await vfs.rename(directory, "old", directory, "new", replace=True)
        stalling.stalled.set()
        while node.refreshing:
            await trio.sleep(0.001)
        assert vfs.tree.find("s", "new") is node


# -- an upload's states -----------------------------------------------------------------


@pytest.mark.trio
async def test_nothing_is_published_before_flush(served: Served) -> None:
    async with served() as vfs:
        driver = vfs.stores["s"].driver
        handle, node = await vfs.files.create(vfs.tree.directories["s"], "image", os.O_WRONLY)
        await vfs.files.write(handle, 0, b"bytes")
        assert node.pending.state == STREAMING
        assert node.pending.size == 5
        assert list(driver.list()) == []
        publication = node.pending
        await vfs.files.flush(handle)
        assert publication.state == PUBLISHED
        assert node.pending is None
        assert [info.size for info in driver.list()] == [5]
        assert publication.result.size == 5
        await vfs.files.release(handle)


@pytest.mark.trio
@pytest.mark.parametrize("grace", [600, 0])
async def test_a_temporary_is_held_until_it_is_renamed_or_the_time_is_up(
    served: Served, grace: int, expect_log: ExpectLog
) -> None:
    async with served(rename_grace=grace) as vfs:
        driver = vfs.stores["s"].driver
        directory = vfs.tree.directories["s"]
        flags = os.O_RDWR | os.O_EXCL
        handle, node = await vfs.files.create(directory, ".image.Ab12Cd", flags)
        publication = node.pending
        await vfs.files.write(handle, 0, b"bytes")
        await vfs.files.flush(handle)
        await vfs.files.release(handle)
        assert list(driver.list()) == []
        if grace:
            assert publication.state == HELD
            await vfs.rename(directory, ".image.Ab12Cd", directory, "image", replace=True)
            assert publication.state == PUBLISHED
            assert [info.image_id for info in driver.list()] == ["image"]
            return
        while vfs.tree.get(node.inode) is not None:
            await trio.sleep(0.001)
        assert publication.state == FAILED
        assert list(driver.list()) == []
        assert driver.capacity().free == driver.capacity().total
    expect_log("no rename followed within 0 s")


@pytest.mark.trio
async def test_close_gives_up_what_is_unfinished_and_says_so(
    served: Served, expect_log: ExpectLog
) -> None:
    async with served() as vfs:
        driver = vfs.stores["s"].driver
        handle, _ = await vfs.files.create(vfs.tree.directories["s"], "image", os.O_WRONLY)
        await vfs.files.write(handle, 0, bytes(3_000_000))
    assert list(driver.list()) == []
    assert driver.capacity().free == driver.capacity().total
    expect_log("s: image: it was not finished before the unmount")


@pytest.mark.trio
async def test_a_failed_upload_tells_all_who_come_and_frees_the_name(served: Served) -> None:
    async with served(OneWayDriver) as vfs:
        directory = vfs.tree.directories["s"]
        handle, node = await vfs.files.create(directory, "image", os.O_WRONLY)
        await vfs.files.write(handle, 0, bytes(RETAINED + 1))
        publication = node.pending
        for call in (
            lambda: vfs.files.write(handle, 0, b"again"),
            lambda: vfs.files.write(handle, RETAINED + 1, b"more"),
            lambda: vfs.files.flush(handle),
        ):
            with pytest.raises(exceptions.UnsupportedWrite):
                await call()
        assert publication.state == FAILED
        await vfs.files.release(handle)
        with pytest.raises(exceptions.NotFound):
            await vfs.names.image("s", "image")
        await write(vfs, "image", b"new")
        assert vfs.engine.budget.used == 0


# -- a stream whose writer goes back ---------------------------------------------------


@pytest.mark.trio
@pytest.mark.parametrize("end", ["delete", "unmount", "cancel"])
async def test_what_ends_while_it_goes_back_ends_as_a_whole(
    served: Served, monkeypatch: pytest.MonkeyPatch, expect_log: ExpectLog, end: str
) -> None:
    """The deletion, or the unmount, counts: no bytes come back, and none are left."""
    begun, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(WaitingWriter, "begun", begun, raising=False)
    monkeypatch.setattr(WaitingWriter, "go_on", go_on, raising=False)
    told: list[BaseException] = []
    async with served(WaitingDriver) as vfs:
        directory = vfs.tree.directories["s"]
        driver = vfs.stores["s"].driver
        handle, node = await vfs.files.create(directory, "image", os.O_WRONLY)
        vfs.tree.remember(node)
        await vfs.files.write(handle, 0, b"x" * (RETAINED + 1))

        async def go_back() -> None:
            try:
                await vfs.files.write(handle, 0, b"back")
            except BaseException as exc:
                told.append(exc)
                if not isinstance(exc, Exception):
                    raise

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_back)
            await trio.to_thread.run_sync(begun.wait, 60)
            if end == "cancel":
                nursery.cancel_scope.cancel()
            elif end == "delete":
                nursery.start_soon(vfs.unlink, directory, "image")
            else:
                nursery.start_soon(vfs.files.close)
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
        if end == "unmount":
            expect_log("s: image: it was not finished before the unmount")
        kind = trio.Cancelled if end == "cancel" else exceptions.NotFound
        assert [type(exc) for exc in told] == [kind]
        with pytest.raises(exceptions.NotFound):
            await vfs.files.flush(handle)
        await vfs.files.release(handle)
        assert list(driver.list()) == []
        assert driver.capacity().free == driver.capacity().total
        assert list(vfs.engine.spool.path.iterdir()) == []
        assert vfs.engine.spool.used == 0
        assert vfs.engine.budget.used == 0
        with pytest.raises(exceptions.NotFound):
            await vfs.names.image("s", "image")


# -- what is written in any order ---------------------------------------------------------


@pytest.mark.trio
async def test_what_is_cut_while_it_is_read_is_no_error(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read finds a shorter file, and gives what there is now."""
    begun, go_on = threading.Event(), threading.Event()
    read_file = Layer.read

    def read_late(layer: Layer, offset: int, length: int) -> bytes:
        begun.set()
        assert go_on.wait(60)
        return read_file(layer, offset, length)

    monkeypatch.setattr(Layer, "read", read_late)
    async with served(MemoryDriver) as vfs:
        directory = vfs.tree.directories["s"]
        handle, node = await vfs.files.create(directory, "image", os.O_RDWR)
        vfs.tree.remember(node)
        await vfs.files.write(handle, 0, b"x" * 9000)
        pieces: list[bytes] = []

        async def read() -> None:
            pieces.append(bytes(await vfs.files.read(handle, 1000, 8000)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.to_thread.run_sync(begun.wait, 60)
            await vfs.files.set_size(node, handle, 2000)
            go_on.set()
        assert pieces == [b"x" * 1000]
        await vfs.files.release(handle)
