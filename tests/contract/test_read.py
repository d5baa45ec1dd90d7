# SPDX-License-Identifier: Apache-2.0
"""Reading: every byte of one version, at any offset, by many at once."""

import contextlib
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storefs import exceptions
from tests.contract.harness import Harness
from tests.contract.images import SIZES, pattern, read

_SIZE = 3000


def test_a_missing_image_is_not_found(harness: Harness) -> None:
    location = harness.driver.locate("nowhere")
    with pytest.raises(exceptions.NotFound):
        harness.driver.stat(location)
    with pytest.raises(exceptions.NotFound):
        harness.driver.open(location)


def test_an_image_another_program_removed_is_not_found(harness: Harness) -> None:
    harness.seed("gone", b"bytes")
    location = harness.driver.locate("gone")
    assert harness.driver.stat(location).size in {5, None}
    harness.remove("gone")
    with pytest.raises(exceptions.NotFound):
        harness.driver.stat(location)
    with pytest.raises(exceptions.NotFound):
        harness.driver.open(location)


@pytest.mark.parametrize(("parts", "extra"), SIZES)
def test_a_seeded_image_reads_back(harness: Harness, parts: int, extra: int) -> None:
    data = pattern(parts * harness.part + extra)
    harness.seed("seeded", data)
    assert read(harness.driver, "seeded") == data


def test_an_empty_image_reads_as_nothing(harness: Harness) -> None:
    harness.seed("empty", b"")
    with contextlib.closing(harness.driver.open(harness.driver.locate("empty"))) as reader:
        assert bytes(reader.pread(1, 0)) == b""
        assert bytes(reader.pread(10, 10)) == b""


def test_stat_and_open_agree(harness: Harness) -> None:
    harness.seed("image", pattern(_SIZE))
    location = harness.driver.locate("image")
    info = harness.driver.stat(location)
    with contextlib.closing(harness.driver.open(location)) as reader:
        assert reader.info == info
    assert info.image_id == "image"
    assert info.size == _SIZE


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(length=st.integers(1, 2 * _SIZE), offset=st.integers(0, 2 * _SIZE))
def test_any_length_and_offset_is_a_slice(harness: Harness, length: int, offset: int) -> None:
    data = pattern(_SIZE)
    location = harness.driver.locate("sliced")
    try:
        reader = harness.driver.open(location)
    except exceptions.NotFound:
        harness.seed("sliced", data)
        reader = harness.driver.open(location)
    with contextlib.closing(reader):
        assert bytes(reader.pread(length, offset)) == data[offset : offset + length]
        assert b"".join(reader.preadv(length, offset)) == data[offset : offset + length]


def test_past_the_end_is_nothing(harness: Harness) -> None:
    harness.seed("image", pattern(_SIZE))
    with contextlib.closing(harness.driver.open(harness.driver.locate("image"))) as reader:
        assert bytes(reader.pread(1, _SIZE)) == b""
        assert bytes(reader.pread(100, _SIZE + 10**12)) == b""
        assert bytes(reader.pread(100, _SIZE - 1)) == pattern(_SIZE)[-1:]


def test_eight_threads_read_at_once(harness: Harness) -> None:
    data = pattern(4 * harness.part)
    harness.seed("shared", data)
    with contextlib.closing(harness.driver.open(harness.driver.locate("shared"))) as reader:

        def check(seed: int) -> int:
            chance = random.Random(seed)
            for _ in range(25):
                offset, length = chance.randrange(len(data)), chance.randrange(1, harness.part)
                assert bytes(reader.pread(length, offset)) == data[offset : offset + length]
            return seed

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(check, range(8))) == list(range(8))


def test_a_reader_may_be_closed_twice(harness: Harness) -> None:
    harness.seed("image", b"bytes")
    reader = harness.driver.open(harness.driver.locate("image"))
    assert bytes(reader.pread(5, 0)) == b"bytes"
    reader.close()
    reader.close()


def test_a_version_replaced_under_a_reader_is_kept_or_refused(harness: Harness) -> None:
    old, new = pattern(4 * harness.part, 1), pattern(4 * harness.part, 2)
    harness.seed("image", old)
    with contextlib.closing(harness.driver.open(harness.driver.locate("image"))) as reader:
        half = len(old) // 2
        assert bytes(reader.pread(half, 0)) == old[:half]
        harness.replace("image", new)
        for offset in range(0, len(old), 1000):
            try:
                data = bytes(reader.pread(1000, offset))
            except exceptions.ImageChanged:
                continue
            assert data == old[offset : offset + 1000]
    assert read(harness.driver, "image") == new


def test_another_version_has_another_version_string(harness: Harness) -> None:
    harness.seed("image", pattern(_SIZE, 1))
    location = harness.driver.locate("image")
    before = harness.driver.stat(location)
    assert harness.driver.stat(location).version == before.version
    harness.replace("image", pattern(_SIZE, 2))
    assert harness.driver.stat(location).version != before.version
