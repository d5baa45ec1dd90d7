# SPDX-License-Identifier: Apache-2.0
"""`storefs umount`: unmount, and wait until storefs has written everything and gone."""

import argparse
import os
import pathlib
import select
import sys
import time

from storefs import mountpoint
from storefs.streams.spool import Spool

#: xattr of the mount's root that tells which process serves it
PID_XATTR = "user.storefs.pid"

#: the one that tells where it keeps what is not stored yet
SPOOL_XATTR = "user.storefs.spool"

#: exit code: unmounted, but something could not be stored
PENDING = 3

#: seconds between two lines that say what is waited for
PROGRESS = 5.0

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
    server, spool = _server(path), _spool(path)
    try:
        mountpoint.detach(path, lazy=False)
        _await_end(path, server, arguments.timeout, spool)
    finally:
        os.close(server)
    return _tell_pending(spool)


def _spool(path: str) -> Spool | None:
    """Where the mount on *path* keeps what is not stored yet."""
    try:
        found = mountpoint.ask(lambda: os.getxattr(path, SPOOL_XATTR), _ASK)
    except OSError:
        return None
    return Spool(pathlib.Path(os.fsdecode(found))) if found is not None else None


def _tell_pending(spool: Spool | None) -> int:
    """Say what the mount could not store; the exit code."""
    left = spool.pending(orphaned=True) if spool is not None else []
    for record in left:
        print(
            f"storefs: {record.image} is written but not stored in {record.store}: it is kept in "
            f"{spool.path if spool else ''}, and stored when {record.store} is mounted again",
            file=sys.stderr,
        )
    return PENDING if left else 0


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


def _await_end(path: str, server: int, timeout: float, spool: Spool | None = None) -> None:
    poll = select.poll()
    poll.register(server, select.POLLIN)
    end = time.monotonic() + timeout
    while not poll.poll(min(PROGRESS, max(0.0, end - time.monotonic())) * 1000):
        if time.monotonic() >= end:
            raise mountpoint.MountError(
                f"{path} is unmounted, but after {timeout:g} seconds storefs is still busy with "
                "what was written last: see its log, or wait longer with --timeout"
            )
        waiting = spool.pending() if spool is not None else []
        if waiting:
            size = sum(record.size for record in waiting) >> 20
            print(f"storefs: {len(waiting)} images, {size} MiB, to be stored", file=sys.stderr)
