# SPDX-License-Identifier: Apache-2.0
"""Mounts, processes and the state of the machine, for the benchmarks."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

HERE = pathlib.Path(__file__).parent
TREE = HERE.parent.parent


def drop_caches() -> None:
    """Everything written out, and no page cached; as root."""
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")


def load() -> float:
    return os.getloadavg()[0]


def await_quiet(below: float, seconds: float = 120) -> None:
    """Wait for the load to fall, but not for ever: the table says what it was."""
    end = time.monotonic() + seconds
    while load() > below and time.monotonic() < end:
        time.sleep(2)


def peak_rss(pid: int) -> float:
    """The largest resident size since `reset_peak`, MiB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def reset_peak(pid: int) -> None:
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def mounted(command: list[str], mountpoint: pathlib.Path) -> Iterator[int]:
    """Run *command*, which mounts in the foreground; gives its pid."""
    mountpoint.mkdir(exist_ok=True)
    process = subprocess.Popen(command, cwd=TREE)
    try:
        end = time.monotonic() + 30
        while not os.path.ismount(mountpoint):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{command} did not mount")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        subprocess.run(["umount", "-l", mountpoint], stderr=subprocess.DEVNULL, check=False)
        process.wait(30)


def storefs(config: pathlib.Path, mountpoint: pathlib.Path) -> list[str]:
    return [sys.executable, "mount.py", "--config-file", str(config), str(mountpoint)]


def null_fs(mountpoint: pathlib.Path, size: int) -> list[str]:
    return [sys.executable, str(HERE / "null_fs.py"), str(mountpoint), str(size)]


def same_kernel_settings(mountpoint: pathlib.Path) -> None:
    """Give *mountpoint* the read-ahead and background limits storefs gives its own."""
    from storefs import mountpoint as mountpoints
    from storefs.fuse import kernel
    from storefs.mount_options import MountOptions

    mount = mountpoints.find(str(mountpoint))
    assert mount is not None
    kernel.tune(mount, MountOptions())


def upstream_python(kind: str = "file") -> str:
    """An interpreter that has glance_store 5.7.0 for *kind*, installed once into .cache."""
    extra = "" if kind == "file" else f"[{kind}]"
    venv = TREE / ".cache" / f"glance_store{extra}-5.7.0"
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run(
            [python, "-m", "pip", "install", "-q", f"glance_store{extra}==5.7.0"], check=True
        )
    return str(python)
