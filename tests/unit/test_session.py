# SPDX-License-Identifier: Apache-2.0
"""The life of a mount, in a process of its own: how it begins, is tuned, and ends."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storefs import mountpoint
from storefs.fuse import kernel
from storefs.mount_options import MountOptions

#: long enough for a loaded machine; nothing waits that long unless it hangs
PATIENCE = 60

#: serves two stores, of which `dead` never comes back when an image is opened to be read
_SERVER = textwrap.dedent(
    """
    import logging, os, sys, threading
    from oslo_config import cfg
    from storefs import logs
    from storefs.driver import Store
    from storefs.drivers.memory import MemoryDriver
    from storefs.fuse import session
    from storefs.mount_options import MountOptions
    from storefs.streams.engine import Settings
    from storefs.streams.vfs import Vfs

    class DeadDriver(MemoryDriver):
        def open(self, location):
            threading.Event().wait()

    session.DRAIN = session.FINISH = 0.2
    logs.to_stderr(debug=False)
    conf = cfg.ConfigOpts()
    conf([])
    stores = {"live": Store(conf, "live", MemoryDriver), "dead": Store(conf, "dead", DeadDriver)}
    for store in stores.values():
        store.configure()
    code = session.serve(
        sys.argv[1],
        lambda: Vfs(stores, Settings(default_store="live")),
        MountOptions(fsname="tested", read_ahead_kb=1024, max_background=40),
        lambda: print("ready", flush=True),
    )
    sys.exit(code)
    """
)


@pytest.fixture
def mnt(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mnt"
    path.mkdir()
    yield path
    if mountpoint.find(str(path)) is not None:
        mountpoint.detach(str(path), lazy=True)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(PATIENCE)
        yield listening


@pytest.fixture
def starting(mnt: Path, supervisor: socket.socket) -> Iterator["subprocess.Popen[str]"]:
    """What is about to mount on `mnt`."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(mnt)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NOTIFY_SOCKET": supervisor.getsockname()},
    )
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def server(starting: "subprocess.Popen[str]") -> "subprocess.Popen[str]":
    """A mount on `mnt` that is ready."""
    assert starting.stdout is not None
    assert starting.stdout.readline() == "ready\n"
    return starting


def log_of(server: "subprocess.Popen[str]") -> str:
    """Everything it logged; waits for its end."""
    return server.communicate(timeout=PATIENCE)[1]


def test_ready_means_that_it_answers(server: "subprocess.Popen[str]", mnt: Path) -> None:
    assert sorted(os.listdir(mnt)) == ["dead", "live"]
    mount = mountpoint.find(str(mnt))
    assert mount is not None
    assert (mount.fstype, mount.source) == ("fuse.storefs", "tested")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_unmounts(
    server: "subprocess.Popen[str]", mnt: Path, number: signal.Signals
) -> None:
    server.send_signal(number)
    assert f"Unmounting {mnt} ({number.name})" in log_of(server)
    assert server.returncode == 0
    assert mountpoint.find(str(mnt)) is None


def test_a_signal_before_it_is_ready_leaves_no_dead_mount(
    starting: "subprocess.Popen[str]", mnt: Path
) -> None:
    while mountpoint.find(str(mnt)) is None:
        assert starting.poll() is None
    starting.send_signal(signal.SIGTERM)
    log_of(starting)
    assert starting.returncode == 0
    assert mountpoint.find(str(mnt)) is None


def test_a_closed_terminal_does_not(server: "subprocess.Popen[str]", mnt: Path) -> None:
    server.send_signal(signal.SIGHUP)
    (mnt / "live" / "image").write_bytes(b"x")
    assert server.poll() is None


def test_unmounting_from_outside_ends_it(server: "subprocess.Popen[str]", mnt: Path) -> None:
    subprocess.run(["fusermount3", "-u", str(mnt)], check=True)
    assert "Unmounted from" in log_of(server)
    assert server.returncode == 0


def test_the_supervisor_is_told(server: "subprocess.Popen[str]", supervisor: socket.socket) -> None:
    assert supervisor.recv(100) == b"READY=1"
    server.send_signal(signal.SIGTERM)
    assert supervisor.recv(100) == b"STOPPING=1"


def test_the_kernel_is_tuned(server: "subprocess.Popen[str]", mnt: Path) -> None:
    mount = mountpoint.find(str(mnt))
    assert mount is not None
    minor = mount.device.partition(":")[2]
    connection = kernel.CONNECTIONS / minor
    assert (kernel.BDI / mount.device / "read_ahead_kb").read_text() == "1024\n"
    assert (connection / "max_background").read_text() == "40\n"
    assert (connection / "congestion_threshold").read_text() == "30\n"


def test_a_signal_ends_it_whoever_is_in(server: "subprocess.Popen[str]", mnt: Path) -> None:
    (mnt / "live" / "image").write_bytes(b"x" * 100)
    image = os.open(mnt / "live" / "image", os.O_RDONLY)
    server.send_signal(signal.SIGTERM)
    log_of(server)
    assert server.returncode == 0
    with pytest.raises(OSError, match="not connected"):
        os.close(image)


def test_another_mount_in_its_place_is_not_taken_away(
    server: "subprocess.Popen[str]", mnt: Path
) -> None:
    user = os.open(mnt, os.O_RDONLY | os.O_DIRECTORY)
    try:
        mountpoint.detach(str(mnt), lazy=True)
        subprocess.run(["mount", "-t", "tmpfs", "other", str(mnt)], check=True)
        server.send_signal(signal.SIGTERM)
        log_of(server)
        left = mountpoint.find(str(mnt))
        assert left is not None
        assert left.source == "other"
    finally:
        os.close(user)


@contextlib.contextmanager
def blocked(mnt: Path, count: int) -> Iterator[None]:
    """*count* requests that the dead store does not answer; they fail with the mount."""
    images = [mnt / "dead" / f"image-{number}" for number in range(count)]
    for image in images:
        image.write_bytes(b"")

    def ask(image: Path) -> None:
        with contextlib.suppress(OSError):
            image.read_bytes()

    threads = [threading.Thread(target=ask, args=(image,)) for image in images]
    for thread in threads:
        thread.start()
    await_waiting(mnt, count)
    yield
    for thread in threads:
        thread.join()


def await_waiting(mnt: Path, count: int) -> None:
    """Until *count* requests are in the kernel's queue or with the server."""
    mount = mountpoint.find(str(mnt))
    assert mount is not None
    waiting = kernel.CONNECTIONS / mount.device.partition(":")[2] / "waiting"
    deadline = time.monotonic() + PATIENCE
    while int(waiting.read_text()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_dead_store_does_not_keep_the_process(server: "subprocess.Popen[str]", mnt: Path) -> None:
    with blocked(mnt, 3):
        server.send_signal(signal.SIGTERM)
        assert "giving them up" in log_of(server)
        assert server.returncode == 0


def test_a_dead_store_does_not_stop_the_others(server: "subprocess.Popen[str]", mnt: Path) -> None:
    with blocked(mnt, 150):  # more than the requests pyfuse3 serves unless it is told to
        (mnt / "live" / "image").write_bytes(b"alive")
        assert (mnt / "live" / "image").read_bytes() == b"alive"
        server.kill()


def test_a_second_signal_ends_it_at_once(server: "subprocess.Popen[str]", mnt: Path) -> None:
    with blocked(mnt, 1):
        server.send_signal(signal.SIGINT)
        server.send_signal(signal.SIGTERM)
        log_of(server)
        assert server.returncode == 0


def refuse(path: str) -> None:
    raise PermissionError(1, "Operation not permitted", path)


def test_knobs_that_cannot_be_turned_are_told_and_forgiven(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kernel, "BDI", tmp_path)
    monkeypatch.setattr(kernel, "CONNECTIONS", tmp_path)
    monkeypatch.setattr(mountpoint, "mount_fusectl", refuse)
    mount = mountpoint.Mount(1, "0:99", "/x", "fuse.storefs", "storefs")
    with caplog.at_level("INFO"):
        kernel.tune(mount, MountOptions())
    assert f"as root: echo 8192 > {tmp_path}/0:99/read_ahead_kb" in caplog.text
    assert f"as root: echo 64 > {tmp_path}/99/max_background" in caplog.text
    assert all(record.levelname in ("INFO", "DEBUG") for record in caplog.records)
