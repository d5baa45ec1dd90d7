# SPDX-License-Identifier: Apache-2.0
"""Going into the background without losing the outcome.

The process forks before it has threads, an event loop or a connection: none of
them survives a fork (librbd hangs in the child). The child keeps the terminal's
stderr until the mount answers, so whatever goes wrong until then is seen by who
typed the command; the parent waits that long.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable

from storefs import mountpoint

LOG = logging.getLogger(__name__)

_READY = b"ready"


def run(work: Callable[[Callable[[], None]], int]) -> int:
    """Run *work* in a child; returns an exit code, in the parent.

    *work* is given what it has to call when it is ready: then this returns 0
    and the child goes on alone. If it ends before, its exit code is returned.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _exit(_child(work, writing))
    os.close(writing)
    return _parent(child, reading)


def _child(work: Callable[[Callable[[], None]], int], writing: int) -> int:
    os.setsid()
    try:
        return work(lambda: _leave(writing))
    except mountpoint.MountError as exc:
        return _failed(str(exc))
    except Exception as exc:  # noqa: BLE001 - nobody else is left to tell
        return _failed(f"{type(exc).__name__}: {exc}")


def _failed(reason: str) -> int:
    LOG.error("%s", reason)
    print(f"storefs: {reason}", file=sys.stderr)
    return 1


def _exit(code: int) -> None:
    """As the interpreter would, but not into the caller's stack."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _leave(writing: int) -> None:
    """Let go of terminal and directory, and say so."""
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
    os.chdir("/")
    os.write(writing, _READY)
    os.close(writing)


def _parent(child: int, reading: int) -> int:
    try:
        with open(reading, "rb") as outcome:
            if outcome.read() == _READY:
                return 0
        return _why(os.waitpid(child, 0)[1])
    except KeyboardInterrupt:
        os.kill(child, signal.SIGTERM)
        return 128 + signal.SIGINT


def _why(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        name = signal.Signals(-code).name
        print(f"storefs: the background process was ended by {name}", file=sys.stderr)
    elif code == 0:
        print("storefs: it was unmounted before it was ready", file=sys.stderr)
    return code if code > 0 else 1
