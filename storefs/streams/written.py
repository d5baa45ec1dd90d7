# SPDX-License-Identifier: Apache-2.0
"""What was written of one image, here, and what of that is promised.

::

    write, truncate        go to a layer of their own in the spool
    seal (close, fsync)    makes it durable here: that is the promise
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, TypeVarTuple

import trio

from storefs.driver import Store
from storefs.drivers.base import Buffer, ImageInfo
from storefs.streams.engine import Engine
from storefs.streams.layers import Layer, merge, merged_ranges
from storefs.streams.overlay import OpenBase, Overlay
from storefs.streams.spool import Entry, Record
from storefs.tree import Node

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: More sealed layers than that are merged: who appends a line and closes, over and
#: over, would have a file for each.
MAX_LAYERS = 4


class Written:
    """What is written over *node*'s bytes, and is to be stored in *store*.

    *over* is the published version it begins with, None for a new image; with *empty*
    it replaces that one from nothing. *open_base* opens the version that it names.
    Whatever changes layers or record does so under `_lock`.
    """

    temporary = False

    def __init__(
        self,
        engine: Engine,
        node: Node,
        store: Store,
        open_base: OpenBase,
        *,
        over: ImageInfo | None = None,
        empty: bool = False,
    ) -> None:
        self._engine = engine
        self._lock = trio.Lock()
        self._entry: Entry | None = None
        #: how many layers are promised, and how many of them are being uploaded
        self._sealed = self._frozen = 0
        #: how often it was cut or published: who reads meanwhile may have to look again
        self._turns = 0
        self._promised: Record | None = None
        version = over.version if over is not None else None
        size = 0 if empty or over is None else over.size or 0
        self._overlay = Overlay(node, open_base, engine.spooling, version, size)
        self._target: str | None = None
        self._dropped = False
        self.node = node
        self.store = store
        self.size = size
        self.mtime_ns: int | None = None
        self.changed = False
        #: when its last writer closed it, by the loop's clock
        self.released_at = trio.current_time()
        if empty or over is None:
            self._modified()

    def _take_up(self, entry: Entry, record: Record, layers: list[Layer]) -> None:
        """It is what an earlier storefs promised."""
        self._entry = entry
        self._overlay.rebase(record.base, record.base_size)
        self._overlay.layers = layers
        self._promised, self._sealed, self.changed = record, len(layers), False
        self.size, self.mtime_ns = record.size, record.mtime_ns
        self._engine.spool.used += sum(layer.ranges.total for layer in layers)

    @property
    def _layers(self) -> list[Layer]:
        return self._overlay.layers

    @property
    def image_id(self) -> str:
        """The name under which it is stored."""
        return self._target or self.node.name

    @property
    def promised(self) -> Record | None:
        """What has been promised and is not published."""
        return self._promised

    @property
    def nameless(self) -> bool:
        """Nobody will ever find it under a name: deleted, or replaced by another."""
        return self._dropped or not (self.node.named or self.node.replaces)

    # -- writing ---------------------------------------------------------------------------

    async def write(self, data: Buffer, offset: int) -> None:
        """OSError ENOSPC if the spool is full; what was there stays then."""
        async with self._lock:
            layer = await self._top()
            assert self._entry is not None
            await self._run(self._entry.write, layer, memoryview(data), offset)
            end = offset + len(data)
            self._engine.spool.used += layer.ranges.add(offset, end)
            self.size = max(self.size, end)
            self._modified()

    async def truncate(self, size: int) -> None:
        """Cut it, or let it grow by zeros."""
        async with self._lock:
            if size < self.size:
                layer = await self._top()
                self._turns += 1
                self._engine.spool.used -= layer.cut(size)
                await self._run(layer.shorten, size)
            self.size = size
            self._modified()

    async def set_mtime(self, mtime_ns: int) -> None:
        """Goes along with what is published; promised at once if the rest is."""
        async with self._lock:
            self.mtime_ns = mtime_ns
            if self._promised is not None and not self.changed:
                await self._amend(mtime_ns=mtime_ns)

    def _modified(self) -> None:
        self.changed = True
        self.mtime_ns = time.time_ns()
        if self.node.pending is None:
            self.node.pending = self

    def _unmodified(self) -> None:
        """Nothing is on its way any more."""
        if self.node.pending is self:
            self.node.pending = None

    async def _top(self) -> Layer:
        """The layer that may be written."""
        await self._prepare()
        assert self._entry is not None
        if len(self._layers) == self._sealed:
            self._layers.append(await self._run(self._entry.layer))
        return self._layers[-1]

    async def _prepare(self) -> None:
        if self._entry is None:
            await self._overlay.pin()
            self._entry = await self._run(self._engine.spool.entry)

    # -- promises --------------------------------------------------------------------------

    async def seal(self) -> None:
        """Promise what was written: it survives a crash, and will be published."""
        async with self._lock:
            if not self.changed or self.nameless:
                return
            await self._prepare()
            await self._promise(self._record())
            with contextlib.suppress(OSError):  # then there are more files for a while
                await self._merge()

    def _record(self) -> Record:
        """What is to be promised now."""
        before = self._promised
        return Record(
            store=self.node.store_id,
            uri=self.store.locate(self.image_id).safe_uri(),
            image=self.image_id,
            size=self.size,
            base=self._overlay.version,
            base_size=self._overlay.size,
            mtime_ns=self.mtime_ns,
            uploaded=before.uploaded if before is not None else None,
            sealed_ns=time.time_ns(),
            renamed=self._target is not None,
            outdated=before.outdated if before is not None else None,
        )

    async def _promise(self, record: Record) -> None:
        """All that was written, as *record* says."""
        assert self._entry is not None
        new = tuple(self._layers[self._sealed :])
        await self._run(self._entry.promise, record, tuple(self._layers), new)
        self._promised, self._sealed, self.changed = record, len(self._layers), False

    async def _amend(self, **changes: Any) -> None:
        """Change what is said in the record; the layers it is made of are the same."""
        assert self._entry is not None
        assert self._promised is not None
        record = dataclasses.replace(self._promised, **changes)
        await self._run(self._entry.promise, record, tuple(self._layers[: self._sealed]))
        self._promised = record

    async def _merge(self) -> None:
        """Merge the topmost layers, but none of those that are being uploaded."""
        assert self._promised is not None
        uploaded = (self._promised.uploaded or {}).get("layers", 0)
        while self._sealed - max(self._frozen, uploaded) > MAX_LAYERS:
            lower, upper = self._layers[-2:]
            await self._run(merge, lower, upper)
            before = lower.ranges.total + upper.ranges.total
            lower.ranges, lower.visible = merged_ranges(lower, upper)
            self._layers.remove(upper)
            self._sealed -= 1
            assert self._entry is not None
            await self._run(self._entry.promise, self._promised, tuple(self._layers), (lower,))
            self._engine.spool.used -= before - lower.ranges.total
            self._engine.nursery.start_soon(self._let_go, upper)

    async def stand_over(self, over: ImageInfo | None) -> None:
        """It replaces as a whole what the store has now, no longer what it had at its beginning."""
        async with self._lock:
            self._overlay.version = over.version if over is not None else None
            if self._promised is not None and not self.changed:
                await self._amend(base=self._overlay.version)

    async def outdate(self, older: Record) -> None:
        """It was written after *older*, which may have got into the store."""
        async with self._lock:
            if self._promised is not None:
                await self._amend(outdated=older.uploaded)

    async def succeeded_by(self, successor: Mapping[str, Any] | None) -> None:
        """Note that an image of that identity is about to be stored: after a crash it counts.

        None: it was not, and this one counts.
        """
        async with self._lock:
            if self._promised is None or self._entry is None:
                return
            if self._promised.successor != successor:
                await self._amend(successor=None if successor is None else dict(successor))

    async def roll_back(self) -> bool:
        """Be what was promised last, or what is published; False if there is neither."""
        async with self._lock:
            kept = self._promised
            if kept is None and (self._overlay.version is None or self.node.replaces):
                return False
            gone, self._overlay.layers = self._layers[self._sealed :], self._layers[: self._sealed]
            self.size = self._overlay.size if kept is None else kept.size
            self.mtime_ns = None if kept is None else kept.mtime_ns
            self.changed = False
            if kept is None:
                self._unmodified()
        await self._free(gone)
        return True

    # -- the end ---------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Let go of everything; what is promised stays for the next start."""
        async with self._lock:
            kept = self._sealed if self._promised is not None else 0
            for number, layer in enumerate(self._layers):
                await self._let_go(layer, keep=number < kept)
                self._engine.spool.used -= layer.ranges.total
            self._overlay.layers, self._sealed = [], 0
            if self._entry is not None:
                entry, self._entry = self._entry, None
                await self._run(entry.unlock if kept or self._promised else entry.remove)
            await self._overlay.aclose()
        self._unmodified()

    async def _free(self, gone: list[Layer]) -> None:
        """*gone* are layers that nobody finds any more."""
        self._engine.spool.used -= sum(layer.ranges.total for layer in gone)
        for layer in gone:
            await self._let_go(layer)

    async def _let_go(self, layer: Layer, keep: bool = False) -> None:
        await layer.users.gone()
        with contextlib.suppress(OSError):  # the next start removes it
            await self._engine.spooling.run(lambda: layer.close(keep=keep))

    async def _run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        return await self._engine.spooling.run(function, *args)
