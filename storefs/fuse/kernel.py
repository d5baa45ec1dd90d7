# SPDX-License-Identifier: Apache-2.0
"""The two knobs the kernel keeps outside of the FUSE protocol.

Both are only root's to turn. Without them everything works, slower: the kernel
asks for 128 KiB at a time, 12 requests at once.
"""

import logging
from pathlib import Path

from storefs import mountpoint
from storefs.mount_options import MountOptions

LOG = logging.getLogger(__name__)

BDI = Path("/sys/class/bdi")
CONNECTIONS = Path("/sys/fs/fuse/connections")


def tune(mount: mountpoint.Mount, options: MountOptions) -> None:
    """Set read-ahead and background requests of *mount*; never fails, but logs what to do.

    Blocks shortly, does not touch the mount itself.
    """
    _write(BDI / mount.device / "read_ahead_kb", options.read_ahead_kb)
    minor = mount.device.partition(":")[2]
    _mount_fusectl()
    # the kernel calls a connection congested from three quarters on, as its default does
    _write(CONNECTIONS / minor / "max_background", options.max_background)
    _write(CONNECTIONS / minor / "congestion_threshold", options.max_background * 3 // 4)


def _mount_fusectl() -> None:
    if mountpoint.find(str(CONNECTIONS)) is not None:
        return
    try:
        mountpoint.mount_fusectl(str(CONNECTIONS))
    except OSError as exc:
        LOG.debug("Could not mount fusectl on %s: %s", CONNECTIONS, exc.strerror)


def _write(knob: Path, value: int) -> None:
    try:
        knob.write_text(f"{value}\n", "ascii")
    except OSError as exc:
        LOG.info(
            "The kernel's %s stays as it is (%s); for more speed, as root: echo %d > %s",
            knob.name,
            exc.strerror,
            value,
            knob,
        )
