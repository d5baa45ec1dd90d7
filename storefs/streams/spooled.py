# SPDX-License-Identifier: Apache-2.0
"""One image that is written in any order, until it is published.

::

    write, truncate        go to a layer of their own in the spool
    seal (close, fsync)    makes it durable here: that is the promise
    publish                stores what was sealed; who writes on does so in a new layer

So what a crash leaves, and what an upload reads, is always what some close(2)
or fsync(2) promised, and nobody who writes waits for an upload.
"""

import contextlib
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, TypeVarTuple

import trio

from storefs import exceptions
from storefs.driver import Store
from storefs.drivers.base import Buffer, ImageInfo
from storefs.streams.engine import Engine
from storefs.streams.layers import Layer, merge, merged_ranges
from storefs.streams.overlay import OpenBase, Overlay
from storefs.streams.same_image import identity_of
from storefs.streams.spool import Entry, Record
from storefs.streams.spooled_upload import ABORT_TIMEOUT, SpooledUpload, Stored
from storefs.tree import Node
from storefs.upload import UploadResult

log = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Awaited with the identity of what is about to be published.
BeforeCommit = Callable[[Mapping[str, Any]], Awaitable[None]]

#: More sealed layers than that are merged: who appends a line and closes, over and
#: over, would have a file for each.
MAX_LAYERS = 4

WRITING, WAITING, UPLOADING, FAILED = "writing", "waiting", "uploading", "failed"


class Spooled:
    """What is written over *node*'s bytes, and its way into *store*.

    *over* is the published version it begins with, None for a new image; with *empty*
    it replaces that one from nothing. *open_base* opens the version that it names.
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
        self._publishing = trio.Lock()
        self._entry: Entry | None = None
        self._sealed = self._frozen = 0
        #: how often it was cut or published: who reads meanwhile may have to look again
        self._turns = 0
        self._promised: Record | None = None
        self._uploading: SpooledUpload | None = None
        version = over.version if over is not None else None
        size = 0 if empty or over is None else over.size or 0
        self._overlay = Overlay(node, open_base, engine.spooling, version, size)
        self._target: str | None = None
        self._dropped = self._adopted = False
        self.node = node
        self.store = store
        self.size = size
        self.mtime_ns: int | None = None
        self.error: Exception | None = None
        self.changed = False
        #: is another image just being stored under its name?
        self.gives_way = False
        #: when its last writer closed it, by the loop's clock
        self.released_at = trio.current_time()
        if empty or over is None:
            self._modified()

    @classmethod
    def adopted(
        cls,
        engine: Engine,
        node: Node,
        store: Store,
        open_base: OpenBase,
        left: tuple[Entry, Record, list[Layer]],
    ) -> "Spooled":
        """What an earlier storefs promised of *node*."""
        self = cls(engine, node, store, open_base)
        self._entry, record, layers = left
        self._overlay = Overlay(node, open_base, engine.spooling, record.base, record.base_size)
        self._overlay.layers = layers
        self._promised, self._sealed, self.changed = record, len(layers), False
        self._adopted = True
        self.size, self.mtime_ns = record.size, record.mtime_ns
        engine.spool.used += sum(layer.ranges.total for layer in layers)
        return self

    @property
    def _layers(self) -> list[Layer]:
        return self._overlay.layers

    @property
    def image_id(self) -> str:
        """The name under which it is stored."""
        return self._target or self.node.name

    @property
    def in_store(self) -> bool:
        """Has the store an image of this name that this one came from, or became?"""
        foreign = isinstance(self.error, exceptions.ImageChanged)
        return self._overlay.version is not None and not foreign

    @property
    def over(self) -> ImageInfo | None:
        """The version of it that the store has, as far as is known here."""
        if (version := self._overlay.version) is None:
            return None
        return dataclasses.replace(self.node.info, version=version)

    async def stand_over(self, over: ImageInfo | None) -> None:
        """It replaces as a whole what the store has now, no longer what it had at its beginning."""
        async with self._lock:
            self._overlay.version = over.version if over is not None else None
            promised = self._promised
            if promised is not None and not self.changed:
                await self._promise(dataclasses.replace(promised, base=self._overlay.version))

    async def outdate(self, older: Record) -> None:
        """It was written after *older*, which may have got into the store."""
        async with self._lock:
            if self._promised is not None:
                promised = dataclasses.replace(self._promised, outdated=older.uploaded)
                await self._promise(promised)

    async def publish_as(self, name: str, older: "Spooled | None") -> bool:
        """Store it under *name*, whatever has that; False if it is in the store by now.

        *older* is what waits under that name. If it fails all is as it was.
        """
        async with self._publishing:
            if self.in_store:
                return False
            await self._retarget(name)
            try:
                await self._publish_instead_of(older)
            except BaseException:
                with trio.move_on_after(ABORT_TIMEOUT, shield=True):
                    await self._retarget(None)
                raise
            return True

    async def _publish_instead_of(self, older: "Spooled | None") -> None:
        if older is None:
            await self._publish()
        else:
            async with older.giving_way():
                await self._publish(older.succeeded_by)

    async def look_back(self) -> None:
        """See whether an upload whose end nobody got to know of is in the store."""
        if self._promised is None or self._promised.uploaded is None:
            return  # and wait for no upload that is under way
        async with self._publishing:
            promised = self._promised
            if promised is None or promised.uploaded is None or self.nameless:
                return
            stored = await self._upload_of(promised, ()).earlier()
            if stored is not None:
                self.error, self._adopted = None, False
                await self._published(stored)

    async def arrived(self) -> None:
        """Its node has another name; so has what is still promised."""
        async with self._publishing:
            await self._retarget(None)

    async def _retarget(self, name: str | None) -> None:
        self._target = name
        if name is not None or self._promised is not None:
            self.changed = True
            await self.seal()

    @property
    def promised(self) -> Record | None:
        """What has been promised and is not published."""
        return self._promised

    @property
    def nameless(self) -> bool:
        """Nobody will ever find it under a name: deleted, or replaced by another."""
        return self._dropped or not (self.node.named or self.node.replaces)

    @property
    def state(self) -> str:
        if self._uploading is not None:
            return UPLOADING
        if self.changed or self._promised is None:
            return WRITING
        return FAILED if self.error is not None else WAITING

    @property
    def stored(self) -> int:
        """How many bytes the upload under way has taken."""
        return self._uploading.position if self._uploading else 0

    async def read(self, offset: int, length: int) -> Buffer:
        """Exactly *length* bytes from *offset*, fewer only at the end."""
        while True:
            turns = self._turns
            try:
                return await self._read(offset, length)
            except OSError:  # a file that was cut meanwhile is shorter: see what there is now
                if turns == self._turns:
                    raise
            except exceptions.ImageChanged:  # by ourselves, perhaps, who just stored it
                async with self._publishing:
                    if turns == self._turns:
                        raise

    async def _read(self, offset: int, length: int) -> Buffer:
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        try:
            return await self._overlay.read(self._layers, offset, end)
        except exceptions.ImageChanged:
            if not self._adopted:
                raise
            await self.publish()  # it was, but storefs was killed before it noted that
            return await self._overlay.read(self._layers, offset, end)

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
            promised = self._promised
            if promised is not None and not self.changed:
                await self._promise(dataclasses.replace(promised, mtime_ns=mtime_ns))

    def _modified(self) -> None:
        self.changed = True
        self.mtime_ns = time.time_ns()
        if self.node.pending is None:
            self.node.pending = self

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
            record = Record(
                store=self.node.store_id,
                uri=self.store.locate(self.image_id).safe_uri(),
                image=self.image_id,
                size=self.size,
                base=self._overlay.version,
                base_size=self._overlay.size,
                mtime_ns=self.mtime_ns,
                uploaded=self._promised.uploaded if self._promised is not None else None,
                sealed_ns=time.time_ns(),
                renamed=self._target is not None,
                outdated=self._promised.outdated if self._promised is not None else None,
            )
            await self._promise(record)
            with contextlib.suppress(OSError):  # then there are more files for a while
                await self._merge()

    async def _promise(self, record: Record) -> None:
        assert self._entry is not None
        new = tuple(self._layers[self._sealed :])
        await self._run(self._entry.promise, record, tuple(self._layers), new)
        self._promised, self._sealed, self.changed = record, len(self._layers), False

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

    # -- publication -----------------------------------------------------------------------

    async def publish(self) -> ImageInfo | None:
        """Store what was promised; what the store then knows of it, None if nothing was."""
        async with self._publishing:
            return await self._publish()

    async def _publish(self, before_commit: BeforeCommit | None = None) -> ImageInfo | None:
        async with self._lock:  # nobody merges now
            promised, count = self._promised, self._sealed
        if promised is None or self.nameless:
            return None
        self._frozen = count
        try:
            stored = await self._store(promised, self._layers[:count], before_commit)
        except Exception as exc:
            self.error, self._frozen = exc, 0
            raise
        finally:
            self._uploading = None
        self.error, self._adopted = None, False
        await self._published(stored)
        return stored.info

    def _upload_of(
        self,
        promised: Record,
        layers: Sequence[Layer],
        before_commit: BeforeCommit | None = None,
    ) -> SpooledUpload:
        async def note(result: UploadResult) -> None:
            if before_commit is not None:
                await before_commit(identity_of(result))
            await self._note(result)

        return SpooledUpload(self._engine, self.store, self._overlay, promised, layers, note)

    async def _store(
        self, promised: Record, layers: Sequence[Layer], before_commit: BeforeCommit | None
    ) -> Stored:
        self._uploading = upload = self._upload_of(promised, layers, before_commit)
        if (earlier := await upload.earlier()) is not None:
            return earlier
        if self._adopted:
            await upload.check_base()
        replace = self._overlay.version is not None or promised.renamed
        return await upload.store(replace=replace)

    async def _note(self, result: UploadResult) -> None:
        """Before it is published: after a crash one can tell whether it was."""
        uploaded = {**identity_of(result), "layers": self._frozen}
        async with self._lock:
            assert self._promised is not None
            assert self._entry is not None
            self._promised = dataclasses.replace(self._promised, uploaded=uploaded)
            sealed = tuple(self._layers[: self._sealed])
            await self._run(self._entry.promise, self._promised, sealed)

    async def _published(self, stored: Stored) -> None:
        """Go on over the new version, with what was written since."""
        async with self._lock:
            count = stored.layers
            gone, self._overlay.layers = self._layers[:count], self._layers[count:]
            self._sealed -= count
            self._frozen = 0
            self._turns += 1
            close_base = self._overlay.rebase(stored.info.version, stored.record.size)
            # at once: who opens it now must not take it for another's version
            self.node.info, self.node.known_at = stored.info, trio.current_time()
            await self._settle(stored.record)
        self._engine.spool.used -= sum(layer.ranges.total for layer in gone)
        for layer in gone:
            await self._let_go(layer)
        await close_base()
        if self.node.opens:  # who has it open can read it even if it is deleted
            with contextlib.suppress(Exception):
                await self._overlay.pin()

    async def _settle(self, done: Record) -> None:
        """What is still promised once *done* is published: what came after it."""
        now, self._promised = self._promised, None
        assert now is not None
        assert self._entry is not None
        if not self._sealed and (now.size, now.mtime_ns) == (done.size, done.mtime_ns):
            await self._run(self._entry.withdraw)
            if not self.changed and self.node.pending is self:
                self.node.pending = None
            return
        self._promised = dataclasses.replace(
            now,
            base=self._overlay.version,
            base_size=self._overlay.size,
            uploaded=None,
            outdated=None,
        )
        try:
            layers = tuple(self._layers[: self._sealed])
            await self._run(self._entry.promise, self._promised, layers)
        except OSError:
            self.changed = True  # the next close tries again; until then the old one is right
            raise

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
            if kept is None and self.node.pending is self:
                self.node.pending = None
        self._engine.spool.used -= sum(layer.ranges.total for layer in gone)
        for layer in gone:
            await self._let_go(layer)
        return True

    @contextlib.asynccontextmanager
    async def giving_way(self) -> AsyncIterator[None]:
        """The block stores another image under its name: nothing of it may be stored after that."""
        self.gives_way = True
        try:
            if self._uploading is not None:
                await self._uploading.abort("it is being replaced")
            async with self._publishing:
                try:
                    yield
                except BaseException:
                    with trio.move_on_after(ABORT_TIMEOUT, shield=True):
                        await self.succeeded_by(None)
                    raise
                self._dropped = True
        finally:
            self.gives_way = False

    async def succeeded_by(self, successor: Mapping[str, Any] | None) -> None:
        """Note that an image of that identity is about to be stored: after a crash it counts.

        None: it was not, and this one counts.
        """
        async with self._lock:
            if self._promised is None or self._entry is None:
                return
            if self._promised.successor == successor:
                return
            noted = None if successor is None else dict(successor)
            self._promised = dataclasses.replace(self._promised, successor=noted)
            sealed = tuple(self._layers[: self._sealed])
            await self._run(self._entry.promise, self._promised, sealed)

    async def condemn(self, deleted: bool = True) -> None:
        """It will be deleted, older version and all: that is how a crash from now on ends.

        With *deleted* false the store did not do it, and all is as it was.
        """
        async with self._publishing, self._lock:
            if self._promised is not None:
                await self._promise(dataclasses.replace(self._promised, deleted=deleted))

    async def discard(self) -> None:
        """It was deleted, or replaced by another: withdraw what was promised of it."""
        self._dropped = True
        if self._uploading is not None:
            await self._uploading.abort("it was deleted or replaced while it was stored")
        async with self._publishing, self._lock:
            self._promised = None
            if self._entry is not None:
                await self._run(self._entry.withdraw)
        self.node.info = dataclasses.replace(self.node.info, size=self.size)
        if self.node.pending is self:
            self.node.pending = None

    async def aclose(self) -> None:
        """Let go of everything; what is promised stays for the next start."""
        async with self._publishing, self._lock:
            kept = self._sealed if self._promised is not None else 0
            for number, layer in enumerate(self._layers):
                await self._let_go(layer, keep=number < kept)
                self._engine.spool.used -= layer.ranges.total
            self._overlay.layers, self._sealed = [], 0
            if self._entry is not None:
                entry, self._entry = self._entry, None
                await self._run(entry.unlock if kept or self._promised else entry.remove)
            await self._overlay.aclose()
        if self.node.pending is self:
            self.node.pending = None

    async def _let_go(self, layer: Layer, keep: bool = False) -> None:
        await layer.users.gone()
        with contextlib.suppress(OSError):  # the next start removes it
            await self._engine.spooling.run(lambda: layer.close(keep=keep))

    async def _run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        return await self._engine.spooling.run(function, *args)
