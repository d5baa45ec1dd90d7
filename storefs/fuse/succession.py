# SPDX-License-Identifier: Apache-2.0
"""An image that is replaced gets an inode of its own, from open(2) with O_TRUNC on.

The kernel cuts the inode it opens so to nothing: whoever still reads the old
bytes through it would meet their end. So the first such open is refused as
stale, the kernel looks the name up again (do_filp_open in fs/namei.c), and that
look-up, told by its thread, leads to the successor. Who came by no name (a link
in /proc/PID/fd) opens the old inode a second time, and gets it.
"""

import trio

from storefs.tree import Node, Tree

#: Seconds after which nobody comes any more: the kernel does it all in one system call.
PATIENCE = 1.0

#: thread, store and name; not the inode, which may be another one by then
Key = tuple[int, str, str]


class Successions:
    """Which thread is to find which node instead of another.

    The tree is told to remember the successor that long: the kernel looks it up
    twice, and forgets the first answer.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._successors: dict[Key, tuple[Node, float]] = {}

    def announce(self, thread: int, old: Node, successor: Node) -> None:
        """The next look-up that *thread* does for *old* is to find *successor*."""
        now = trio.current_time()
        for key in [k for k, (_, until) in self._successors.items() if until < now]:
            self._drop(key)
        self._tree.remember(successor)
        self._successors[thread, old.store_id, old.name] = successor, now + PATIENCE

    def announced(self, thread: int, old: Node) -> Node | None:
        """What *thread* is to find instead of *old*."""
        successor, until = self._successors.get((thread, old.store_id, old.name), (None, 0.0))
        return successor if trio.current_time() < until else None

    def done(self, thread: int, old: Node) -> None:
        """It was found, or did not matter."""
        self._drop((thread, old.store_id, old.name))

    def _drop(self, key: Key) -> None:
        if key in self._successors:
            self._tree.forget(self._successors.pop(key)[0].inode, 1)
