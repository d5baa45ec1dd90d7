# SPDX-License-Identifier: Apache-2.0
"""A stretch of an image in memory, in the pieces the driver brought it in."""

import bisect
import itertools
from collections.abc import Sequence

from storefs.drivers.base import Buffer, joined


class Block:
    """*pieces* follow each other. Bytes are copied only where somebody wants them over a seam."""

    __slots__ = ("_ends", "_pieces")

    def __init__(self, pieces: Sequence[Buffer]) -> None:
        self._pieces = [memoryview(piece) for piece in pieces]
        self._ends = list(itertools.accumulate(map(len, self._pieces)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def cut(self, offset: int, length: int) -> Buffer:
        """*length* bytes from *offset*, fewer only where the block ends."""
        end = min(offset + length, len(self))
        found: list[memoryview] = []
        at = bisect.bisect_right(self._ends, offset)
        while offset < end:
            piece = self._pieces[at]
            skipped = offset - (self._ends[at] - len(piece))
            found.append(piece[skipped : skipped + end - offset])
            offset += len(found[-1])
            at += 1
        return joined(found)
