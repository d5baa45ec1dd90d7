# SPDX-License-Identifier: Apache-2.0

import contextlib
import gc
import hashlib
import io
import threading
import weakref
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storefs import exceptions
from storefs.drivers.base import Writer
from storefs.upload import Upload, new_digest


class Recorder(Writer):
    """Keeps the parts; *sizes* are the part sizes, the last one repeated."""

    def __init__(self, sizes: tuple[int, ...] = (4,), width: int = 1) -> None:
        self.max_concurrency = width
        self.parts: dict[int, bytes] = {}
        self.events: list[str] = []
        self.staged: dict[str, str] = {}
        self._sizes = sizes

    def part_size(self, offset: int) -> int:
        at = index = 0
        while at < offset:
            at += self._sizes[min(index, len(self._sizes) - 1)]
            index += 1
        return self._sizes[min(index, len(self._sizes) - 1)]

    def pwrite(self, data: memoryview, offset: int) -> None:
        assert data.readonly
        self.parts[offset] = bytes(data)

    def stage(self, properties: dict[str, str]) -> bool:
        self.events.append("stage")
        self.staged = dict(properties)
        return True

    def commit(self, size: int) -> None:
        self.events.append(f"commit {size}")

    def abort(self) -> None:
        self.events.append("abort")

    @property
    def data(self) -> bytes:
        return b"".join(self.parts[offset] for offset in sorted(self.parts))


@given(
    chunks=st.lists(st.binary(max_size=23)),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple),
    width=st.integers(1, 3),
)
def test_any_stream_arrives_in_parts_and_hashed(
    chunks: list[bytes], sizes: tuple[int, ...], width: int
) -> None:
    writer, whole = Recorder(sizes, width), b"".join(chunks)
    upload = Upload(writer, algorithm="sha256")
    upload.feed(iter(chunks))
    result, staged = upload.finish()
    assert writer.data == whole
    offsets = sorted(writer.parts)
    assert all(len(writer.parts[at]) == writer.part_size(at) for at in offsets[:-1])
    assert result == (
        len(whole),
        hashlib.md5(whole).hexdigest(),
        hashlib.sha256(whole).hexdigest(),
        "sha256",
    )
    assert staged


class _Part:
    """Stands in for what a part occupies."""


@pytest.mark.parametrize("where", ["storing", "hashing"])
def test_what_fails_is_freed_without_the_garbage_collector(where: str) -> None:
    parts: list[weakref.ref[_Part]] = []

    def fail(*_args: object) -> None:
        part = _Part()
        parts.append(weakref.ref(part))
        raise exceptions.StorageFull

    upload = Upload(Recorder((4,), 2))
    if where == "storing":
        upload.store = fail  # type: ignore[method-assign]
    else:
        upload.lanes.append(fail)
    gc.disable()
    try:
        with contextlib.suppress(exceptions.StorageFull):
            upload.feed(iter([b"bytes of two parts"]))
        assert parts
        assert not any(part() for part in parts)
    finally:
        gc.enable()


def test_a_file_is_read() -> None:
    writer = Recorder((1024,))
    data = bytes(range(256)) * 9
    upload = Upload(writer)
    upload.feed(io.BytesIO(data))
    assert (writer.data, upload.result().multihash) == (data, hashlib.sha512(data).hexdigest())


def test_md5_may_be_the_multihash_as_well() -> None:
    upload = Upload(Recorder(), algorithm="md5")
    upload.feed([b"abc"])
    assert upload.result().checksum == upload.result().multihash
    assert len(upload.lanes) == 1


def test_the_verifier_sees_every_byte_in_order() -> None:
    seen = bytearray()

    class Verifier:
        def update(self, data: memoryview) -> None:
            seen.extend(data)

    upload = Upload(Recorder((3,), 4), verifier=Verifier())
    upload.feed([b"abcde", b"fghij"])
    assert bytes(seen) == b"abcdefghij"


def test_too_many_bytes_are_noticed_before_they_are_stored() -> None:
    writer = Recorder((4,))
    with pytest.raises(exceptions.Invalid, match="expected 6 bytes, got 8 bytes"):
        Upload(writer, 6).feed([b"abcdefgh"])
    assert writer.parts.get(4) is None


def test_too_few_bytes_are_never_published() -> None:
    writer = Recorder()
    upload = Upload(writer, 6)
    upload.feed([b"abc"])
    with pytest.raises(exceptions.Invalid, match="expected 6 bytes, got 3 bytes"):
        upload.finish()
    assert writer.events == []


def test_properties_are_staged_before_the_commit() -> None:
    writer = Recorder()
    upload = Upload(writer, 0)
    upload.finish({"mtime_ns": "5"})
    assert writer.events == ["stage", "commit 0"]
    assert writer.staged == {
        "md5": hashlib.md5(b"").hexdigest(),
        "os_hash_algo": "sha512",
        "os_hash_value": hashlib.sha512(b"").hexdigest(),
        "mtime_ns": "5",
    }


def test_a_part_that_fails_ends_the_reading() -> None:
    class Full(Recorder):
        def pwrite(self, data: memoryview, offset: int) -> None:
            raise exceptions.StorageFull

    taken = []

    def source() -> Iterator[bytes]:
        for number in range(100):
            taken.append(number)
            yield b"abcd"

    with pytest.raises(exceptions.StorageFull):
        Upload(Full()).feed(source())
    assert len(taken) < 5


def test_parts_are_stored_side_by_side() -> None:
    together = threading.Barrier(3, timeout=10)

    class Wide(Recorder):
        def pwrite(self, data: memoryview, offset: int) -> None:
            together.wait()
            super().pwrite(data, offset)

    writer = Wide((1,), 3)
    Upload(writer).feed([b"abc"])
    assert writer.data == b"abc"


@pytest.mark.parametrize("name", ["shake_128", "shake_256", "nonsense", ""])
def test_unknown_algorithms(name: str) -> None:
    with pytest.raises(exceptions.UnknownHashingAlgo):
        new_digest(name)


def test_abort_goes_to_the_writer() -> None:
    writer = Recorder()
    Upload(writer).abort()
    assert writer.events == ["abort"]
