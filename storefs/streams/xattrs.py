# SPDX-License-Identifier: Apache-2.0
"""What `getfattr -n user.storefs.NAME` shows of an image, a store and the mount."""

import os

from storefs import exceptions
from storefs.driver import Store
from storefs.drivers.base import SupportsProperties
from storefs.streams.vfs import Vfs
from storefs.tree import Directory, Node

PREFIX = b"user.storefs."

#: Names kept with the object itself.
KEPT = ("md5", "os_hash_algo", "os_hash_value")


class Xattrs:
    """The virtual attributes of one mount; names come without the prefix's meaning lost."""

    def __init__(self, vfs: Vfs) -> None:
        self._vfs = vfs

    async def get(self, found: Directory | Node, name: bytes) -> str | None:
        """The value of ``user.storefs.*`` attribute *name*, or None."""
        short = name[len(PREFIX) :].decode(errors="replace")
        if isinstance(found, Node):
            return await self._of_image(found, short)
        if found.store_id is None:
            spool = str(self._vfs.engine.spool.path)
            return {"pid": str(os.getpid()), "spool": spool}.get(short)
        return _of_store(self._vfs.stores[found.store_id], short)

    async def _of_image(self, node: Node, name: str) -> str | None:
        store = self._vfs.stores[node.store_id]
        if name in KEPT:
            return await self._kept(store, node, name)
        if name == "state":
            return node.pending.state if node.pending is not None else "published"
        if name == "location":
            return store.locate(node.name).safe_uri()
        return {
            "store": node.store_id,
            "etag": node.info.version or None,
            "version": node.info.version or None,
        }.get(name)

    async def _kept(self, store: Store, node: Node, name: str) -> str | None:
        driver = store.driver
        if node.pending is not None or not store.supports(SupportsProperties):
            return None
        assert isinstance(driver, SupportsProperties)
        threads = self._vfs.engine.threads(store)
        try:
            properties = await threads.run(driver.properties, store.locate(node.name))
        except exceptions.NotFound:
            return None
        return properties.get(name)


def _of_store(store: Store, name: str) -> str | None:
    return {
        "state": ": ".join(filter(None, (store.state.name, store.state.reason))),
        "weight": str(store.weight),
    }.get(name)
