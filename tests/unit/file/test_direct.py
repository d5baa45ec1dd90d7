# SPDX-License-Identifier: Apache-2.0
"""Writing past the page cache, and what is left to the way through it."""

import os
import pathlib

import pytest

from storefs.drivers.file.direct import DirectFile
from storefs.drivers.file.writer import PART_SIZE

DATA = memoryview(os.urandom(PART_SIZE))


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "image").touch()
    return tmp_path / "image"


def test_aligned_parts_arrive(path: pathlib.Path):
    direct = DirectFile(str(path), "image", PART_SIZE)
    written = direct.write(DATA, PART_SIZE)
    direct.close()
    if not written:
        pytest.skip("the file system of the tests' directory has no O_DIRECT")
    assert written == PART_SIZE
    assert path.read_bytes() == bytes(PART_SIZE) + DATA


@pytest.mark.parametrize(
    ("length", "offset"), [(PART_SIZE - 1, 0), (PART_SIZE, 1), (0, 0), (512, 512)]
)
def test_the_rest_is_left_alone(path: pathlib.Path, length: int, offset: int):
    direct = DirectFile(str(path), "image", PART_SIZE)
    assert direct.write(DATA[:length], offset) == 0
    direct.close()
    assert path.read_bytes() == b""


def test_what_cannot_be_opened_so_is_no_error(tmp_path: pathlib.Path):
    """A file system without O_DIRECT refuses the open; a directory does so everywhere."""
    direct = DirectFile(str(tmp_path), "image", PART_SIZE)
    assert direct.write(DATA, 0) == 0
    direct.close()


def test_longer_parts_than_announced_are_left_alone(path: pathlib.Path):
    direct = DirectFile(str(path), "image", PART_SIZE // 2)
    assert direct.write(DATA, 0) == 0
    direct.close()
