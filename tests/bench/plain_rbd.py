# SPDX-License-Identifier: Apache-2.0
"""What librbd gives to a Python program without a mount: 8 aio of 8 MiB in flight."""

import collections
import contextlib
import hashlib
import pathlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.bench.comparison import MiB

BLOCK = 8 * MiB
IN_FLIGHT = 8


def write(image: Any, source: pathlib.Path, *, hashing: bool) -> None:
    """Copy *source*, with md5 and sha512 beside it, in two threads, as storefs computes them."""
    digests = [hashlib.md5(), hashlib.sha512()] if hashing else []
    with contextlib.ExitStack() as stack:
        lanes = [stack.enter_context(ThreadPoolExecutor(1)) for _ in digests]
        file = stack.enter_context(source.open("rb", buffering=0))
        jobs: collections.deque[Any] = collections.deque()

        def begin(offset: int) -> Any:
            data = file.read(BLOCK)
            jobs.extend(lane.submit(d.update, data) for lane, d in zip(lanes, digests))
            while len(jobs) > 2 * IN_FLIGHT:
                jobs.popleft().result()
            return image.aio_write(data, offset, lambda _completion: None)

        _pipelined(begin, source.stat().st_size)
        image.flush()


def read(image: Any, size: int) -> None:
    """The first *size* bytes."""
    _pipelined(lambda offset: image.aio_read(offset, BLOCK, lambda _completion, _data: None), size)


def _pipelined(begin: Callable[[int], Any], size: int) -> None:
    """The oldest of those in flight is waited for."""
    window: collections.deque[Any] = collections.deque()
    for offset in range(0, size, BLOCK):
        if len(window) == IN_FLIGHT:
            _wait(window.popleft())
        window.append(begin(offset))
    while window:
        _wait(window.popleft())


def _wait(completion: Any) -> None:
    completion.wait_for_complete_and_cb()
    if completion.get_return_value() < 0:
        raise SystemExit("librbd failed")
