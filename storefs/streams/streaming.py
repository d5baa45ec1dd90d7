# SPDX-License-Identifier: Apache-2.0
"""All images of a mount that are written from start to end: who writes one, how it ends.

A stream is published by close(2), fsync(2) or, under rsync's temporary name, by
rename(2). Until one of these has happened it is nobody's image.
"""

import logging

import trio

from storefs import exceptions
from storefs.driver import Store
from storefs.drivers.base import ImageInfo
from storefs.streams.engine import Engine
from storefs.streams.handle import Handle
from storefs.streams.names import Names
from storefs.streams.publication import FAILED, HELD, PUBLISHED, STREAMING, Publication
from storefs.streams.same_image import identity_of
from storefs.streams.spooling import Spooling
from storefs.tree import Node, Tree
from storefs.upload import UploadResult

log = logging.getLogger(__name__)


class Streaming:
    """The streams of one mount that are not finished, with the nodes they are to become."""

    def __init__(self, engine: Engine, names: Names, tree: Tree, spooling: Spooling) -> None:
        self._engine = engine
        self._names = names
        self._tree = tree
        self._spooling = spooling
        self._unfinished: dict[Publication, Node] = {}

    def all(self) -> list[Publication]:
        """The uploads that are streamed, or held."""
        return [publication for publication in self._unfinished if not publication.finished]

    def of(self, node: Node) -> list[Publication]:
        """Those of them that become *node*."""
        return [p for p, n in self._unfinished.items() if n is node and not p.finished]

    def replaces(self, node: Node) -> bool:
        """Is one of them on its way to *node*'s name?"""
        names = [(n.store_id, n.name) for p, n in self._unfinished.items() if not p.finished]
        return (node.store_id, node.name) in names

    # -- beginning --------------------------------------------------------------------

    def begin(self, node: Node, store: Store, final: str | None) -> Publication:
        """A new image; *final* is the name it gets by rename(2), if it is a temporary."""
        temporary = final is not None
        publication = Publication(
            self._engine, store, final or node.name, replace=temporary, temporary=temporary
        )
        self._unfinished[publication] = node
        return publication

    def replace(self, node: Node, store: Store) -> Publication:
        """Another image in *node*'s place; `InUseByStore`."""
        if node.pending is not None:
            raise exceptions.InUseByStore(f"Image {node.name} is being written.")
        publication = Publication(self._engine, store, node.name, replace=True)
        self._unfinished[publication] = node
        return publication

    # -- publication ------------------------------------------------------------------

    async def settle(self, handle: Handle) -> None:
        """Publish, or hold; whoever comes second finds it done."""
        publication = handle.writing
        assert publication is not None
        async with handle.closing:
            publication.check()
            if publication.state in (PUBLISHED, HELD):
                return
            if publication.temporary:
                await publication.hold()
                self._engine.nursery.start_soon(self._await_rename, publication, handle.node)
            else:
                await self.publish(publication, handle.node)

    async def publish(self, publication: Publication, node: Node) -> None:
        """Publish what becomes *node*."""
        try:
            info = await self._publish(publication, node)
        except Exception:
            self._fail(publication, node)
            raise
        self.forget(publication)
        old = self._tree.find(node.store_id, publication.image_id)
        if node.pending is publication:
            node.pending = None
            node.info, node.known_at = info, trio.current_time()
            self._names.succeeded(node)
        else:
            self._names.learn(node.store_id, node.name, info, trio.current_time())
        if old is not None and old is not node:
            await self._spooling.superseded(old)

    async def _publish(self, publication: Publication, node: Node) -> ImageInfo:
        named = self._tree.find(node.store_id, publication.image_id)
        older = self._spooling.find(named) if named not in (None, node) else None
        if older is None:
            return await publication.publish()

        async def note(result: UploadResult) -> None:
            await older.succeeded_by(identity_of(result))

        publication.before_commit = note
        async with older.giving_way():
            return await publication.publish()

    async def _await_rename(self, publication: Publication, node: Node) -> None:
        grace = self._engine.settings.rename_grace
        await trio.sleep(grace)
        if publication.state == HELD:
            _warn(node, f"no rename followed within {grace:g} s; given up")
            await self.give_up(publication, "no rename followed in time")

    # -- other ends -------------------------------------------------------------------

    async def released(self, handle: Handle) -> None:
        """The last close: what nobody wrote to is published, what was never closed is cut off."""
        publication = handle.writing
        if publication is None:
            return
        try:
            if not publication.finished:
                with self._engine.closing.of(handle.node.store_id, handle.node.name):
                    await self._let_go(handle, publication)
        finally:
            if publication.state == FAILED:
                self._fail(publication, handle.node)

    async def _let_go(self, handle: Handle, publication: Publication) -> None:
        if handle.killed() or (publication.position and publication.state == STREAMING):
            await self.cut_off(handle, publication)
        else:
            await self.settle(handle)

    async def cut_off(self, handle: Handle, publication: Publication) -> None:
        """Its writer was killed, so nobody said that this is all."""
        _warn(handle.node, "its writer was killed; what it wrote is given up")
        await self.give_up(publication, "its writer was killed")

    async def give_up(self, publication: Publication, reason: str) -> None:
        """Nothing of it becomes an image; those who still write it are told *reason*."""
        node = self._unfinished.get(publication)
        await publication.abort(reason)
        if node is not None:
            self._fail(publication, node)

    async def give_up_all(self, node: Node, reason: str) -> None:
        """Give up whatever is on its way to *node*'s name."""
        for publication, other in list(self._unfinished.items()):
            if (other.store_id, other.name) == (node.store_id, node.name):
                await self.give_up(publication, reason)

    async def close(self) -> None:
        """Give up all of them, with a warning each."""
        unfinished = {p: n for p, n in self._unfinished.items() if not p.finished}
        async with trio.open_nursery() as nursery:
            for publication, node in unfinished.items():
                _warn(node, "it was not finished before the unmount and is given up")
                nursery.start_soon(self.give_up, publication, "the filesystem was unmounted")

    def forget(self, publication: Publication) -> None:
        """It is published, or its writer goes on elsewhere."""
        self._unfinished.pop(publication, None)

    def _fail(self, publication: Publication, node: Node) -> None:
        self.forget(publication)
        if node.pending is publication:
            node.pending = None
            self._tree.detach(node)


def _warn(node: Node, reason: str) -> None:
    log.warning("%s: %s: %s", node.store_id, node.name, reason)
