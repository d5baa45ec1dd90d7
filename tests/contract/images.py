# SPDX-License-Identifier: Apache-2.0
"""Bytes to test with, and the few steps every test takes."""

import contextlib
import hashlib
import io
from typing import Any

from storefs.drivers.base import Driver, Writer
from storefs.upload import Upload, UploadResult

#: Lengths around which parts go wrong: (parts, bytes more or less).
SIZES = [(0, 0), (0, 1), (1, -1), (1, 0), (1, 1), (2, 7)]


def pattern(length: int, seed: int = 0) -> bytes:
    """Bytes no two parts of which are alike, so that a swapped part shows."""
    blocks = range(length // 32 + 1)
    joined = b"".join(hashlib.sha256(f"{seed}:{n}".encode()).digest() for n in blocks)
    return joined[:length]


def read(driver: Driver[Any], image_id: str) -> bytes:
    """The whole image, as `stat` and `open` give it."""
    location = driver.locate(image_id)
    with contextlib.closing(driver.open(location)) as reader:
        size = reader.info.size
        data = bytes(reader.pread(1 << 30 if size is None else size + 1, 0))
    assert driver.stat(location).size in {len(data), None}
    return data


def add(
    driver: Any, image_id: str, data: bytes, *, size: int | None = None, replace: bool = False
) -> UploadResult:
    """As a store adds an image: through an `Upload`, aborted when it fails."""
    writer = driver.create(driver.locate(image_id), size, replace=replace)
    upload = Upload(writer, size)
    try:
        upload.feed(io.BytesIO(data))
        result, _ = upload.finish()
    except BaseException:
        upload.abort()
        raise
    return result


def parts_of(writer: Writer, data: bytes) -> list[tuple[memoryview, int]]:
    """*data* cut as the writer wants it, with offsets."""
    cut, offset = [], 0
    while offset < len(data):
        length = writer.part_size(offset)
        cut.append((memoryview(data)[offset : offset + length], offset))
        offset += length
    return cut


def write(writer: Writer, data: bytes) -> None:
    """Store every part, in order."""
    for part, offset in parts_of(writer, data):
        writer.pwrite(part, offset)


def listed(driver: Any) -> dict[str, int | None]:
    """What a listing shows: name -> size; a name twice is an error."""
    infos = [(info.image_id, info.size) for info in driver.list()]
    assert len(dict(infos)) == len(infos)
    return dict(infos)
