# SPDX-License-Identifier: Apache-2.0
"""`storefs umount`: unmount, and wait until storefs has written everything and gone."""

import argparse
import os
import select

from storefs import mountpoint

#: xattr of the mount's root that tells which process serves it
PID_XATTR = "user.storefs.pid"

#: seconds for a mount to tell its process
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
    if arguments.lazy or mountpoint.is_dead(path):
        mountpoint.detach(path, lazy=True)
        return 0
    server = _server(path)
    try:
        mountpoint.detach(path, lazy=False)
        _await_end(path, server, arguments.timeout)
    finally:
        os.close(server)
    return 0


def _server(path: str) -> int:
    """A pidfd of the process that serves *path*; `MountError` if it cannot be found out."""
    try:
        pid = mountpoint.ask(lambda: os.getxattr(path, PID_XATTR), _ASK)
        if pid is not None:
            return os.pidfd_open(int(pid))
        reason = "it does not answer"
    except OSError as exc:
        reason = str(exc.strerror)
    raise mountpoint.MountError(
        f"{path} cannot be asked which process to wait for ({reason}): try again, or let go of it "
        f"without waiting with `storefs umount --lazy {path}`"
    )


def _await_end(path: str, server: int, timeout: float) -> None:
    poll = select.poll()
    poll.register(server, select.POLLIN)
    if not poll.poll(timeout * 1000):
        raise mountpoint.MountError(
            f"{path} is unmounted, but after {timeout:g} seconds storefs is still busy with what "
            "was written last: see its log, or wait longer with --timeout"
        )
