# SPDX-License-Identifier: Apache-2.0
"""How an image is cut: 10,000 parts at most, up to 5 TiB, and small ones first."""

import dataclasses

from storefs import exceptions

MiB = 1024 * 1024

#: S3's limits (docs.aws.amazon.com, "Amazon S3 multipart upload limits").
MAX_PARTS = 10_000
MAX_PART = 5 * 1024 * MiB
MAX_SIZE = 5 * 1024 * 1024 * MiB

#: Parts of the greatest length that hold the longest object: a size that was told may
#: be wrong.
_SPARE = 1100


@dataclasses.dataclass(frozen=True)
class Cut:
    """*levels* of (how many parts, how long each in bytes), the last one without end."""

    levels: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, chunk: int, size: int | None) -> "Cut":
        """For parts of *chunk* bytes; longer ones if *size* bytes are to come.

        Of unknown size the first 10 GiB are cut as told and every image up to
        400 GiB into parts a computer has memory for (of 10 MiB: 10, 40 and 160
        MiB); what would be longer still than that pays for the rest.
        """
        if size is not None:
            chunk = max(chunk, _whole(size, MAX_PARTS - _SPARE))
            return cls(((MAX_PARTS - _SPARE, chunk), (_SPARE, MAX_PART)))
        levels = [
            (1000, chunk),
            (2000, min(4 * chunk, MAX_PART)),
            (2000, min(16 * chunk, MAX_PART)),
        ]
        rest = MAX_SIZE - sum(count * length for count, length in levels)
        return cls((*levels, (5000, max(chunk, _whole(rest, 5000)))))

    def part_size(self, offset: int) -> int:
        """How long the part at *offset* is, bytes."""
        return self._level(offset)[2]

    def number(self, offset: int) -> int:
        """Which part begins at *offset*, from 1; `ImageTooLarge` after the last there may be."""
        first, start, length = self._level(offset)
        number = first + (offset - start) // length
        if number > MAX_PARTS:
            raise exceptions.ImageTooLarge(f"S3 takes no more than {MAX_PARTS} parts")
        return number

    def _level(self, offset: int) -> tuple[int, int, int]:
        """Number and offset of the level's first part, and how long its parts are."""
        first, start = 1, 0
        for count, length in self.levels[:-1]:
            if offset < start + count * length:
                return first, start, length
            first, start = first + count, start + count * length
        return first, start, self.levels[-1][1]


def _whole(size: int, parts: int) -> int:
    """How long *parts* parts are that hold *size* bytes, in whole MiB."""
    return -(-size // (parts * MiB)) * MiB
