# SPDX-License-Identifier: Apache-2.0
"""One image that is written in any order, and its way into the store.

::

    write, truncate, seal  see `written`
    publish                stores what was sealed; who writes on does so in a new layer

So what a crash leaves, and what an upload reads, is always what some close(2)
or fsync(2) promised, and nobody who writes waits for an upload.
"""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import trio

from storefs import exceptions
from storefs.driver import Store
from storefs.drivers.base import Buffer, ImageInfo
from storefs.streams.engine import Engine
from storefs.streams.layers import Layer
from storefs.streams.overlay import OpenBase
from storefs.streams.same_image import identity_of
from storefs.streams.spool import Entry, Record
from storefs.streams.spooled_upload import ABORT_TIMEOUT, SpooledUpload, Stored
from storefs.streams.written import Written
from storefs.tree import Node
from storefs.upload import UploadResult

#: Awaited with the identity of what is about to be published.
BeforeCommit = Callable[[Mapping[str, Any]], Awaitable[None]]

WRITING, WAITING, UPLOADING, FAILED = "writing", "waiting", "uploading", "failed"


class Spooled(Written):
    """What is `Written`, with what becomes of it in the store.

    One publication at a time is under way, and whatever must not happen during one
    is done under `_publishing`.
    """

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
        super().__init__(engine, node, store, open_base, over=over, empty=empty)
        self._publishing = trio.Lock()
        self._uploading: SpooledUpload | None = None
        self._adopted = False
        self.error: Exception | None = None
        #: is another image just being stored under its name?
        self.gives_way = False

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
        self._take_up(*left)
        self._adopted = True
        return self

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

    # -- publication -----------------------------------------------------------------------

    async def publish(self) -> ImageInfo | None:
        """Store what was promised; what the store then knows of it, None if nothing was."""
        async with self._publishing:
            return await self._publish()

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
        async with self._lock:
            await self._amend(uploaded={**identity_of(result), "layers": self._frozen})

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
        await self._free(gone)
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
            if not self.changed:
                self._unmodified()
            return
        version, size = self._overlay.version, self._overlay.size
        self._promised = dataclasses.replace(
            now, base=version, base_size=size, uploaded=None, outdated=None
        )
        try:
            await self._amend()
        except OSError:
            self.changed = True  # the next close tries again; until then the old one is right
            raise

    # -- other images of its name, and other names -------------------------------------------

    async def arrived(self) -> None:
        """Its node has another name; so has what is still promised."""
        async with self._publishing:
            await self._retarget(None)

    async def _retarget(self, name: str | None) -> None:
        self._target = name
        if name is not None or self._promised is not None:
            self.changed = True
            await self.seal()

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

    async def condemn(self, deleted: bool = True) -> None:
        """It will be deleted, older version and all: that is how a crash from now on ends.

        With *deleted* false the store did not do it, and all is as it was.
        """
        async with self._publishing, self._lock:
            if self._promised is not None:
                await self._amend(deleted=deleted)

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
        self._unmodified()

    async def aclose(self) -> None:
        async with self._publishing:
            await super().aclose()
