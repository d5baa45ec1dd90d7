# SPDX-License-Identifier: Apache-2.0
"""storefs is killed while programs write: what was promised is there, whole, and nothing else is.

A run is short. ``STOREFS_CRASHES=300 tests/run tests/crash`` is a long one, and
STOREFS_SEED=... repeats one as far as moments can be repeated.
"""

from pathlib import Path

from tests.crash.conftest import MakeCrashes
from tests.crash.power import Disk


def test_kill_9(make_crashes: MakeCrashes, crashes: int, tmp_path: Path) -> None:
    """As the kernel does when memory is short; the machine goes on."""
    run = make_crashes(tmp_path, "spool")
    for _ in range(crashes):
        run.mount.start()
        run.check()
        run.write_until_a_moment()
        run.mount.kill9()
        run.join()
        run.mount.check_log()
    run.mount.start()
    run.check()
    run.mount.umount()


def test_power_loss(make_crashes: MakeCrashes, crashes: int, disk: Disk) -> None:
    """The disk stops first: what storefs had not synchronized by then is gone.

    On it are the datadir, where the store has one, and all that storefs keeps
    on this host. A server is another machine, and goes on.
    """
    run = make_crashes(disk.path, "spool", "power")
    for _ in range(crashes):
        run.mount.start()
        run.check()
        run.write_until_a_moment()
        run.mount.check_log()
        run.mount.freeze()  # processor and disk end at one moment
        disk.power_off()
        run.mount.kill9()
        run.join()
        run.mount.forget_log()
        disk.umount()
        disk.mount()
    run.mount.start()
    run.check()
    run.mount.umount()
