# SPDX-License-Identifier: Apache-2.0
"""Any sequence of file operations on a mounted store against a dict of bytes."""

import contextlib
import dataclasses
import os
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

NAMES = st.sampled_from(["a", "b", "c", ".hidden", "with blank"])

#: Lengths around the part of a memory store (1 MiB), a page, and nothing.
LENGTHS = st.sampled_from([0, 1, 4095, 4096, 4097, 100_000, 2**20 - 1, 2**20, 2**20 + 1, 2_500_000])

SEEDS = st.integers(0, 250)

#: Whole seconds and not; before 1970 no image is from.
TIMES = st.integers(0, 2**33 * 10**9)


def content(length: int, seed: int) -> bytes:
    """Bytes in which no two places look alike, quickly."""
    block = bytes((seed + n * 7 + n // 251) % 256 for n in range(4099))
    return (block * (length // len(block) + 1))[:length]


@dataclasses.dataclass
class Reader:
    """An open descriptor, the name of what it has open (None: none any more), its bytes."""

    descriptor: int
    name: str | None
    data: bytes


class MountMachine(RuleBasedStateMachine):
    """*images* is what must be there; *readers* are descriptors with what they must see."""

    directory: Path

    def __init__(self) -> None:
        super().__init__()
        self.images: dict[str, bytes] = {}
        self.times: dict[str, int] = {}
        self.readers: list[Reader] = []

    @initialize()
    def empty(self) -> None:
        for name in os.listdir(self.directory):
            os.unlink(self.directory / name)

    def teardown(self) -> None:
        for reader in self.readers:
            os.close(reader.descriptor)

    # -- writing ----------------------------------------------------------------

    @rule(name=NAMES, length=LENGTHS, seed=SEEDS, chunk=st.sampled_from([1000, 65536, 2**20]))
    def write(self, name: str, length: int, seed: int, chunk: int) -> None:
        data = content(length, seed)
        if length > 100 * chunk:
            chunk = 65536
        with open(self.directory / name, "wb", buffering=0) as file:
            file.writelines(data[offset : offset + chunk] for offset in range(0, length, chunk))
        self._is(name, data)

    @rule(name=NAMES, length=LENGTHS, seed=SEEDS)
    def append(self, name: str, length: int, seed: int) -> None:
        data = content(length, seed)
        with open(self.directory / name, "ab") as file:
            file.write(data)
        if name not in self.images:
            self._is(name, data)
        elif data:
            self._written(name, self.images[name] + data)

    @rule(name=NAMES, gap=LENGTHS, length=LENGTHS, seed=SEEDS)
    def write_sparse(self, name: str, gap: int, length: int, seed: int) -> None:
        data = content(length, seed)
        with open(self.directory / name, "wb", buffering=0) as file:
            file.seek(gap)
            file.write(data)
        self._is(name, bytes(gap) + data if data else b"")

    @rule(name=NAMES, length=LENGTHS)
    def make_room(self, name: str, length: int) -> None:
        with open(self.directory / name, "wb", buffering=0) as file:
            file.truncate(length)
        self._is(name, bytes(length))

    @rule(name=NAMES, length=LENGTHS, seed=SEEDS, first=LENGTHS)
    def write_with_fsync(self, name: str, length: int, seed: int, first: int) -> None:
        data = content(length, seed)
        with open(self.directory / name, "wb", buffering=0) as file:
            file.write(data[:first])
            os.fsync(file.fileno())
            file.write(data[first:])
        self._is(name, data)

    @rule(name=NAMES, length=LENGTHS, seed=SEEDS, rename=st.booleans())
    def write_as_rsync_does(self, name: str, length: int, seed: int, rename: bool) -> None:
        data = content(length, seed)
        temporary = self.directory / f".{name}.Ab3dEf"
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb", buffering=0) as file:
            file.writelines(data[offset : offset + 2**18] for offset in range(0, length, 2**18))
        os.utime(temporary, ns=(0, 10**18))
        if rename:
            os.rename(temporary, self.directory / name)
            self._is(name, data, 10**18)
        else:
            os.unlink(temporary)

    @rule(name=NAMES, offset=LENGTHS, length=LENGTHS, seed=SEEDS, sync=st.booleans())
    def write_into(self, name: str, offset: int, length: int, seed: int, sync: bool) -> None:
        with self._unless_missing(name), open(self.directory / name, "r+b", buffering=0) as file:
            data, old = content(length, seed), self.images[name]
            assert os.pwrite(file.fileno(), data, offset) == length
            if data:
                new = old.ljust(offset, b"\0")
                self._written(name, new[:offset] + data + new[offset + length :])
            assert os.pread(file.fileno(), 10_000_000, 0) == self.images[name]
            if sync:
                os.fsync(file.fileno())

    @rule(name=NAMES, lengths=st.lists(st.tuples(LENGTHS, LENGTHS), max_size=4), seed=SEEDS)
    def write_anywhere(self, name: str, lengths: list[tuple[int, int]], seed: int) -> None:
        """A new image, or one in the place of another, in any order."""
        new = b""
        with open(self.directory / name, "w+b", buffering=0) as file:
            for number, (offset, length) in enumerate(lengths):
                data = content(length, seed + number)
                os.pwrite(file.fileno(), data, offset)
                if data:
                    new = new.ljust(offset, b"\0")
                    new = new[:offset] + data + new[offset + length :]
        self._is(name, new)

    @rule(name=NAMES, offset=LENGTHS, length=LENGTHS, seed=SEEDS, cut=st.booleans())
    def write_long_and_go_back(
        self, name: str, offset: int, length: int, seed: int, cut: bool
    ) -> None:
        """More than a stream keeps in memory, through a descriptor that cannot read."""
        new, data = content(5 * 2**20 + length, seed), content(length, seed + 1)
        with open(self.directory / name, "wb", buffering=0) as file:
            file.write(new)
            os.pwrite(file.fileno(), data, offset)
            if data:
                new = new[:offset] + data + new[offset + length :]
            if cut:
                file.truncate(offset)
                new = new[:offset]
        self._is(name, new)

    @rule(name=NAMES, size=LENGTHS, path=st.booleans())
    def truncate(self, name: str, size: int, path: bool) -> None:
        with self._unless_missing(name):
            if path:
                os.truncate(self.directory / name, size)
            else:
                with open(self.directory / name, "r+b") as file:
                    file.truncate(size)
            if size != len(self.images[name]):
                self._written(name, self.images[name][:size].ljust(size, b"\0"))

    @rule()
    def store_it_all(self) -> None:
        """So that what comes next meets published images."""
        for name in self.images:
            with open(self.directory / name, "r+b") as file:
                os.fsync(file.fileno())

    @rule(name=NAMES)
    def empty_by_truncate(self, name: str) -> None:
        with self._unless_missing(name):
            os.truncate(self.directory / name, 0)
            if self.images[name]:
                self._written(name, b"")

    def _written(self, name: str, data: bytes) -> None:
        """Written where it is: who reads it through an old descriptor sees that too."""
        self._has(name, data)
        for reader in self.readers:
            if reader.name == name:
                reader.data = data

    def _is(self, name: str, data: bytes, time: int | None = None) -> None:
        """A new version: who has the old one open keeps it."""
        self._leave(name)
        self._has(name, data, time)

    def _leave(self, name: str, new_name: str | None = None) -> None:
        for reader in self.readers:
            if reader.name == name:
                reader.name = new_name

    def _has(self, name: str, data: bytes, time: int | None = None) -> None:
        self.images[name] = data
        self.times.pop(name, None)
        if time is not None:
            self.times[name] = time

    # -- names -----------------------------------------------------------------------

    @rule(name=NAMES)
    def unlink(self, name: str) -> None:
        with self._unless_missing(name):
            os.unlink(self.directory / name)
            self._leave(name)
            del self.images[name]
            self.times.pop(name, None)

    @rule(name=NAMES, new_name=NAMES)
    def rename(self, name: str, new_name: str) -> None:
        with self._unless_missing(name):
            os.rename(self.directory / name, self.directory / new_name)
            if name != new_name:
                self._leave(new_name)
                self._leave(name, new_name)
            self.images[new_name] = self.images.pop(name)
            time = self.times.pop(name, None)
            self.times.pop(new_name, None)
            if time is not None:
                self.times[new_name] = time

    @rule(name=NAMES)
    def create_exclusively(self, name: str) -> None:
        try:
            os.close(os.open(self.directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            assert name in self.images
        else:
            assert name not in self.images
            self._is(name, b"")

    @contextlib.contextmanager
    def _unless_missing(self, name: str):  # type: ignore[no-untyped-def]
        try:
            yield
        except FileNotFoundError:
            assert name not in self.images

    # -- attributes ---------------------------------------------------------------------

    @rule(name=NAMES, time=TIMES)
    def touch(self, name: str, time: int) -> None:
        path = self.directory / name
        if name not in self.images:
            path.touch()
            self._is(name, b"")
        os.utime(path, ns=(time, time))
        self.times[name] = time

    @rule(name=NAMES)
    def stat(self, name: str) -> None:
        try:
            status = os.stat(self.directory / name)
        except FileNotFoundError:
            assert name not in self.images
            return
        assert status.st_size == len(self.images[name])
        if name in self.times:
            assert status.st_mtime_ns == self.times[name]

    # -- reading -------------------------------------------------------------------------

    @rule(name=NAMES, offset=LENGTHS, length=LENGTHS)
    def read_slice(self, name: str, offset: int, length: int) -> None:
        with self._unless_missing(name), open(self.directory / name, "rb", buffering=0) as file:
            data = os.pread(file.fileno(), length, offset)
            assert data == self.images[name][offset : offset + length]

    @rule(name=NAMES)
    def read_whole(self, name: str) -> None:
        with self._unless_missing(name):
            assert (self.directory / name).read_bytes() == self.images[name]

    @precondition(lambda self: len(self.readers) < 4)
    @rule(name=NAMES)
    def open_to_read(self, name: str) -> None:
        with self._unless_missing(name):
            descriptor = os.open(self.directory / name, os.O_RDONLY)
            self.readers.append(Reader(descriptor, name, self.images[name]))

    @precondition(lambda self: self.readers)
    @rule(index=st.integers(0, 3), offset=LENGTHS, length=LENGTHS)
    def read_what_was_opened(self, index: int, offset: int, length: int) -> None:
        reader = self.readers[index % len(self.readers)]
        data = reader.data
        assert os.pread(reader.descriptor, length, offset) == data[offset : offset + length]

    @precondition(lambda self: self.readers)
    @rule(index=st.integers(0, 3))
    def close_reader(self, index: int) -> None:
        reader = self.readers.pop(index % len(self.readers))
        data = reader.data
        assert os.pread(reader.descriptor, len(data) + 1, 0) == data
        os.close(reader.descriptor)

    @rule(name=NAMES)
    def look_for_what_is_not_there(self, name: str) -> None:
        assert not (self.directory / f"no {name}").exists()

    @invariant()
    def listing(self) -> None:
        assert sorted(os.listdir(self.directory)) == sorted(self.images)


def test_a_mounted_store_is_a_dict_of_bytes(store: Path) -> None:
    class Machine(MountMachine):
        directory = store

    run_state_machine_as_test(
        Machine,
        settings=settings(
            deadline=None,
            max_examples=100,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        ),
    )
