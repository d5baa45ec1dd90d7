# SPDX-License-Identifier: Apache-2.0
"""What a request does not say of its caller, but /proc does.

Which path statfs(2) asks about: FUSE_STATFS names an inode, but pyfuse3 (3.5.0,
handlers.pxi) does not hand it on, so all stores would look like one to `stat -f`.
The caller sits in the system call while we answer: the kernel shows its arguments
in /proc/PID/syscall. Whatever of this is not permitted or not there gives None.

Whether a close is one: the kernel closes the files of a process that is killed,
and FUSE_FLUSH looks the same then. The process waits for the answer at its end.
"""

import os
import platform

#: System call numbers of statfs and fstatfs (kernel: arch/*/include/.../unistd).
_NUMBERS = {"x86_64": (137, 138), "aarch64": (43, 44)}

_PATH_MAX = 4096

#: A task that ends (kernel: include/linux/sched.h), and the part of its exit code
#: that is the number of a signal.
_PF_EXITING, _SIGNAL = 0x4, 0x7F


def asked_about(pid: int, mountpoint: str) -> str | None:
    """The first name below *mountpoint* on the path that thread *pid* asks about.

    Blocks, and may even come back to us: for a thread, with a time limit.
    """
    path = os.path.realpath(_statfs_path(pid) or "/")
    inside = os.path.relpath(path, mountpoint).split("/")[0]
    return None if inside in (".", "..") else inside


def is_killed(thread: int) -> bool:
    """Is *thread* at its end because of a signal? False where that cannot be seen."""
    try:
        with open(f"/proc/{thread}/stat", "rb", buffering=0) as file:
            # behind the name, which may hold anything, the third field comes
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return False
    flags, exit_code = int(fields[6]), int(fields[-1])
    return bool(flags & _PF_EXITING) and bool(exit_code & _SIGNAL)


def _statfs_path(pid: int) -> str | None:
    """The absolute path that thread *pid* asks about, links in it not resolved."""
    by_path, by_descriptor = _NUMBERS.get(platform.machine(), (-1, -1))
    try:
        with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
            number, first = file.read().split()[:2]
        if int(number) == by_path:
            cwd = os.readlink(f"/proc/{pid}/cwd")
            return os.path.normpath(os.path.join(cwd, _string(pid, int(first, 16))))
        if int(number) == by_descriptor:
            return os.readlink(f"/proc/{pid}/fd/{int(first, 16)}")
    except (OSError, ValueError):
        pass
    return None


def _string(pid: int, address: int) -> str:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        page = 4096
        text = os.pread(memory.fileno(), page - address % page, address)
        if b"\0" not in text:
            text += os.pread(memory.fileno(), _PATH_MAX, address + len(text))
    return os.fsdecode(text.partition(b"\0")[0])
