# SPDX-License-Identifier: Apache-2.0
"""What a test needs of the machine: missing it skips, unless STOREFS_REQUIRE insists."""

import os
import shutil

import pytest


def required(name: str) -> bool:
    """Does STOREFS_REQUIRE (names with commas between, or ``everything``) insist on *name*?"""
    names = {n.strip() for n in os.environ.get("STOREFS_REQUIRE", "").split(",")}
    return not names.isdisjoint({name, "all", "everything"})


def need(name: str, present: object, reason: str) -> None:
    """Skip the test if *present* is false, or fail it where *name* is required."""
    if present:
        return
    if required(name):
        pytest.fail(f"{name} is required by STOREFS_REQUIRE: {reason}")
    pytest.skip(f"{name}: {reason}")


def need_fuse() -> None:
    need("fuse", os.access("/dev/fuse", os.R_OK | os.W_OK), "/dev/fuse cannot be opened")
    need("fuse", shutil.which("fusermount3"), "no fusermount3 (Debian: fuse3)")


def need_root() -> None:
    need("root", os.geteuid() == 0, "only root can do this")


def need_tools(*names: str) -> None:
    missing = [name for name in names if shutil.which(name) is None]
    need("tools", not missing, f"not installed: {', '.join(missing)}")
