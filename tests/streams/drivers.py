# SPDX-License-Identifier: Apache-2.0
"""Readers and writers that count and that wait for the test's leave."""

import collections
import itertools
import threading

from storefs.drivers.base import Buffer, ImageInfo, Reader, Writer

IMAGE = ("store", "image", "version")


class CountingReader(Reader):
    """*data*, with the (offset, length) of each `pread`, in pieces whose seams lie anywhere."""

    #: pieces end at its multiples, bytes
    seam = 700_001

    def __init__(self, data: bytes, *, tells_size: bool = True, max_concurrency: int = 4) -> None:
        self.data = data
        self.info = ImageInfo("image", len(data) if tells_size else None, "version")
        self.max_concurrency = max_concurrency
        self.calls: list[tuple[int, int]] = []
        self.errors: dict[int, Exception] = {}
        self.open_gate = threading.Event()
        self.open_gate.set()
        self.closed = False
        self.most_at_once = 0
        self._running = 0
        self._lock = threading.Lock()

    def pread(self, length: int, offset: int) -> Buffer:
        with self._lock:
            self.calls.append((offset, length))
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
        try:
            assert self.open_gate.wait(60)
            assert not self.closed
            if offset in self.errors:
                raise self.errors[offset]
            return self.data[offset : offset + length]
        finally:
            with self._lock:
                self._running -= 1

    def preadv(self, length: int, offset: int) -> list[Buffer]:
        data = self.pread(length, offset)
        seams = range(self.seam - offset % self.seam, len(data), self.seam)
        return [data[begin:end] for begin, end in itertools.pairwise([0, *seams, len(data)])]

    def close(self) -> None:
        self.closed = True

    @property
    def fetched(self) -> int:
        return sum(length for _, length in self.calls)

    @property
    def repeated(self) -> list[tuple[int, int]]:
        return [call for call, times in collections.Counter(self.calls).items() if times > 1]


class CollectingWriter(Writer):
    """Parts by offset; *errors* by offset; waits at *open_gate*."""

    def __init__(self, part: int = 1000, max_concurrency: int = 3) -> None:
        self.part, self.max_concurrency = part, max_concurrency
        self.parts: dict[int, bytes] = {}
        self.skipped: list[tuple[int, int]] = []
        self.errors: dict[int, Exception] = {}
        self.open_gate = threading.Event()
        self.open_gate.set()
        self.committed: int | None = None
        self.aborted = False
        self.outstanding = self.most_at_once = 0
        self._lock = threading.Lock()

    def part_size(self, offset: int) -> int:
        return self.part

    def pwrite(self, data: memoryview, offset: int) -> None:
        with self._lock:
            self.outstanding += 1
            self.most_at_once = max(self.most_at_once, self.outstanding)
        try:
            assert self.open_gate.wait(60)
            if offset in self.errors:
                raise self.errors[offset]
            with self._lock:
                assert offset not in self.parts
                self.parts[offset] = bytes(data)
        finally:
            with self._lock:
                self.outstanding -= 1

    def skip(self, length: int, offset: int) -> None:
        self.skipped.append((offset, length))
        self.pwrite(memoryview(bytes(length)), offset)

    def commit(self, size: int) -> None:
        self.committed = size

    def abort(self) -> None:
        self.aborted = True

    @property
    def stored(self) -> bytes:
        return b"".join(part for _, part in sorted(self.parts.items()))
