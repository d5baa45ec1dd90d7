# SPDX-License-Identifier: Apache-2.0
"""Which bytes of a file are meant: a set of stretches, merged where they meet."""

import bisect
from collections.abc import Iterable, Iterator


class Ranges:
    """Stretches ``[start, end)``, sorted, none touching the next.

    Adding at the end, or into the last one, costs nothing; elsewhere it is a
    binary search and one move of a list.
    """

    def __init__(self, stretches: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.total = 0
        for start, end in stretches:
            self.add(start, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._ends)))

    @property
    def end(self) -> int:
        """Where the last one ends; 0 if there is none."""
        return self._ends[-1] if self._ends else 0

    def add(self, start: int, end: int) -> int:
        """Take ``[start, end)`` in; says by how many bytes it grew."""
        if start >= end:
            return 0
        first = bisect.bisect_left(self._ends, start)
        last = bisect.bisect_right(self._starts, end)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        covered = sum(self._ends[n] - self._starts[n] for n in range(first, last))
        self._starts[first:last], self._ends[first:last] = [start], [end]
        grown = end - start - covered
        self.total += grown
        return grown

    def clip(self, end: int) -> int:
        """Leave out everything from *end* on; says how many bytes that were."""
        keep = bisect.bisect_left(self._starts, end)
        lost = sum(self._ends[keep:]) - sum(self._starts[keep:])
        del self._starts[keep:], self._ends[keep:]
        if self._ends and self._ends[-1] > end:
            lost += self._ends[-1] - end
            self._ends[-1] = end
        self.total -= lost
        return lost

    def missing(self, start: int, end: int) -> int:
        """How many bytes of ``[start, end)`` are not in the set."""
        return sum(e - s for s, e, inside in self.pieces(start, end) if not inside)

    def pieces(self, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """``[start, end)`` cut into what is in the set (True) and what is not."""
        index = bisect.bisect_right(self._ends, start)
        while start < end:
            inside = index < len(self._starts) and self._starts[index] <= start
            if inside:
                stop = min(end, self._ends[index])
                index += 1
            else:
                stop = min(end, self._starts[index]) if index < len(self._starts) else end
            yield start, stop, inside
            start = stop
