# SPDX-License-Identifier: Apache-2.0
"""A process that ends the conversation with the kernel if storefs is killed.

When all of a FUSE process is gone the kernel answers its callers with ENOTCONN.
But a thread that tells the kernel of a new name (`invalidate_entry_async`) waits
for the directory's lock, in a sleep that not even SIGKILL ends; who has the lock
may wait for our answer, in a rename say. Killed at that moment, storefs stays a
zombie with /dev/fuse open, and its callers wait for ever. So a process of our
own, which the kernel tells of our death (prctl(2), PR_SET_PDEATHSIG), writes into
the connection's ``abort`` (Documentation/filesystems/fuse.rst), which its
mounter may.
"""

import contextlib
import ctypes
import os
import signal
from pathlib import Path
from typing import NoReturn

from storefs.fuse.kernel import CONNECTIONS

#: linux/prctl.h
_PR_SET_PDEATHSIG = 1

_DEATH = signal.SIGUSR1


class Guard:
    """To be made in the thread that lives as long as storefs, before there are others."""

    def __init__(self) -> None:
        reading, self._pipe = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            _guard(reading, parent)
        os.close(reading)

    def watch(self, device: str) -> None:
        """From now on the death of this process ends the mount *device* (``0:MINOR``)."""
        os.write(self._pipe, device.partition(":")[2].encode())
        os.close(self._pipe)
        self._pipe = -1

    def dismiss(self) -> None:
        """The mount has ended in an orderly way."""
        if self._pipe >= 0:
            os.close(self._pipe)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _guard(reading: int, parent: int) -> NoReturn:
    """The life of the guard: it waits for a number, and then for the end of *parent*."""
    with contextlib.suppress(BaseException):
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _DEATH.value, 0, 0, 0)
        _close_all_but(reading)
        minor = os.read(reading, 32).decode()
        # a thread that sleeps on is still our parent: the signal alone tells
        while minor and os.getppid() == parent and signal.sigtimedwait({_DEATH}, 60) is None:
            pass
        if minor:
            abort(minor)
    os._exit(0)


def _close_all_but(descriptor: int) -> None:
    """What storefs inherited is not kept open by its guard: no terminal, pipe or directory."""
    os.dup2(descriptor, 0)
    os.closerange(1, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
    os.chdir("/")


def abort(minor: str, connections: Path = CONNECTIONS) -> None:
    """Whoever waits for an answer of the connection gets ECONNABORTED."""
    with contextlib.suppress(OSError):
        (connections / minor / "abort").write_text("1\n", "ascii")
