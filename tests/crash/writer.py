# SPDX-License-Identifier: Apache-2.0
"""A program that writes images until the mount is gone, and notes what it is promised.

``python -m tests.crash.writer DIRECTORY LEDGER PREFIX SEED [spool] [power]``

Its names begin with PREFIX, so that no other writer touches them. It ends with
0 when the mount has died under it (*power*: or the disk under that), with a
traceback when anything else fails.
"""

import errno
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

from tests.crash.ledger import BEGUN, MOVING, PROMISED, Content, Ledger, sha256

#: What the kernel says of a mount whose process is gone.
GONE = {errno.ENOTCONN, errno.ECONNABORTED, errno.ENODEV}

#: What storefs says of a disk that is gone.
NO_DISK = {errno.EIO, errno.EROFS}

#: Around a page, and one or several parts of each store.
LENGTHS = [1, 4096, 65537, 300_000, 1 << 20, (5 << 20) + 1, 11 << 20]
WEIGHTS = [4, 4, 4, 4, 3, 2, 1]


class Writer:
    """*images* is what this writer knows to be there."""

    def __init__(self, ledger: Ledger, prefix: str, rng: random.Random, spool: bool) -> None:
        self.ledger = ledger
        self.names = [f"{prefix}-{letter}" for letter in "abcd"]
        self.rng = rng
        self.images = {
            name: Path(name).read_bytes() for name in os.listdir() if name.startswith(prefix)
        }
        self.steps: list[Callable[[str], None]] = [
            *(self.stream, self.stream, self.rsync, self.rsync),
            *(self.synchronize, self.append, self.remove, self.rename),
        ]
        if spool:
            self.steps += [self.rewrite, self.rewrite, self.resize, self.convert]

    def step(self) -> None:
        self.rng.choice(self.steps)(self.rng.choice(self.names))

    def _data(self) -> bytes:
        return self.rng.randbytes(self.rng.choices(LENGTHS, WEIGHTS)[0])

    def _begin(self, call: str, name: str, data: bytes) -> None:
        self.ledger.note(BEGUN, call, {name: sha256(data)})

    def _promised(self, call: str, name: str, data: bytes) -> None:
        self.images[name] = data
        self.ledger.note(PROMISED, call, {name: sha256(data)})

    # -- streams ------------------------------------------------------------------

    def stream(self, name: str) -> None:
        """As cp writes."""
        data = self._data()
        self._begin("close", name, data)
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._write(descriptor, data)
        os.close(descriptor)
        self._promised("close", name, data)

    def synchronize(self, name: str) -> None:
        """fsync in the middle promises the first half."""
        first, data = self._data(), self._data()
        self._begin("fsync", name, first)
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._write(descriptor, first)
        os.fsync(descriptor)
        self._promised("fsync", name, first)
        self._begin("close", name, first + data)
        self._write(descriptor, data)
        os.close(descriptor)
        self._promised("close", name, first + data)

    def append(self, name: str) -> None:
        """As a log grows."""
        data = self._data()
        whole = self.images.get(name, b"") + data
        self._begin("close", name, whole)
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._write(descriptor, data)
        os.close(descriptor)
        self._promised("close", name, whole)

    def rsync(self, name: str) -> None:
        """Under a temporary name that nobody may ever see after a crash."""
        data = self._data()
        self._begin("rename", name, data)
        temporary = f".{name}.{self.rng.randrange(10**6):06}"
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._write(descriptor, data)
        os.close(descriptor)
        os.utime(temporary, ns=(0, 10**18 + 5))
        os.rename(temporary, name)
        self._promised("rename", name, data)

    # -- names --------------------------------------------------------------------

    def remove(self, name: str) -> None:
        if name in self.images:
            self.ledger.note(BEGUN, "unlink", {name: None})
            os.unlink(name)
            del self.images[name]
            self.ledger.note(PROMISED, "unlink", {name: None})

    def rename(self, name: str) -> None:
        target = self.rng.choice(self.names)
        if name in self.images and name != target:
            moved: dict[str, Content] = {name: None, target: sha256(self.images[name])}
            self.ledger.note(MOVING, "rename", moved)
            os.rename(name, target)
            self.images[target] = self.images.pop(name)
            self.ledger.note(PROMISED, "rename", moved)

    # -- random writes ------------------------------------------------------------

    def rewrite(self, name: str) -> None:
        """Some bytes here and there in what is there; fsync or not, and close."""
        data = bytearray(self.images.get(name, b""))
        changes = [(self.rng.randrange(len(data) + 70_000), self._data()[:300_000])]
        changes += [(self.rng.randrange(len(data) + 1), b"changed") for _ in range(5)]
        for offset, piece in changes:
            data[len(data) :] = bytes(max(0, offset - len(data)))
            data[offset : offset + len(piece)] = piece
        self._begin("close", name, bytes(data))
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT)
        for offset, piece in changes:
            os.pwrite(descriptor, piece, offset)
        if self.rng.random() < 0.3:
            os.fsync(descriptor)
            self._promised("fsync", name, bytes(data))
        os.close(descriptor)
        self._promised("close", name, bytes(data))

    def resize(self, name: str) -> None:
        """ftruncate, up or down."""
        if name not in self.images:
            return
        old = self.images[name]
        size = self.rng.randrange(2 * len(old) + 2)
        data = old[:size] + bytes(size - len(old[:size]))
        self._begin("close", name, data)
        descriptor = os.open(name, os.O_RDWR)
        os.ftruncate(descriptor, size)
        os.close(descriptor)
        self._promised("close", name, data)

    def convert(self, name: str) -> None:
        """As qemu-img: room is made, closed, and filled by a second descriptor."""
        size = self.rng.choice(LENGTHS)
        data = bytearray(size)
        self._begin("close", name, bytes(data))
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.ftruncate(descriptor, size)
        os.pwrite(descriptor, bytes(min(size, 4096)), 0)
        os.close(descriptor)
        self._promised("close", name, bytes(data))
        pieces = [(self.rng.randrange(size), self.rng.randbytes(5000)) for _ in range(4)]
        for offset, piece in sorted(pieces):
            data[offset : offset + len(piece)] = piece[: size - offset]
        self._begin("close", name, bytes(data))
        descriptor = os.open(name, os.O_RDWR)
        for offset, piece in sorted(pieces):
            os.pwrite(descriptor, piece[: size - offset], offset)
        os.close(descriptor)
        self._promised("close", name, bytes(data))

    def _write(self, descriptor: int, data: bytes) -> None:
        chunk = self.rng.choice([65536, 256 << 10, 1 << 20])
        for offset in range(0, len(data), chunk):
            piece = data[offset : offset + chunk]
            while piece:  # a mount that dies takes a part of it
                piece = piece[os.write(descriptor, piece) :]


def main() -> None:
    directory, ledger, prefix, seed, *flags = sys.argv[1:]
    os.chdir(directory)  # a name below it leads to the mount or nowhere, also when it is gone
    print("ready", flush=True)
    try:
        writer = Writer(Ledger(Path(ledger)), prefix, random.Random(seed), "spool" in flags)
        while True:
            writer.step()
    except OSError as exc:
        dead = exc.errno in (GONE | NO_DISK if "power" in flags else GONE)
        if not dead and not (exc.errno == errno.EIO and _is_gone()):
            raise


def _is_gone() -> bool:
    """Has the mount died? The request it was just reading then has failed with EIO.

    That is the kernel's (fuse_dev_do_read in fs/fuse/dev.c): who is killed cannot be copied to.
    """
    try:
        os.listdir()
    except OSError as exc:
        return exc.errno in GONE
    return False


if __name__ == "__main__":
    main()
