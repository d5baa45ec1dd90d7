# SPDX-License-Identifier: Apache-2.0
"""What a test needs of the machine: missing it skips, unless STOREFS_REQUIRE insists."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

import pytest

from tests.servers.process import ServerFailed

T = TypeVar("T")


def required(name: str) -> bool:
    """Does STOREFS_REQUIRE (names with commas between, or ``everything``) insist on *name*?"""
    names = {n.strip() for n in os.environ.get("STOREFS_REQUIRE", "").split(",")}
    return not names.isdisjoint({name, "all", "everything"})


def need(name: str, present: object, reason: str) -> None:
    """Skip the test if *present* is false, or fail it where *name* is required."""
    if not present:
        _missing(name, reason)


def _missing(name: str, reason: str) -> NoReturn:
    if required(name):
        pytest.fail(f"{name} is required by STOREFS_REQUIRE: {reason}")
    pytest.skip(f"{name}: {reason}")


def needed(name: str, start: Callable[[], T]) -> T:
    """What *start* gives; where its server cannot be had, the same as `need`."""
    try:
        return start()
    except ServerFailed as exc:
        _missing(name, str(exc))


@contextlib.contextmanager
def needed_context(name: str, context: contextlib.AbstractContextManager[T]) -> Iterator[T]:
    """The same of what starts when it is entered, and ends with the test."""
    with contextlib.ExitStack() as stack:
        yield needed(name, lambda: stack.enter_context(context))


def need_fuse() -> None:
    need("fuse", os.access("/dev/fuse", os.R_OK | os.W_OK), "/dev/fuse cannot be opened")
    need("fuse", shutil.which("fusermount3"), "no fusermount3 (Debian: fuse3)")


def need_root() -> None:
    need("root", os.geteuid() == 0, "only root can do this")


def need_tools(*names: str) -> None:
    missing = [name for name in names if shutil.which(name) is None]
    need("tools", not missing, f"not installed: {', '.join(missing)}")
