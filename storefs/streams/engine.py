# SPDX-License-Identifier: Apache-2.0
"""What all open images of one mount share."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping

import trio

from storefs.driver import Store
from storefs.drivers.state import state_directory
from storefs.streams.block_cache import BlockCache
from storefs.streams.budget import Budget
from storefs.streams.closing import Closing
from storefs.streams.spool import Spool
from storefs.streams.threads import Threads
from storefs.upload import DEFAULT_ALGORITHM

#: Blocking calls one store may have under way.
CALLS_PER_STORE = 32

#: Calls that read and write the spool's disk at once.
SPOOL_CALLS = 8


@dataclasses.dataclass(frozen=True)
class Settings:
    """A mount's own options; sizes in bytes, times in seconds.

    Without a *spool_directory* it is ``spool`` among what storefs keeps on this host.
    """

    default_store: str | None = None
    uid: int = 0
    gid: int = 0
    umask: int = 0o022
    read_only: bool = False
    memory_budget: int = 128 * 1024 * 1024
    attribute_timeout: float = 1.0
    rename_grace: float = 60.0
    publish_delay: float = 5.0
    drain_timeout: float = 60.0
    spool_directory: pathlib.Path | None = None
    spool_limit: int = 0
    spool_floor: int = 0
    hashing_algorithm: str = DEFAULT_ALGORITHM


class Engine:
    """Threads, memory and tasks of one mount; lives as long as *nursery*."""

    def __init__(
        self, stores: Mapping[str, Store], settings: Settings, nursery: trio.Nursery
    ) -> None:
        self.stores = stores
        self.settings = settings
        self.nursery = nursery
        self.budget = Budget(settings.memory_budget)
        self.cache = BlockCache(self.budget)
        self.closing = Closing()
        directory = settings.spool_directory or state_directory() / "spool"
        self.spool = Spool(directory, settings.spool_limit, settings.spool_floor)
        #: the local disk under the spool
        self.spooling = Threads(SPOOL_CALLS)
        #: as many hashes at once as there are cores: more only take turns
        self.hashing = Threads(max(2, os.cpu_count() or 2))
        self._threads = {store_id: Threads(CALLS_PER_STORE) for store_id in stores}

    def threads(self, store: Store) -> Threads:
        assert store.backend_group is not None
        return self._threads[store.backend_group]
