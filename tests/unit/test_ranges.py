# SPDX-License-Identifier: Apache-2.0
"""Stretches of bytes against a set of numbers, and layers against a bytearray."""

import itertools
import os
import pathlib

from hypothesis import given, settings
from hypothesis import strategies as st

from storefs.streams.layers import BASE, ENDLESS, Layer, merge, merged_ranges, resolve, runs
from storefs.streams.ranges import Ranges

END = 60
STRETCH = st.tuples(st.integers(0, END), st.integers(0, END))


@settings(deadline=None)
@given(st.lists(st.one_of(STRETCH, st.integers(0, END)), max_size=20), STRETCH)
def test_ranges_are_a_set(steps: list[tuple[int, int] | int], asked: tuple[int, int]) -> None:
    ranges, expected = Ranges(), set[int]()
    for step in steps:
        if isinstance(step, int):
            assert ranges.clip(step) == len({n for n in expected if n >= step})
            expected = {n for n in expected if n < step}
        else:
            new = set(range(*step)) - expected
            assert ranges.add(*step) == len(new)
            expected |= new
        stretches = list(ranges)
        assert {n for s in stretches for n in range(*s)} == expected
        assert all(a[1] < b[0] for a, b in itertools.pairwise(stretches))
        assert ranges.total == len(expected)
    pieces = list(ranges.pieces(*asked))
    assert [n for start, end, _ in pieces for n in range(start, end)] == list(range(*asked))
    for start, end, inside in pieces:
        assert {n in expected for n in range(start, end)} == {inside}
    assert ranges.missing(*asked) == len(set(range(*asked)) - expected)


#: What happens to an image: a write (offset, bytes), a truncation, a new layer.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, END), st.binary(min_size=1, max_size=9)),
        st.integers(0, END),
        st.none(),
    ),
    max_size=25,
)


class _Image:
    """Layers over *base*, and beside them what they must show."""

    def __init__(self, directory: pathlib.Path, base: bytes) -> None:
        self.directory, self.base = directory, base
        self.content = bytearray(base)
        self.layers = [self._new(0)]

    def _new(self, number: int) -> Layer:
        path = self.directory / str(number)
        return Layer(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC))

    def do(self, step: tuple[int, bytes] | int | None) -> None:
        top = self.layers[-1]
        if step is None:
            self.layers.append(self._new(len(self.layers)))
        elif isinstance(step, int):
            if step < len(self.content):
                top.cut(step)
            self.content = self.content[:step].ljust(step, b"\0")
        else:
            offset, data = step
            top.write(memoryview(data), offset)
            top.ranges.add(offset, offset + len(data))
            self.content = self.content.ljust(offset, b"\0")
            self.content[offset : offset + len(data)] = data

    def seen(self, layers: list[Layer]) -> bytes:
        found = b""
        for segment in resolve(layers, len(self.base), 0, len(self.content)):
            length = segment.end - segment.start
            assert segment.start == len(found)
            if isinstance(segment.source, Layer):
                found += segment.source.read(segment.start, length)
            elif segment.source is BASE:
                found += self.base[segment.start : segment.end]
            else:
                found += bytes(length)
        return found

    def close(self) -> None:
        for layer in self.layers:
            layer.close(keep=False)


@settings(deadline=None)
@given(st.binary(max_size=END), STEPS)
def test_layers_are_a_file(
    tmp_path_factory: "object", base: bytes, steps: list[tuple[int, bytes] | int | None]
) -> None:
    directory = tmp_path_factory.mktemp("layers")  # type: ignore[attr-defined]
    image = _Image(directory, base)
    try:
        for step in steps:
            image.do(step)
            assert image.seen(image.layers) == image.content
        spans = list(runs(resolve(image.layers, len(base), 0, len(image.content)), 1))
        outside = set(range(len(image.content))) - {n for s in spans for n in range(*s)}
        assert all(image.content[n] == 0 for n in outside)
        while len(image.layers) > 1:
            lower, upper = image.layers[-2:]
            merge(lower, upper, size=4)
            assert image.seen(image.layers) == image.content  # as after a crash there
            lower.ranges, lower.visible = merged_ranges(lower, upper)
            image.layers.pop().close(keep=False)
            assert image.seen(image.layers) == image.content
    finally:
        image.close()
    assert os.listdir(directory) == []
    assert image.layers[0].visible <= ENDLESS
