# SPDX-License-Identifier: Apache-2.0
"""One image on its way in: counted, hashed and stored, once for every driver.

`Upload` is the bookkeeping, without threads: the mount drives it from its
lanes, the library from `Upload.feed`. Both cut the stream into the writer's
parts and give each part to every digest in order and to the writer.
"""

import collections
import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

from storefs import exceptions
from storefs.drivers.base import Buffer, ImageInfo, Writer

#: Glance's default for ``os_hash_algo``.
DEFAULT_ALGORITHM = "sha512"

#: How much `feed` asks a reader for at a time when parts are larger, bytes.
READ_SIZE = 1024 * 1024


class Digest(Protocol):
    """What of hashlib's objects is used; a signature verifier fits as well."""

    def update(self, data: Buffer, /) -> Any: ...


class UploadResult(NamedTuple):
    """What is known of an image once it is published; hashes in hex."""

    size: int
    checksum: str
    multihash: str
    algorithm: str

    def properties(self) -> dict[str, str]:
        """The form in which it is kept with the object."""
        return {
            "md5": self.checksum,
            "os_hash_algo": self.algorithm,
            "os_hash_value": self.multihash,
        }


def new_digest(algorithm: str) -> Any:
    """A hashlib object; raises `UnknownHashingAlgo`.

    hashlib lists the shake family too, whose digests have no length of their
    own and so cannot be a multihash.
    """
    if algorithm.startswith("shake") or algorithm not in hashlib.algorithms_available:
        raise exceptions.UnknownHashingAlgo(algo=algorithm)
    try:
        return hashlib.new(algorithm, usedforsecurity=False)
    except ValueError as exc:
        raise exceptions.UnknownHashingAlgo(algo=algorithm) from exc


class Upload:
    """An image between `SupportsAdd.create` and its publication.

    *size* is what the caller announced, or None; *position* counts the bytes
    taken so far. Not thread-safe but for the lanes: each of `lanes` is called
    by one thread at a time, in order, `store` by up to ``writer.max_concurrency``.
    """

    def __init__(
        self,
        writer: Writer,
        size: int | None = None,
        algorithm: str = DEFAULT_ALGORITHM,
        verifier: Digest | None = None,
    ) -> None:
        self.writer = writer
        self.size = size
        self.position = 0
        #: what the store has since `finish`, where the writer told
        self.published: ImageInfo | None = None
        self._algorithm = algorithm
        self._digests = {name: new_digest(name) for name in {"md5", algorithm}}
        self.lanes: list[Callable[[memoryview], Any]] = [
            digest.update for digest in self._digests.values()
        ]
        if verifier is not None:
            self.lanes.append(verifier.update)

    def take(self, length: int) -> int:
        """Count *length* bytes in and return where they go; `Invalid` if too many."""
        offset = self.position
        self.position += length
        if self.size is not None and self.position > self.size:
            raise exceptions.Invalid(
                f"Size exceeds: expected {self.size} bytes, got {self.position} bytes"
            )
        return offset

    def store(self, data: memoryview, offset: int) -> None:
        """Hand one part to the writer."""
        self.writer.pwrite(data, offset)

    def store_pieces(self, pieces: list[memoryview], offset: int) -> None:
        """The same of a part in pieces that nobody changes any more."""
        self.writer.pwritev(pieces, offset)

    def finish(self, properties: Mapping[str, str] | None = None) -> tuple[UploadResult, bool]:
        """Check the size and publish, with hashes and *properties* staged.

        The second value says whether the writer could take the properties
        along. Nothing is published when this raises.
        """
        if self.size is not None and self.position != self.size:
            raise exceptions.Invalid(
                f"Size mismatch: expected {self.size} bytes, got {self.position} bytes"
            )
        result = self.result()
        staged = self.writer.stage({**result.properties(), **(properties or {})})
        info = self.writer.commit(self.position)
        self.published = info if staged else None  # what is set afterwards may change it
        return result, staged

    def result(self) -> UploadResult:
        """Size and hashes of what has passed the lanes so far."""
        return UploadResult(
            self.position,
            self._digests["md5"].hexdigest(),
            self._digests[self._algorithm].hexdigest(),
            self._algorithm,
        )

    def abort(self) -> None:
        """Leave no trace of it."""
        self.writer.abort()

    def feed(self, image_file: Any) -> None:
        """Take a whole image from *image_file*, without an event loop.

        *image_file* has ``read(n)`` or iterates over bytes. One thread a digest
        and up to ``max_concurrency`` storing ones work beside the reading: the
        hashes are 3.7 CPU seconds a GiB and hashlib releases the GIL, so they
        run beside each other and beside the upload.
        """
        with contextlib.ExitStack() as stack:
            pools = [stack.enter_context(ThreadPoolExecutor(1)) for _ in self.lanes]
            width = self.writer.max_concurrency
            storing = stack.enter_context(ThreadPoolExecutor(width))
            window: collections.deque[list[Future[Any]]] = collections.deque()
            for part in _parts(image_file, self.writer.part_size):
                offset = self.take(len(part))
                window.append([p.submit(f, part) for p, f in zip(pools, self.lanes)])
                window[-1].append(storing.submit(self.store, part, offset))
                if len(window) > width:
                    _settle(window.popleft())
            while window:
                _settle(window.popleft())


def _settle(jobs: list[Future[Any]]) -> None:
    """Wait for all of them; raises the error of one.

    The error has this frame in its traceback, and its job has the error: a job that had
    a name here would stay, with its part, until the garbage is collected.
    """
    while jobs:
        jobs.pop(0).result()


def _parts(image_file: Any, part_size: Callable[[int], int]) -> Iterator[memoryview]:
    """Cut what *image_file* gives into parts; a part that came whole is not copied."""
    offset = have = 0
    pieces: list[memoryview] = []
    for chunk in _chunks(image_file):
        view = memoryview(chunk).cast("B")
        while view:
            piece = view[: part_size(offset) - have]
            view = view[len(piece) :]
            pieces.append(piece)
            have += len(piece)
            if have == part_size(offset):
                yield _joined(pieces)
                offset, have, pieces = offset + have, 0, []
    if pieces:
        yield _joined(pieces)


def _joined(pieces: list[memoryview]) -> memoryview:
    whole = pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
    return whole.toreadonly()


def _chunks(image_file: Any) -> Iterator[Buffer]:
    if not hasattr(image_file, "read"):
        yield from image_file
        return
    while chunk := image_file.read(READ_SIZE):
        yield chunk
