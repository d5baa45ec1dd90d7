# SPDX-License-Identifier: Apache-2.0
"""How an image is cut: 1,000 segments at most, short ones first."""

import dataclasses

from storefs import exceptions
from storefs.drivers.swift.options import MB

MiB = 1024 * 1024

#: Swift's and Ceph's defaults (max_manifest_segments, max_file_size).
MAX_SEGMENTS = 1000
MAX_SEGMENT = 5 * 1024 * MiB

#: What a segment has at first, bytes: several are in memory at once, and the time a
#: server takes for an object of any length (20 ms) is little beside it. On two cores
#: 32 MiB were stored a fifth faster than 16, and 64 more slowly.
USUAL = 32 * MiB

#: How many segments of growing length there are, beside those that pay for the rest.
_LEVELS = ((500, 1), (250, 3), (150, 6))

_LAST = MAX_SEGMENTS - sum(count for count, _ in _LEVELS)


@dataclasses.dataclass(frozen=True)
class Cut:
    """*first* bytes come as one part, and are one object if no more come.

    *levels* are (how many segments, how long each in bytes); the first part takes as
    many of the first level as it needs.
    """

    first: int
    levels: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, chunk: int, threshold: int, size: int | None) -> "Cut":
        """For segments of *chunk* bytes at the most, if *size* bytes (None: unknown) allow it.

        An image shorter than *threshold* is one object, as far as it is kept in memory.
        """
        usual = min(chunk, USUAL)
        if size is not None:
            usual = max(usual, _whole(size, sum(count for count, _ in _LEVELS)))
            levels = [(MAX_SEGMENTS - _LAST, usual), (_LAST, MAX_SEGMENT)]
        else:
            levels = [(count, min(times * usual, MAX_SEGMENT)) for count, times in _LEVELS]
            levels.append((_LAST, MAX_SEGMENT))
        return cls(max(usual, min(threshold, USUAL)), tuple(levels))

    @property
    def segment(self) -> int:
        """How long the segments of the first part are, bytes."""
        return self.levels[0][1]

    def part_size(self, offset: int) -> int:
        """How long the part at *offset* is, bytes; `ImageTooLarge` after the last."""
        if offset < self.first:
            return self.first
        start, taken = self.first, -(-self.first // self.segment)
        for count, length in self.levels:
            end = start + (count - taken) * length
            if offset < end:
                return length
            start, taken = end, 0
        raise exceptions.ImageTooLarge(f"Swift holds {MAX_SEGMENTS} segments and no more")


def _whole(size: int, segments: int) -> int:
    """How long *segments* segments are that hold *size* bytes, in Glance's MB."""
    return -(-size // (segments * MB)) * MB
