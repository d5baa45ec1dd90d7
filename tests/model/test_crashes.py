# SPDX-License-Identifier: Apache-2.0
"""The same operations on a store whose mount is killed and unmounted in between."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule, run_state_machine_as_test

from tests.model.test_mount import MountMachine
from tests.mount.mounting import Mount, mounted
from tests.mount.requirements import need_fuse

#: A mount takes a second to start; so few examples, with some crashes each.
EXAMPLES = 15


class CrashingMachine(MountMachine):
    """What an operation returned from is there after a crash; no handle is."""

    mount: Mount

    @rule()
    def crash(self) -> None:
        self._let_go()
        self.mount.kill9()
        self.mount.start()

    @rule()
    def remount(self) -> None:
        self._let_go()
        self.mount.remount()

    def _let_go(self) -> None:
        while self.readers:
            os.close(self.readers.pop().descriptor)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    need_fuse()
    mount = Mount(tmp_path, {"s": "file"}, options={"rename_grace": 600}, default="s")
    with mounted(mount):
        yield mount


def test_crashes_and_remounts_lose_nothing(mount: Mount) -> None:
    standing = mount

    class Machine(CrashingMachine):
        directory = standing / "s"
        mount = standing

    run_state_machine_as_test(
        Machine,
        settings=settings(
            deadline=None,
            max_examples=EXAMPLES,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        ),
    )
