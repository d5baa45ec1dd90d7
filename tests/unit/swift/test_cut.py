# SPDX-License-Identifier: Apache-2.0
"""How images are cut: never more than 1,000 segments, none longer than Swift holds."""

import pytest

from storefs import exceptions
from storefs.drivers.swift.cut import MAX_SEGMENT, MAX_SEGMENTS, USUAL, Cut, MiB
from storefs.drivers.swift.options import MB

GiB = 1024 * MiB


def _segments(cut: Cut, size: int) -> list[int]:
    lengths, offset = [], 0
    while offset < size:
        part = min(cut.part_size(offset), size - offset)
        step = cut.segment if offset == 0 else part
        lengths += [min(step, part - start) for start in range(0, part, step)]
        offset += part
    return lengths


def test_the_defaults_keep_memory_small() -> None:
    cut = Cut.of(200 * MB, 5120 * MB, None)
    assert cut.part_size(0) == cut.segment == USUAL
    assert max(_segments(cut, 60 * GiB)) <= 200 * MB


@pytest.mark.parametrize("chunk", [1, 5, 200, 5000])
@pytest.mark.parametrize("threshold", [1, 5, 5120])
def test_an_image_of_unknown_size_has_a_thousand_segments_at_most(
    chunk: int, threshold: int
) -> None:
    cut = Cut.of(chunk * MB, threshold * MB, None)
    lengths = _segments(cut, 400 * GiB)
    assert len(lengths) <= MAX_SEGMENTS
    assert max(lengths) <= MAX_SEGMENT
    assert lengths[0] <= chunk * MB


@pytest.mark.parametrize("size", [1, 16 * MiB, 5 * GiB + 1, 300 * GiB, 4000 * GiB])
def test_an_image_of_known_size_has_a_thousand_segments_at_most(size: int) -> None:
    lengths = _segments(Cut.of(200 * MB, 5120 * MB, size), size)
    assert sum(lengths) == size
    assert len(lengths) <= MAX_SEGMENTS
    assert max(lengths) <= MAX_SEGMENT


def test_segments_of_a_first_part_are_no_longer_than_told() -> None:
    cut = Cut.of(1 * MB, 5 * MB, None)
    assert (cut.part_size(0), cut.segment, cut.part_size(5 * MB)) == (5 * MB, MB, MB)


def test_what_no_manifest_can_hold_is_too_large() -> None:
    cut = Cut.of(MB, MB, None)
    with pytest.raises(exceptions.ImageTooLarge):
        cut.part_size(5000 * GiB)
