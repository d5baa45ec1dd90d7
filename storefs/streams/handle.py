# SPDX-License-Identifier: Apache-2.0
"""One open file."""

import dataclasses
from collections.abc import Callable

import trio

from storefs.driver import Store
from storefs.streams.publication import PUBLISHED, Publication
from storefs.streams.read_stream import ReadStream
from storefs.tree import Node


@dataclasses.dataclass(eq=False)
class Handle:
    """One open file: a reader, a writer, or (opened to be touched) neither yet.

    What is written through it goes to *writing*, a stream, until that is published
    or the writer goes back; from then on to the spool, as all else does.
    *killed* tells whether who opened it is ending by a signal: the kernel closes
    the files of a process that is killed, and nobody meant that as a close(2).
    *cut_off* is what it told at the last flush: at the release nobody may be left to ask.
    """

    node: Node
    store: Store
    reading: ReadStream | None = None
    writing: Publication | None = None
    writable: bool = False
    outdated: list[ReadStream] = dataclasses.field(default_factory=list)
    killed: Callable[[], bool] = lambda: False
    cut_off: bool = False
    closing: trio.Lock = dataclasses.field(default_factory=trio.Lock)

    @property
    def streaming(self) -> bool:
        """Is what is written passed on to the store at once?"""
        return self.writing is not None and self.writing.state != PUBLISHED
