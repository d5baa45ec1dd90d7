# SPDX-License-Identifier: Apache-2.0
"""The directory that is mounted on: what can be wrong with it, and how it is left.

Nothing here touches a mounted directory but where it says so: a stat of a mount
whose server does not answer waits for ever.
"""

import ctypes
import dataclasses
import errno
import os
import queue
import re
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from storefs.mount_options import MountOptions

T = TypeVar("T")

FSTYPE = "fuse.storefs"

_MNT_DETACH = 2  # linux/fs.h


class MountError(Exception):
    """Mounting or unmounting cannot work; the text says what to do about it."""


class MountBusy(MountError):
    """Somebody uses the mount."""


@dataclasses.dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/self/mountinfo; *device* is ``major:minor``."""

    mount_id: int
    device: str
    path: str
    fstype: str
    source: str


def absolute(path: str) -> str:
    """*path* as the kernel names it; asks nothing of a mount on it, dead or alive."""
    parent, name = os.path.split(os.path.abspath(path))
    plain = os.path.join(os.path.realpath(parent), name)
    return os.path.realpath(plain) if _is_link(plain) else plain


def _is_link(path: str) -> bool:
    """By readlink, which the kernel refuses for a mounted directory without asking its server."""
    try:
        return bool(os.readlink(path))
    except OSError:
        return False


def find(path: str) -> Mount | None:
    """The topmost mount on *path*, or None; never touches *path* itself."""
    lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    mounts = [mount for mount in map(parse_mountinfo, lines) if mount.path == path]
    return mounts[-1] if mounts else None


def parse_mountinfo(line: str) -> Mount:
    """See proc_pid_mountinfo(5)."""
    left, _, right = line.partition(" - ")
    mount_id, _, device, _, path, *_ = left.split(" ")
    fstype, source, *_ = right.split(" ")
    return Mount(int(mount_id), device, _unescape(path), fstype, _unescape(source))


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def check(path: str, options: MountOptions) -> None:
    """Raise `MountError` for what would keep *path* from being mounted on."""
    check_device()
    if os.geteuid() != 0:
        check_helper()
        check_allow_other(options)
    check_directory(path)


def check_device(device: str = "/dev/fuse") -> None:
    """The kernel's side must be there and ours to open."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError as exc:
        raise MountError(
            f"{device} does not exist: load the module with `modprobe fuse`, or start the "
            f"container with `--device {device} --cap-add SYS_ADMIN`"
        ) from exc
    except OSError as exc:
        raise MountError(
            f"{device} cannot be opened ({exc.strerror}): `modprobe fuse` loads the module; a "
            f"container needs `--device {device}`; a user needs read and write permission on it"
        ) from exc


def check_helper() -> None:
    """Whoever is not root mounts through fusermount3."""
    if shutil.which("fusermount3") is None:
        raise MountError(
            "fusermount3 is missing, and only root can mount without it: apt install fuse3"
        )


def check_allow_other(options: MountOptions, fuse_conf: str = "/etc/fuse.conf") -> None:
    """Only root may let others in, unless the host's owner has said otherwise."""
    if not (options.allow_other or options.allow_root) or _user_allow_other(fuse_conf):
        return
    raise MountError(
        "allow_other is not permitted for users: add a line `user_allow_other` to "
        f"{fuse_conf} (as root), mount as root, or leave the option out"
    )


def _user_allow_other(fuse_conf: str) -> bool:
    try:
        lines = Path(fuse_conf).read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)


def check_directory(path: str) -> None:
    """*path* must be a directory that nothing is mounted on."""
    mount = find(absolute(path))
    try:
        if mount is not None:
            _refuse_mounted(path, mount)
        mode = os.stat(path).st_mode
    except OSError as exc:
        raise MountError(_why_not(path, exc)) from exc
    if not stat.S_ISDIR(mode):
        raise MountError(f"{path} is not a directory: mount on a directory")


def _refuse_mounted(path: str, mount: Mount) -> NoReturn:
    if mount.fstype.startswith("fuse") and is_dead(path):
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
    raise MountError(
        f"{path} is already a mount point ({mount.fstype}, {mount.source}): unmount it first "
        f"(storefs umount {path}) or choose another directory"
    )


def _why_not(path: str, exc: OSError) -> str:
    if exc.errno == errno.ENOTCONN:
        return (
            f"{path} is a dead mount ({exc.strerror}): its server has gone. Clear it with "
            f"`storefs umount {path}` and mount again"
        )
    if exc.errno == errno.ENOENT:
        return f"{path} does not exist: create it with `mkdir -p {path}`"
    return f"{path} cannot be mounted on: {exc.strerror}"


def is_dead(path: str, timeout: float = 2.0) -> bool:
    """Whether *path* is a mount whose server has gone.

    Waits up to *timeout* seconds for a live server: one that does not answer is
    not dead.
    """
    try:
        ask(lambda: os.statvfs(path), timeout)  # a stat may be answered from the kernel's cache
    except OSError as exc:
        return exc.errno == errno.ENOTCONN
    return False


def ask(question: Callable[[], T], timeout: float) -> T | None:
    """The answer of a system call on a mount, or None after *timeout* seconds.

    The call is left behind in its thread then; it ends with the process.
    """
    answers: queue.SimpleQueue[tuple[T | None, OSError | None]] = queue.SimpleQueue()

    def call() -> None:
        try:
            answers.put((question(), None))
        except OSError as exc:
            answers.put((None, exc))

    threading.Thread(target=call, daemon=True, name="ask").start()
    try:
        answer, error = answers.get(timeout=timeout)
    except queue.Empty:
        return None
    if error is not None:
        raise error
    return answer


def detach(path: str, *, lazy: bool) -> None:
    """Unmount *path*; raises `MountBusy`, `MountError`.

    With *lazy* the name disappears at once and the rest when nobody uses it.
    """
    if os.geteuid() == 0:
        _umount2(path, _MNT_DETACH if lazy else 0)
    else:
        _fusermount(path, lazy=lazy)


def _umount2(path: str, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(path), flags) != 0:
        number = ctypes.get_errno()
        raise _unmount_error(path, os.strerror(number), busy=number == errno.EBUSY)


def _fusermount(path: str, *, lazy: bool) -> None:
    check_helper()
    command = ["fusermount3", "-u", *(["-z"] if lazy else []), "--", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip()
        raise _unmount_error(path, reason, busy="busy" in reason.lower())


def _unmount_error(path: str, reason: str, *, busy: bool) -> MountError:
    if busy:
        return MountBusy(
            f"{path} is in use: see who uses it with `fuser -vm {path}`, or let go of the name "
            f"now and of the rest later with `storefs umount --lazy {path}`"
        )
    return MountError(f"{path} could not be unmounted: {reason}")


def mount_fusectl(path: str) -> None:
    """Mount the kernel's fusectl filesystem on *path*; `OSError` if that is not possible."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"fusectl", os.fsencode(path), b"fusectl", 0, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
