# SPDX-License-Identifier: Apache-2.0
"""A `Vfs` without a kernel, over stores in memory."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from oslo_config import cfg

from storefs.driver import Store
from storefs.drivers.memory import MemoryDriver
from storefs.streams.engine import Settings
from storefs.streams.vfs import Vfs

Served = Callable[..., AbstractAsyncContextManager[Vfs]]


def store(store_id: str, driver: type[MemoryDriver] = MemoryDriver) -> Store:
    conf = cfg.ConfigOpts()
    conf([], project="storefs", default_config_files=[])
    made = Store(conf, store_id, driver)
    made.configure()
    return made


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """``async with served(driver_class, **settings) as vfs``: one store, ``s``."""

    @asynccontextmanager
    async def serve(
        driver: type[MemoryDriver] = MemoryDriver, **settings: Any
    ) -> AsyncIterator[Vfs]:
        settings.setdefault("spool_directory", tmp_path / "spool")
        vfs = Vfs({"s": store("s", driver)}, Settings(default_store="s", **settings))
        async with trio.open_nursery() as nursery:
            await nursery.start(vfs.serve)
            yield vfs
            await vfs.close()

    return serve
