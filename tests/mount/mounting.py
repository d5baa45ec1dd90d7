# SPDX-License-Identifier: Apache-2.0
"""`storefs mount` as a child of the tests, with everything it leaves behind watched."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from storefs import mountpoint
from tests.mount.tools import PATIENCE, await_true

STOREFS = (sys.executable, "-m", "storefs.cli")

#: What the log must not have, but for what a test expects.
_BAD = re.compile(r" (WARNING|ERROR|CRITICAL) |Traceback|Exception ignored")

#: How uploads that are not published are called in a datadir.
TEMPORARY = ".storefs-"

#: A mount that stands this long holds a test that hangs, seconds.
WATCHDOG = 150

Sections = Mapping[str, Mapping[str, object]]


def configuration(stores: Mapping[str, str], sections: Sections) -> str:
    """The text of a configuration file."""
    backends = ", ".join(f"{name}:{kind}" for name, kind in stores.items())
    lines = ["[DEFAULT]", f"enabled_backends = {backends}"]
    for section, options in sections.items():
        lines += ["", f"[{section}]"]
        lines += [f"{name} = {value}" for name, value in options.items()]
    return "\n".join(lines) + "\n"


class Mount:
    """One mount: its process, its log, and the directories behind its file stores.

    *stores* are identifier -> type; a file store gets a datadir of its own
    unless *sections* name one. *options* are those of ``[storefs]``.
    """

    def __init__(
        self,
        directory: Path,
        stores: Mapping[str, str],
        sections: Sections | None = None,
        options: Mapping[str, object] | None = None,
        arguments: Sequence[str] = (),
        *,
        default: str | None = "shared",
        daemon: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.environment = {**os.environ, **(environment or {})}
        self.directory = directory
        self.path = directory / "mnt"
        self.log = directory / "log"
        self.datadirs = {s: directory / s for s, kind in stores.items() if kind == "file"}
        self.daemon = daemon
        self.arguments = list(arguments)
        self.process: subprocess.Popen[bytes] | None = None
        self.pid = 0
        self._expected: list[str] = []
        self._checked = 0
        given = {name: dict(section) for name, section in (sections or {}).items()}
        for store_id, datadir in self.datadirs.items():
            section = given.setdefault(store_id, {})
            if not any(name.startswith("filesystem_store_datadir") for name in section):
                section["filesystem_store_datadir"] = datadir
        self.spool = directory / "spool"
        given["storefs"] = {"spool_dir": self.spool, "publish_delay": 0.3, **(options or {})}
        given["glance_store"] = {"default_backend": default} if default in stores else {}
        self.config = directory / "storefs.conf"
        self.config.write_text(configuration(stores, given))
        self.path.mkdir()

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    # -- its life ---------------------------------------------------------------

    def start(self) -> None:
        """Mount, and wait until it answers."""
        command = [*STOREFS, "mount", "--config-file", str(self.config), *self.arguments]
        command += ["--daemon", "--log-file", str(self.log)] * self.daemon
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*command, str(self.path)], stderr=log, env=self.environment
            )
        if self.daemon:
            assert self.process.wait(PATIENCE) == 0, self.log_text
            self.pid = self._answering()
            assert self.pid, self.log_text
        else:
            self.pid = self.process.pid
            await_true(self._answers, "the mount's first answer")
        self._watchdog = threading.Timer(0, self.kill9)
        self.watch()

    def watch(self, seconds: float = WATCHDOG) -> None:
        """Let it stand for another while: a new test begins."""
        self._watchdog.cancel()
        self._watchdog = threading.Timer(seconds, self.kill9)
        self._watchdog.daemon = True
        self._watchdog.start()

    def _answering(self) -> int:
        with contextlib.suppress(OSError):
            return int(os.getxattr(self.path, "user.storefs.pid"))
        return 0

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"it ended at once: {self.log_text}"
        return self._answering() == self.pid

    def umount(self) -> None:
        """Unmount; the process must end well, and with nothing left."""
        subprocess.run([*_UMOUNT, str(self.path)], check=True, timeout=PATIENCE)
        self.ended(0)
        self.check_log()
        self.check_leftovers()

    def ended(self, code: int) -> None:
        """Wait for the process to end by itself; with *code*, where it is our child."""
        self._watchdog.cancel()
        if self.daemon:
            await_true(lambda: not _runs(self.pid), "the end of the daemon")
        else:
            assert self.process is not None
            assert self.process.wait(PATIENCE) == code, self.log_text
        assert not os.path.ismount(self.path)
        assert os.listdir(self.path) == []

    def remount(self) -> None:
        """Unmount and mount again: whatever is known is known from the stores."""
        self.umount()
        self.start()

    def freeze(self) -> None:
        """Stop all of its threads where they are; back when none of them runs any more.

        One that waits in the kernel (D) stops before it would know what for.
        """
        os.kill(self.pid, signal.SIGSTOP)
        tasks = Path(f"/proc/{self.pid}/task")
        await_true(lambda: {"T"} <= {*map(_state, tasks.iterdir())} <= {"T", "D"}, "a stop")

    def kill9(self) -> None:
        """End it as the kernel does when memory is short; the dead mount is taken away."""
        os.kill(self.pid, signal.SIGKILL)
        if self.daemon:
            await_true(lambda: not _runs(self.pid), "the end of the daemon")
        else:
            assert self.process is not None
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                _abort(self.path)
                raise
        self._watchdog.cancel()
        mountpoint.detach(str(self.path), lazy=True)

    def discard(self) -> None:
        """Leave nothing of it, in whatever state it is."""
        if self.pid and _runs(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            _abort(self.path)
            if self.process is not None and not self.daemon:
                self.process.wait(PATIENCE)
            self._watchdog.cancel()
        while mountpoint.find(str(self.path)) is not None:
            mountpoint.detach(str(self.path), lazy=True)

    @property
    def running(self) -> bool:
        if self.daemon:
            return bool(self.pid) and _runs(self.pid)
        return self.process is not None and self.process.poll() is None

    # -- what it leaves -----------------------------------------------------------

    @property
    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def logged(self, pattern: str) -> bool:
        """Is there a line since the test began in which *pattern* is found?"""
        return any(re.search(pattern, line) for line in self._new_lines())

    def log_count(self, pattern: str) -> int:
        """In how many lines since the test began *pattern* is found."""
        return sum(bool(re.search(pattern, line)) for line in self._new_lines())

    def expect_log(self, pattern: str) -> None:
        """A line in which *pattern* is found must be there at the end, and is no fault."""
        self._expected.append(pattern)

    def _new_lines(self) -> list[str]:
        return self.log_text[self._checked :].splitlines()

    def check_log(self) -> None:
        """Nothing bad that was not expected, everything that was; then forget both."""
        bad = [line for line in self._new_lines() if _BAD.search(line)]
        expected, self._expected = self._expected, []
        missing = [p for p in expected if not any(re.search(p, line) for line in bad)]
        unexpected = [line for line in bad if not any(re.search(p, line) for p in expected)]
        self._checked = len(self.log_text)
        assert not unexpected, "\n".join(unexpected)
        assert not missing, f"not in the log: {missing}"

    def forget_log(self) -> None:
        """What was logged so far is no fault: what storefs stands on was taken away."""
        self._checked = len(self.log_text)

    def temporaries(self) -> list[str]:
        """Uploads in the datadirs that are not published."""
        return [
            os.path.join(directory, name)
            for directory in self.datadirs.values()
            if directory.is_dir()
            for name in os.listdir(directory)
            if name.startswith(TEMPORARY)
        ]

    def spooled(self) -> list[str]:
        """What is in the spool."""
        return os.listdir(self.spool) if self.spool.is_dir() else []

    def check_leftovers(self) -> None:
        """Once all is closed no datadir holds an upload; the kernel releases on the side."""
        await_true(lambda: not self.temporaries(), f"temporaries gone: {self.temporaries()}")
        await_true(lambda: not self.spooled(), f"spool empty: {self.spooled()}")

    def clear(self) -> None:
        """Remove all images, as a user would, and see that this works."""
        for store_id in os.listdir(self.path):
            for name in os.listdir(self.path / store_id):
                os.unlink(self.path / store_id / name)
            assert os.listdir(self.path / store_id) == []


_UMOUNT = ("umount",) if os.geteuid() == 0 else ("fusermount3", "-u")


def _abort(path: Path) -> None:
    """Nobody waits for an answer of the mount any more, whatever storefs does."""
    if (mount := mountpoint.find(str(path))) is not None:
        connection = Path("/sys/fs/fuse/connections", mount.device.partition(":")[2])
        with contextlib.suppress(OSError):
            (connection / "abort").write_text("1")


def _runs(pid: int) -> bool:
    return _state(Path(f"/proc/{pid}")) not in ("Z", "")


def _state(task: Path) -> str:
    """The letter of ``man 5 proc`` for a process or thread, empty if it is gone."""
    with contextlib.suppress(OSError):
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    return ""


@contextlib.contextmanager
def mounted(mount: Mount) -> Iterator[Mount]:
    """*mount*, started; unmounted and checked at the end, and gone whatever happens."""
    try:
        mount.start()
        yield mount
        if mount.running:
            mount.umount()
    finally:
        mount.discard()
