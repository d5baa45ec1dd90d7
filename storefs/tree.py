# SPDX-License-Identifier: Apache-2.0
"""Names and inodes: the root, its stores, their images. Knows nothing of FUSE.

**An inode is one version of one image.** When the bytes behind a name change -
replaced here, or by somebody else - the name gets a new inode and the old one
lives on, nameless, for those who still hold it, as after rename(2) on a local
disk. Whatever is cached by inode, here or in the kernel, therefore never mixes
two versions.

Inode numbers are hashes of store and name: the same after a remount, with no
table to keep. The tree remembers an image only as long as somebody else does
(`remember`, `forget`, `opens`), so its size is that of the kernel's cache.
"""

import dataclasses
import hashlib
from typing import Any

from storefs.drivers.base import ImageInfo

ROOT_INODE = 1

#: of what the mount says of itself: a directory and the file in it
STATUS_INODE, UPLOADS_INODE = 2, 3


@dataclasses.dataclass(slots=True)
class Directory:
    """The root (*store_id* None) or the directory of one store."""

    inode: int
    store_id: str | None


@dataclasses.dataclass(slots=True, eq=False)
class Node:
    """One version of one image under an inode number.

    *known_at* is the clock of when *info* was last true. *pending* is the
    upload behind an image that is not published yet. *named* turns False when
    the name went to another version or away. *replaces* is the node whose name
    this one will get when it is published.
    *opens* counts open files, *writers* those of them that may write.
    """

    inode: int
    store_id: str
    name: str
    info: ImageInfo
    known_at: float
    generation: int = 0
    lookups: int = 0
    opens: int = 0
    writers: int = 0
    pending: Any = None
    named: bool = True
    refreshing: bool = False
    replaces: "Node | None" = None


class Tree:
    """The names the kernel, or an open file, knows of."""

    def __init__(self, store_ids: list[str]) -> None:
        self.root = Directory(ROOT_INODE, None)
        self.directories: dict[str, Directory] = {}
        self._by_inode: dict[int, Directory | Node] = {ROOT_INODE: self.root}
        self._by_name: dict[tuple[str, str], Node] = {}
        for store_id in store_ids:
            directory = Directory(self._number(store_id, "", 0), store_id)
            self.directories[store_id] = directory
            self._by_inode[directory.inode] = directory

    def get(self, inode: int) -> Directory | Node | None:
        return self._by_inode.get(inode)

    def find(self, store_id: str, name: str) -> Node | None:
        """The node that bears the name now."""
        return self._by_name.get((store_id, name))

    def learn(self, store_id: str, name: str, info: ImageInfo, as_of: float) -> Node:
        """Take in what a store said at *as_of*; gives the node that bears the name.

        Older news than what is known is ignored; another version than the
        known one gets an inode of its own.
        """
        node = self.find(store_id, name)
        if node is not None and (node.pending is not None or as_of < node.known_at):
            return node
        if node is not None and node.info.version == info.version:
            node.info, node.known_at = info, as_of
            return node
        generation = 0
        if node is not None:
            generation = node.generation + 1
            self.detach(node)
        return self.add(store_id, name, info, as_of, generation)

    def add(
        self, store_id: str, name: str, info: ImageInfo, as_of: float, generation: int = 0
    ) -> Node:
        """A node for a name that has none."""
        number = self._number(store_id, name, generation)
        node = Node(number, store_id, name, info, as_of, generation)
        self._by_inode[number] = self._by_name[store_id, name] = node
        return node

    def successor(self, old: Node, info: ImageInfo, now: float) -> Node:
        """A node without a name, to get *old*'s when it is published."""
        generation = old.generation + 1
        number = self._number(old.store_id, old.name, generation)
        node = Node(number, old.store_id, old.name, info, now, generation, named=False)
        node.replaces = old
        self._by_inode[number] = node
        return node

    def succeed(self, node: Node) -> Node | None:
        """Give a successor its name; the node that bore it until now, if there was one."""
        old = self.find(node.store_id, node.name)
        if old is not None:
            self.detach(old)
        node.named, node.replaces = True, None
        self._by_name[node.store_id, node.name] = node
        return old

    def move(self, node: Node, name: str) -> None:
        """Give *node* another name in its store; whatever bore it loses it."""
        if (old := self.find(node.store_id, name)) is not None and old is not node:
            self.detach(old)
        if self.find(node.store_id, node.name) is node:
            del self._by_name[node.store_id, node.name]
        node.name, node.named = name, True
        self._by_inode[node.inode] = node
        self._by_name[node.store_id, name] = node

    def detach(self, node: Node) -> None:
        """Take the name away; holders keep the inode."""
        if node.named:
            node.named = False
            del self._by_name[node.store_id, node.name]
        self._drop_if_unused(node)

    def remember(self, node: Node) -> None:
        """Somebody outside was told of the inode once more."""
        node.lookups += 1

    def forget(self, inode: int, times: int) -> None:
        """Somebody outside forgot *times* of those."""
        node = self._by_inode.get(inode)
        if isinstance(node, Node):
            node.lookups = max(0, node.lookups - times)
            self._drop_if_unused(node)

    def opened(self, node: Node, *, writable: bool) -> None:
        node.opens += 1
        node.writers += writable

    def released(self, node: Node, *, writable: bool) -> None:
        node.opens -= 1
        node.writers -= writable
        self._drop_if_unused(node)

    def settled(self, node: Node) -> None:
        """Nothing is on its way behind *node* any more."""
        self._drop_if_unused(node)

    def _drop_if_unused(self, node: Node) -> None:
        if node.lookups or node.opens or node.pending is not None:
            return
        if self._by_inode.get(node.inode) is node:  # the number may be another's by now
            del self._by_inode[node.inode]
        if node.named:
            node.named = False
            del self._by_name[node.store_id, node.name]

    def _number(self, store_id: str, name: str, generation: int) -> int:
        while True:
            key = f"{store_id}\0{name}\0{generation}".encode(errors="surrogateescape")
            digest = hashlib.blake2b(key, digest_size=8).digest()
            number = int.from_bytes(digest, "big") >> 1
            if number > UPLOADS_INODE and number not in self._by_inode:
                return number
            generation += 1
