# SPDX-License-Identifier: Apache-2.0
"""One operation, and a crash after each of its steps: what was promised is there after all.

A step is a change of the store or of the spool's records. Each leaves a picture of both,
which another mount then takes up, as the next start of storefs would.
"""

import dataclasses
import functools
import itertools
import os
import shutil
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from storefs import exceptions
from storefs.drivers.base import SupportsRename
from storefs.drivers.memory import MemoryDriver
from storefs.streams.engine import Settings
from storefs.streams.handle import Handle
from storefs.streams.spool import Entry
from storefs.streams.vfs import Vfs
from tests.streams.conftest import store

#: name -> bytes, for the two names there are; None: no such image
Images = dict[str, bytes | None]


@dataclasses.dataclass
class Picture:
    """What is left of a crash, and which call was the last before it."""

    after: str
    images: Mapping[str, Any]
    spool: Path


class Camera:
    """Takes a picture of *driver* and of *spool* after each step, once it is `on`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count(1)
        self.spool = directory / "spool"
        self.driver: MemoryDriver
        self.on = False
        self.pictures: list[Picture] = []

    def after(self, cls: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        method = getattr(cls, name)

        @functools.wraps(method)
        def stepped(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            if self.on:
                self.take(f"{name} {next(self._numbers)}")
            return result

        monkeypatch.setattr(cls, name, stepped)

    def take(self, after: str) -> None:
        spool = self._directory / f"spool after {after}"
        shutil.copytree(self.spool, spool)
        self.pictures.append(Picture(after, dict(self.driver._images), spool))


@pytest.fixture
def camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Camera:
    camera = Camera(tmp_path)
    camera.spool.mkdir()
    for name in ("publish", "delete", "rename", "copy"):
        camera.after(MemoryDriver, name, monkeypatch)
    for name in ("promise", "withdraw"):
        camera.after(Entry, name, monkeypatch)
    return camera


class World:
    """A `Vfs` over one store that publishes nothing by itself."""

    def __init__(self, vfs: Vfs) -> None:
        self.vfs = vfs
        self.directory = vfs.tree.directories["s"]

    async def stream(self, name: str, data: bytes) -> None:
        """As cp writes."""
        try:
            node = await self.vfs.names.image("s", name)
        except exceptions.NotFound:
            handle, node = await self.vfs.files.create(self.directory, name, os.O_WRONLY)
            self.vfs.tree.remember(node)
        else:
            node = self.vfs.files.successor(node)
            handle = await self.vfs.files.open(node, os.O_WRONLY | os.O_TRUNC)
        await self._write(handle, data)

    async def spool(self, name: str, data: bytes) -> None:
        """In any order: it is promised, and not stored."""
        handle, node = await self.vfs.files.create(self.directory, name, os.O_RDWR)
        self.vfs.tree.remember(node)
        await self._write(handle, data)

    async def change(self, name: str, data: bytes) -> None:
        """The same over something older of that length, which the store has."""
        await self.stream(name, b"-" * len(data))
        node = await self.vfs.names.image("s", name)
        await self._write(await self.vfs.files.open(node, os.O_RDWR), data)

    async def _write(self, handle: Handle, data: bytes) -> None:
        await self.vfs.files.write(handle, 0, data)
        await self.vfs.files.flush(handle)
        await self.vfs.files.release(handle)

    async def read(self, name: str) -> bytes | None:
        try:
            node = await self.vfs.names.image("s", name)
        except exceptions.NotFound:
            return None
        self.vfs.tree.remember(node)
        handle = await self.vfs.files.open(node, os.O_RDONLY)
        data = bytes(await self.vfs.files.read(handle, 0, 1000))
        await self.vfs.files.release(handle)
        return data


async def mounted(
    driver_images: Mapping[str, Any],
    spool: Path,
    work: Callable[[World], Awaitable[None]],
    *,
    renames: bool,
    camera: Camera | None = None,
    keep_on: bool = False,
) -> MemoryDriver:
    """Do *work* in a mount of a store that has these images; the store's driver after it.

    *camera* looks at what *work* does, with *keep_on* at the unmount, too.
    """
    made = store("s")
    driver = made.driver
    assert isinstance(driver, MemoryDriver)
    driver._images.update(driver_images)
    driver._generations = iter(range(1000 + len(driver_images), 10**6))
    made._supported[SupportsRename] = renames
    settings = Settings(default_store="s", spool_directory=spool, publish_delay=600)
    vfs = Vfs({"s": made}, settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(vfs.serve)
        if camera is not None:
            camera.driver = driver
        await work(World(vfs))
        if camera is not None:
            camera.on = camera.on and keep_on
        assert await vfs.close() == []
    if camera is not None:
        camera.on = False
    return driver


async def crash_after_each_step(
    camera: Camera,
    prepare: Callable[[World], Awaitable[None]],
    operate: Callable[[World], Awaitable[None]],
    allowed: Callable[[Images], bool],
    end: Images,
    *,
    renames: bool = True,
    left: Picture | None = None,
) -> None:
    """*operate* on what *prepare* made, in what is *left* of an earlier crash.

    What is seen after each crash must be *allowed*, and *end* once it has returned.
    """

    async def work(world: World) -> None:
        await prepare(world)
        camera.on = True
        await operate(world)
        camera.take("its end")

    if left is not None:
        shutil.copytree(left.spool, camera.spool, dirs_exist_ok=True)
    images = {} if left is None else left.images
    await mounted(images, camera.spool, work, renames=renames, camera=camera)
    assert len(camera.pictures) > 1
    for picture in camera.pictures:
        seen: Images = {}

        async def look(world: World, seen: Images = seen) -> None:
            for name in ("a", "b"):
                seen[name] = await world.read(name)

        driver = await mounted(picture.images, picture.spool, look, renames=renames)
        stored = {name: driver._images.get(name) for name in seen}
        assert allowed(seen), (picture.after, seen)
        assert seen == {n: i and bytes(i.data) for n, i in stored.items()}, picture.after
        assert list(picture.spool.iterdir()) == [], picture.after
    assert seen == end


OLD, NEW = b"old bytes", b"new"

SOURCES = ["stream", "spool", "change"]
TARGETS = [*SOURCES, "nothing"]


async def nothing(world: World) -> None:
    """Prepare nothing."""


async def rename(world: World) -> None:
    await world.vfs.rename(world.directory, "a", world.directory, "b", replace=True)


async def delete(world: World) -> None:
    await world.vfs.unlink(world.directory, "a")


@pytest.mark.trio
@pytest.mark.parametrize("renames", [True, False], ids=["renames", "copies"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", SOURCES)
async def test_a_rename_loses_nothing(
    camera: Camera, source: str, target: str, renames: bool
) -> None:
    """The new name has what it had or what was renamed, and what was renamed is somewhere."""

    async def prepare(world: World) -> None:
        if target != "nothing":
            await getattr(world, target)("b", OLD)
        await getattr(world, source)("a", NEW)

    def allowed(seen: Images) -> bool:
        old = None if target == "nothing" else OLD
        return NEW in seen.values() and seen["a"] in (NEW, None) and seen["b"] in (NEW, old)

    end: Images = {"a": None, "b": NEW}
    await crash_after_each_step(camera, prepare, rename, allowed, end, renames=renames)


@pytest.mark.trio
@pytest.mark.parametrize("how", SOURCES)
@pytest.mark.parametrize("old", SOURCES)
async def test_who_replaces_an_image_loses_neither(camera: Camera, old: str, how: str) -> None:
    async def prepare(world: World) -> None:
        await getattr(world, old)("a", OLD)

    async def replace(world: World) -> None:
        if how == "stream":
            await world.stream("a", NEW)
            return
        node = await world.vfs.names.image("s", "a")
        if how == "spool":
            node = world.vfs.files.successor(node)
        flags = os.O_RDWR | (os.O_TRUNC if how == "spool" else 0)
        await world._write(await world.vfs.files.open(node, flags), NEW)

    new = NEW + OLD[len(NEW) :] if how == "change" else NEW
    end: Images = {"a": new, "b": None}
    await crash_after_each_step(camera, prepare, replace, lambda seen: seen["a"] in (OLD, new), end)


async def replace_in_any_order(world: World) -> None:
    node = world.vfs.files.successor(await world.vfs.names.image("s", "a"))
    await world._write(await world.vfs.files.open(node, os.O_RDWR | os.O_TRUNC), NEW)


async def replace_by_a_stream(world: World) -> None:
    await world.stream("a", NEW)


async def rename_over(world: World) -> None:
    await world.vfs.rename(world.directory, "b", world.directory, "a", replace=True)


@pytest.mark.trio
@pytest.mark.parametrize("old", ["spool", "change"])
@pytest.mark.parametrize(
    "operate", [replace_in_any_order, replace_by_a_stream, rename_over, delete]
)
async def test_what_happens_to_an_image_just_while_it_is_stored(
    camera: Camera,
    old: str,
    operate: Callable[[World], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old one may get into the store, or not; what came after it counts."""
    begun, go_on = threading.Event(), threading.Event()
    publish = MemoryDriver.publish

    def gated(*args: Any, **kwargs: Any) -> None:
        if camera.on:
            begun.set()
            assert go_on.wait(60)
        publish(*args, **kwargs)

    monkeypatch.setattr(MemoryDriver, "publish", gated)

    async def prepare(world: World) -> None:
        await getattr(world, old)("a", OLD)
        if operate is rename_over:
            await world.stream("b", NEW)

    async def operate_meanwhile(world: World) -> None:
        older = world.vfs.files.spooling.find(await world.vfs.names.image("s", "a"))
        assert older is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(older.publish)
            await trio.to_thread.run_sync(begun.wait, 60)
            nursery.start_soon(operate, world)
            await trio.testing.wait_all_tasks_blocked(0.05)
            go_on.set()

    new = None if operate is delete else NEW

    def allowed(seen: Images) -> bool:
        return seen["a"] in (OLD, new) and (operate is not rename_over or NEW in seen.values())

    end: Images = {"a": new, "b": None}
    await crash_after_each_step(camera, prepare, operate_meanwhile, allowed, end)


@pytest.mark.trio
@pytest.mark.parametrize("how", SOURCES)
async def test_what_is_deleted_is_there_as_a_whole_or_not(camera: Camera, how: str) -> None:
    async def prepare(world: World) -> None:
        await getattr(world, how)("a", OLD)

    end: Images = {"a": None, "b": None}
    await crash_after_each_step(camera, prepare, delete, lambda seen: seen["a"] in (None, OLD), end)


@pytest.fixture
async def unnoticed(camera: Camera, how: str) -> Picture:
    """A crash just after ``a`` was stored, and before that was noted in the spool."""

    async def work(world: World) -> None:
        await getattr(world, how)("a", NEW)
        camera.on = True

    await mounted({}, camera.spool, work, renames=True, camera=camera, keep_on=True)
    (picture,) = (p for p in camera.pictures if p.after.startswith("publish"))
    camera.pictures.clear()
    return picture


@pytest.mark.trio
@pytest.mark.parametrize("renames", [True, False], ids=["renames", "copies"])
@pytest.mark.parametrize("how", ["spool", "change"])
async def test_what_was_stored_unnoticed_is_renamed_as_a_whole(
    camera: Camera, unnoticed: Picture, renames: bool
) -> None:
    """The old name is gone with it, in the store as well."""
    end: Images = {"a": None, "b": NEW}
    await crash_after_each_step(
        camera,
        nothing,
        rename,
        lambda seen: NEW in seen.values(),
        end,
        renames=renames,
        left=unnoticed,
    )


@pytest.mark.trio
@pytest.mark.parametrize("how", ["spool", "change"])
async def test_what_was_stored_unnoticed_is_deleted_as_a_whole(
    camera: Camera, unnoticed: Picture
) -> None:
    end: Images = {"a": None, "b": None}
    await crash_after_each_step(
        camera, nothing, delete, lambda seen: seen["a"] in (None, NEW), end, left=unnoticed
    )
