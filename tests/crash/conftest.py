# SPDX-License-Identifier: Apache-2.0
"""A store, a disk that can lose its power, and a mount of both to crash."""

import contextlib
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.crashing import Crashes
from tests.crash.power import Disk
from tests.crash.stores import STORES, CrashStore
from tests.mount.mounting import Mount
from tests.mount.requirements import need, need_fuse, need_root
from tests.servers.process import ServerFailed

#: How often a mount is crashed where nobody says STOREFS_CRASHES=N.
CRASHES = 4

MakeCrashes = Callable[..., Crashes]


@pytest.fixture
def crashes() -> int:
    return int(os.environ.get("STOREFS_CRASHES", CRASHES))


@pytest.fixture
def seed() -> str:
    """Printed, so that a failure tells it."""
    seed = os.environ.get("STOREFS_SEED") or secrets.token_hex(4)
    print(f"STOREFS_SEED={seed}")
    return seed


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    need_root()
    try:
        disk = Disk(tmp_path)
    except (OSError, subprocess.CalledProcessError) as exc:
        need("loop", False, f"no file system can be mounted from a file: {exc}")
        raise
    yield disk
    disk.close()


@pytest.fixture(params=list(STORES))
def make_crashes(
    request: pytest.FixtureRequest, tmp_path: Path, seed: str
) -> Iterator[MakeCrashes]:
    """Makes `Crashes` of a store that keeps what it keeps below a directory."""
    need_fuse()
    with contextlib.ExitStack() as stack:

        def make(disk: Path, *flags: str) -> Crashes:
            store = _store(request.param, disk)
            stack.callback(store.close)
            mount = _mount(tmp_path, store)
            stack.callback(mount.discard)
            crashes = Crashes(mount, store, tmp_path, seed, flags)
            stack.callback(crashes.close)
            return crashes

        yield make


def _store(name: str, disk: Path) -> CrashStore:
    try:
        return STORES[name](disk)
    except ServerFailed as exc:
        need(name, False, str(exc))
        raise


def _mount(tmp_path: Path, store: CrashStore) -> Mount:
    directory = tmp_path / "mount"
    directory.mkdir()
    return Mount(
        directory,
        {"s": store.kind},
        sections={"s": store.section},
        options={"spool_dir": store.spool},
        default="s",
        environment={"STATE_DIRECTORY": str(store.state)},
    )
