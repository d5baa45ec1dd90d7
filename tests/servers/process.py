# SPDX-License-Identifier: Apache-2.0
"""A server as a child process that dies with the tests, however these end."""

import contextlib
import pathlib
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar


class ServerFailed(Exception):
    """The server did not start; the text ends with what it wrote."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses now.

    None of those the kernel gives to clients: a server that is stopped and started
    again would find its port taken by a connection to another.
    """
    clients = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    below = int(clients.split()[0])
    while True:
        port = random.randrange(10_000, below)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Process:
    """One program in the foreground, which is up when it listens on *ports*.

    `start` and `stop` may be called in turns: the ports stay the same. The kernel
    kills it when the thread that started it is gone (setpriv --pdeathsig).
    """

    def __init__(self, argv: Sequence[str], ports: Sequence[int], log: pathlib.Path) -> None:
        self._argv = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
        self._ports = ports
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, patience: float = 20.0) -> None:
        """Returns when every port answers, *patience* in seconds; `ServerFailed`.

        Does nothing if it is running.
        """
        self.begin()
        self.await_up(patience)

    def begin(self) -> None:
        """Start it and wait for nothing: `await_up` does. Several may begin at once."""
        if self._child is not None and self._child.poll() is None:
            return
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def await_up(self, patience: float = 20.0) -> None:
        """Returns when every port answers, *patience* in seconds; `ServerFailed`."""
        assert self._child is not None
        deadline = time.monotonic() + patience
        while not all(_listens(port) for port in self._ports):
            if self._child.poll() is not None or time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise ServerFailed(f"{self._argv[4]}: {self._log.read_text()[-2000:]}")
            time.sleep(0.01)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Returns when it is gone; does nothing if it is not running."""
        if self._child is None:
            return
        self._child.send_signal(how)
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child = None


class Server(Protocol):
    """What can be started, which may fail with `ServerFailed`, and stopped, and again."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


S = TypeVar("S", bound=Server)


@contextlib.contextmanager
def running(make: Callable[[pathlib.Path], S], directory: pathlib.Path) -> Iterator[S]:
    """What *make* makes of the new *directory*, started, and stopped at the end; `ServerFailed`."""
    directory.mkdir()
    server = make(directory)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
