# SPDX-License-Identifier: Apache-2.0
"""fsx: random reads, writes, truncations and mappings of one image, each read compared.

A run is short; ``STOREFS_FSX=100000 tests/run tests/mount/test_fsx.py`` is a long one.
"""

import contextlib
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.stores import STORES, CrashStore
from tests.mount.conftest import MakeMount
from tests.mount.requirements import need
from tests.servers.cargo_tools import FSX, cargo_tool
from tests.servers.process import ServerFailed

#: How many operations where nobody says STOREFS_FSX=N.
OPERATIONS = 3000

#: A long run takes a while; after this many seconds it hangs.
PATIENCE = 3600

#: All that there is through FUSE: pyfuse3 knows neither punched holes nor room made ahead.
#: A file of several parts of a small store, and not a multiple of a page.
CONFIGURATION = """\
flen = 1500000
[opsize]
max = 100000
[weights]
close_open = 3
invalidate = 0
read = 10
write = 10
mapread = 10
mapwrite = 10
truncate = 3
fsync = 0.3
fdatasync = 0.3
posix_fallocate = 0
punch_hole = 0
sendfile = 1
posix_fadvise = 1
copy_file_range = 1
"""


@pytest.fixture
def program() -> Path:
    try:
        return cargo_tool(*FSX)
    except ServerFailed as exc:
        need("fsx", False, str(exc))
        raise


@pytest.fixture(params=list(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CrashStore]:
    try:
        store = STORES[request.param](tmp_path)
    except ServerFailed as exc:
        need(request.param, False, str(exc))
        raise
    with contextlib.closing(store):
        yield store


def test_fsx(make_mount: MakeMount, store: CrashStore, program: Path, tmp_path: Path) -> None:
    """What fsx keeps in its memory is what the image is, also after a remount."""
    mount = make_mount(
        {"s": store.kind},
        sections={"s": store.section},
        default="s",
        environment={"STATE_DIRECTORY": str(store.state)},
    )
    mount.watch(PATIENCE)
    configuration = tmp_path / "fsx.toml"
    configuration.write_text(CONFIGURATION)
    seed = os.environ.get("STOREFS_SEED") or str(random.getrandbits(32))
    print(f"STOREFS_SEED={seed}")
    operations = os.environ.get("STOREFS_FSX", str(OPERATIONS))
    command = [program, "-q", "-f", configuration, "-N", operations, "-S", seed, "-P", tmp_path]
    result = subprocess.run([*command, mount / "s" / "image"], capture_output=True, text=True)
    assert result.returncode == 0, (result.stdout + result.stderr)[-5000:]
    bytes_ = (mount / "s" / "image").read_bytes()
    mount.remount()
    assert (mount / "s" / "image").read_bytes() == bytes_
