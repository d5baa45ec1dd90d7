# SPDX-License-Identifier: Apache-2.0
"""An image is renamed to a name under which another is being stored at that moment."""

import os
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import trio
import trio.testing

from storefs import exceptions
from storefs.drivers.memory import MemoryDriver
from storefs.streams.vfs import Handle, Vfs
from tests.streams.conftest import Served


class SlowDriver(MemoryDriver):
    """The commit of ``slow`` bytes says that it has begun, and waits for leave."""

    begun: ClassVar[threading.Event]
    go_on: ClassVar[threading.Event]

    def publish(
        self, image_id: str, data: memoryview, properties: Mapping[str, str], *, replace: bool
    ) -> None:
        if data == b"slow":
            self.begun.set()
            assert self.go_on.wait(60)
        super().publish(image_id, data, properties, replace=replace)


@pytest.fixture
def slow() -> type[SlowDriver]:
    class Driver(SlowDriver):
        begun = threading.Event()
        go_on = threading.Event()

    return Driver


async def put(vfs: Vfs, name: str, data: bytes, flags: int) -> Any:
    """*flags*: O_WRONLY streams it, O_RDWR leaves it in the spool."""
    handle, node = await vfs.files.create(vfs.tree.directories["s"], name, flags)
    vfs.tree.remember(node)
    await _write(vfs, handle, data)
    return node


async def _write(vfs: Vfs, handle: Handle, data: bytes) -> None:
    await vfs.files.write(handle, 0, data)
    await vfs.files.flush(handle)
    await vfs.files.release(handle)


@pytest.mark.trio
@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR], ids=["stored", "spooled"])
async def test_the_renamed_image_stays(served: Served, slow: type[SlowDriver], flags: int) -> None:
    """The upload under way ends first, whatever becomes of it: it must not come last."""
    async with served(slow, publish_delay=600) as vfs:
        driver, directory = vfs.stores["s"].driver, vfs.tree.directories["s"]
        old = await put(vfs, "b", b"slow", os.O_RDWR)
        spooled = vfs.files.spooling.find(old)
        assert spooled is not None
        await put(vfs, "a", b"renamed", flags)

        async def store_it() -> None:
            try:
                await vfs.files.spooling.publish(spooled)
            except exceptions.NotFound:
                return  # it gave way

        async with trio.open_nursery() as nursery:
            nursery.start_soon(store_it)
            await trio.to_thread.run_sync(slow.begun.wait, 60)
            nursery.start_soon(_rename, vfs, directory)
            await trio.testing.wait_all_tasks_blocked(0.05)
            slow.go_on.set()
        stored = {
            info.image_id: bytes(driver._images[info.image_id].data) for info in driver.list()
        }
        assert stored == {"b": b"renamed"}
        assert vfs.engine.spool.pending() == []


async def _rename(vfs: Vfs, directory: Any) -> None:
    await vfs.rename(directory, "a", directory, "b", replace=True)


@pytest.mark.trio
@pytest.mark.parametrize("there", [True, False])
async def test_who_replaces_what_is_stored_meanwhile_is_stored_over_it(
    served: Served, there: bool
) -> None:
    """It began when the store had another version, or none."""
    async with served(publish_delay=600) as vfs:
        driver = vfs.stores["s"].driver
        if there:
            await put(vfs, "a", b"first", os.O_WRONLY)
            old = await vfs.names.image("s", "a")
            await _write(vfs, await vfs.files.open(old, os.O_RDWR), b"older")
        else:
            old = await put(vfs, "a", b"older", os.O_RDWR)
        new = vfs.files.successor(old)
        vfs.tree.remember(new)
        handle = await vfs.files.open(new, os.O_RDWR | os.O_TRUNC)
        older = vfs.files.spooling.find(old)
        assert older is not None
        await vfs.files.spooling.publish(older)
        await vfs.files.spooling.released(old)  # as its task does after that
        assert vfs.files.spooling.find(old) is None
        await _write(vfs, handle, b"newer")
        (record,) = vfs.engine.spool.pending()
        assert record.base == driver.stat(vfs.stores["s"].locate("a")).version
        spooled = vfs.files.spooling.find(new)
        assert spooled is not None
        await vfs.files.spooling.publish(spooled)
        assert bytes(driver._images["a"].data) == b"newer"


class RefusingDriver(MemoryDriver):
    """Renames nothing."""

    def rename(self, source: Any, target: Any) -> None:
        raise exceptions.RemoteServiceUnavailable("on purpose")


@pytest.mark.trio
async def test_a_rename_that_fails_leaves_what_waits_as_it_was(served: Served) -> None:
    """Also in its record: ``b`` is not taken for replaced by the next start."""
    async with served(RefusingDriver, publish_delay=600) as vfs:
        driver, directory = vfs.stores["s"].driver, vfs.tree.directories["s"]
        node = await put(vfs, "b", b"waits", os.O_RDWR)
        await put(vfs, "a", b"renamed", os.O_WRONLY)
        with pytest.raises(exceptions.RemoteServiceUnavailable):
            await _rename(vfs, directory)
        (record,) = vfs.engine.spool.pending()
        assert record.successor is None
        spooled = vfs.files.spooling.find(node)
        assert spooled is not None
        await vfs.files.spooling.publish(spooled)
        assert {info.image_id for info in driver.list()} == {"a", "b"}
        assert bytes(driver._images["b"].data) == b"waits"
