# SPDX-License-Identifier: Apache-2.0
"""What an HTTP server gives to a program without a mount and without hashes."""

from concurrent.futures import ThreadPoolExecutor

import urllib3

from tests.bench.comparison import PIECE, Figures, MiB, timed

#: What is asked for at once where an image is read as a whole, bytes.
BLOCK = 8 * MiB

#: storefs' default for pieces of one image under way.
LANES = 3


def get(pool: urllib3.PoolManager, url: str, offset: int, length: int) -> int:
    """Ask for a range; how many bytes came."""
    headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
    return len(pool.request("GET", url, headers=headers).data)


def read(pool: urllib3.PoolManager, url: str, size: int) -> Figures:
    """All *size* bytes, in blocks, on as many connections as storefs uses."""

    def blocks() -> None:
        with ThreadPoolExecutor(LANES) as lanes:
            lengths = lanes.map(lambda offset: get(pool, url, offset, BLOCK), range(0, size, BLOCK))
            assert sum(lengths) == size

    return timed(blocks)


def touch(pool: urllib3.PoolManager, url: str, offsets: list[int], threads: int) -> Figures:
    """One piece at each of *offsets*."""

    def pieces() -> None:
        with ThreadPoolExecutor(threads) as lanes:
            lengths = lanes.map(lambda offset: get(pool, url, offset, PIECE), offsets)
            assert set(lengths) == {PIECE}

    return timed(pieces)
