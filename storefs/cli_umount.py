# SPDX-License-Identifier: Apache-2.0
"""`storefs umount`: unmount, and wait until storefs has written everything and gone."""

import argparse
import contextlib
import os
import select
import time

from storefs import mountpoint

#: xattr of the mount's root that tells which process serves it
PID_XATTR = "user.storefs.pid"

#: seconds for a mount to tell its process; a stuck one is unmounted without
_ASK = 2.0


def run(arguments: argparse.Namespace) -> int:
    """Unmount; raises `MountError` if it is in use, or storefs does not end in time."""
    path = mountpoint.absolute(arguments.mountpoint)
    mount = mountpoint.find(path)
    if mount is None:
        raise mountpoint.MountError(f"{path} is not mounted")
    if mount.fstype != mountpoint.FSTYPE:
        raise mountpoint.MountError(
            f"{path} is no storefs mount but {mount.fstype}: use `umount {path}`"
        )
    server = _server(path)
    mountpoint.detach(path, lazy=arguments.lazy or mountpoint.is_dead(path))
    if server is not None and not arguments.lazy:
        _await_end(path, server, arguments.timeout)
    return 0


def _server(path: str) -> int | None:
    """A pidfd of the process that serves *path*, if that can be found out."""
    with contextlib.suppress(OSError, ValueError):
        pid = mountpoint.ask(lambda: os.getxattr(path, PID_XATTR), _ASK)
        if pid is not None:
            return os.pidfd_open(int(pid))
    return None


def _await_end(path: str, server: int, timeout: float) -> None:
    poll = select.poll()
    poll.register(server, select.POLLIN)
    started = time.monotonic()
    if not poll.poll(timeout * 1000):
        raise mountpoint.MountError(
            f"{path} is unmounted, but after {time.monotonic() - started:.0f} seconds storefs is "
            "still busy with what was written last: see its log, or wait longer with --timeout"
        )
    os.close(server)
