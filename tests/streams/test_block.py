# SPDX-License-Identifier: Apache-2.0
"""A block in pieces reads as if it were one."""

import pytest

from storefs.streams.block import Block

DATA = bytes(range(10))
LAYOUTS = [[], [10], [3, 7], [1, 2, 3, 4], [5, 0, 5], [0, 10, 0]]


def made_of(lengths: list[int]) -> Block:
    """`DATA` in pieces of such lengths."""
    ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    return Block([DATA[end - length : end] for length, end in zip(lengths, ends)])


@pytest.mark.parametrize("lengths", LAYOUTS)
def test_every_cut_is_a_slice(lengths: list[int]) -> None:
    block = made_of(lengths)
    data = DATA[: sum(lengths)]
    assert len(block) == len(data)
    for offset in range(12):
        for length in range(12):
            assert bytes(block.cut(offset, length)) == data[offset : offset + length]


def test_within_a_piece_nothing_is_copied() -> None:
    pieces = [b"first", b"second"]
    cut = Block(pieces).cut(6, 4)
    assert isinstance(cut, memoryview)
    assert cut.obj is pieces[1]


def test_a_cut_keeps_its_own_piece_alone() -> None:
    """A block is dropped when all of it was answered, but the kernel may not have it yet."""
    pieces = [bytearray(5), bytearray(5)]
    cut = Block(pieces).cut(0, 5)
    pieces[1].append(0)  # BufferError while somebody looks at it
    assert len(cut) == 5
