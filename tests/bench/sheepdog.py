# SPDX-License-Identifier: Apache-2.0
"""How fast a Sheepdog store is beside plain requests to the same sheep.

    sudo .venv/bin/python tests/bench/sheepdog.py [write] [read] [--server HOST:PORT]

Both sides in one go, as ratios, against a fake sheep in a process of its own, or a
real one. "Plain" is what the protocol gives: whole objects on as many connections as
storefs uses, without hashes and without a mount. The fake is Python, so it costs
as much as the client; with two processors both sides share them with it. Run by
hand on a quiet machine, as root; nothing here is a test.
"""

import argparse
import contextlib
import os
import pathlib
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.bench import machine
from tests.servers.process import Process, free_port
from tests.servers.sheep_client import SheepClient, inode

MiB = 1024 * 1024
OBJECT = 4 * MiB

CONFIG = """\
[DEFAULT]
enabled_backends = bench:sheepdog
[glance_store]
default_backend = bench
[bench]
sheepdog_store_address = {host}
sheepdog_store_port = {port}
sheepdog_store_connections = {lanes}
sheepdog_store_prefix = storefs-bench-
"""


class Plain:
    """*lanes* connections; each asks for one object after the other."""

    def __init__(self, host: str, port: int, lanes: int) -> None:
        self.client = SheepClient(host, port)
        self.lanes = [socket.create_connection((host, port)) for _ in range(lanes)]
        for lane in self.lanes:
            lane.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def write(self, vid: int, source: memoryview) -> None:
        def run(first: int) -> None:
            for number in range(first, len(source) // OBJECT, len(self.lanes)):
                data = source[number * OBJECT : (number + 1) * OBJECT]
                self._ask(self.lanes[first], 0x01, vid << 32 | number, OBJECT, data)

        self._all(run)
        entries = vid.to_bytes(4, "little") * (len(source) // OBJECT)
        self.client.write(inode(vid), entries, 4664)

    def read(self, vid: int, size: int) -> None:
        def run(first: int) -> None:
            buffer = memoryview(bytearray(OBJECT))
            for number in range(first, size // OBJECT, len(self.lanes)):
                self._ask(self.lanes[first], 0x02, vid << 32 | number, OBJECT, None, buffer)

        self._all(run)

    def _all(self, run: Callable[[int], None]) -> None:
        with ThreadPoolExecutor(len(self.lanes)) as pool:
            list(pool.map(run, range(len(self.lanes))))

    @staticmethod
    def _ask(
        lane: socket.socket,
        opcode: int,
        oid: int,
        length: int,
        data: memoryview | None,
        into: memoryview | None = None,
    ) -> None:
        head = struct.pack(
            "<BBHIIIQQIIII", 2, opcode, data is not None, 0, 1, length, oid, *[0] * 5
        )
        lane.sendall(head)
        if data is not None:
            lane.sendall(data)
        for view in filter(None, (memoryview(bytearray(48)), into)):
            while view:
                count = lane.recv_into(view)
                assert count
                view = view[count:]


class Bench:
    """A cluster, the mounts over it, and the plain way to it."""

    def __init__(
        self, scratch: pathlib.Path, where: tuple[str, int], given: argparse.Namespace
    ) -> None:
        self.scratch = scratch
        self.rounds, self.quiet, self.size = given.rounds, given.quiet, given.size * MiB
        self.plain = Plain(*where, given.lanes)
        self.config = scratch / "storefs.conf"
        self.config.write_text(CONFIG.format(host=where[0], port=where[1], lanes=given.lanes))
        self.source = scratch / "source"
        with self.source.open("wb") as file:
            for _ in range(given.size):
                file.write(os.urandom(MiB))

    @contextlib.contextmanager
    def storefs(self) -> Iterator[tuple[pathlib.Path, int]]:
        """A fresh mount: the store's directory and the pid."""
        mountpoint = self.scratch / "storefs"
        with machine.mounted(machine.storefs(self.config, mountpoint), mountpoint) as pid:
            yield mountpoint / "bench", pid

    def in_turns(self, title: str, sides: dict[str, Callable[[], float]]) -> Iterator[str]:
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(self.rounds):
            for name, side in sides.items():
                machine.await_quiet(self.quiet)
                taken[name].append(side())
        medians = {name: statistics.median(runs) for name, runs in taken.items()}
        for name, seconds in medians.items():
            speed = self.size / MiB / seconds
            runs = ", ".join(f"{run:.2f} s" for run in taken[name])
            yield f"{title:<16}{name:<9}{speed:7.0f} MiB/s  ({runs})"
        yield f"{title:<16}storefs is {medians['plain'] / medians['storefs']:.2f} of plain"

    def write(self) -> Iterator[str]:
        """cp of the source, md5 and sha512 included."""

        def plain() -> float:
            vid = self.plain.client.create(b"storefs-bench-plain", self.size)
            source = memoryview(self.source.read_bytes())
            begun = time.monotonic()
            self.plain.write(vid, source)
            seconds = time.monotonic() - begun
            self.plain.client.delete(b"storefs-bench-plain")
            return seconds

        def ours() -> float:
            with self.storefs() as (directory, pid):
                subprocess.run(["cat", self.source], stdout=subprocess.DEVNULL, check=True)
                seconds, cpu = _timed(pid, "cp", self.source, directory / "written")
                (directory / "written").unlink()
                print(f"  CPU of storefs {cpu:.2f} s, peak {machine.peak_rss(pid):.0f} MiB")
                return seconds

        yield from self.in_turns("write", {"plain": plain, "storefs": ours})

    def read(self) -> Iterator[str]:
        """A cold sequential read."""
        vid = self.plain.client.create(b"storefs-bench-image", self.size)
        self.plain.write(vid, memoryview(self.source.read_bytes()))

        def plain() -> float:
            begun = time.monotonic()
            self.plain.read(vid, self.size)
            return time.monotonic() - begun

        def ours() -> float:
            with self.storefs() as (directory, pid):
                dd = ("dd", f"if={directory / 'image'}", "of=/dev/null", "bs=1M", "status=none")
                seconds, cpu = _timed(pid, *dd)
                print(f"  CPU of storefs {cpu:.2f} s, peak {machine.peak_rss(pid):.0f} MiB")
                return seconds

        yield from self.in_turns("read, cold", {"plain": plain, "storefs": ours})
        self.plain.client.delete(b"storefs-bench-image")


def _timed(pid: int, *command: object) -> tuple[float, float]:
    """Seconds, and CPU seconds of process *pid*."""
    begun, cpu = time.monotonic(), machine.cpu_seconds(pid)
    subprocess.run([str(word) for word in command], check=True)
    return time.monotonic() - begun, machine.cpu_seconds(pid) - cpu


@contextlib.contextmanager
def server(given: str, scratch: pathlib.Path) -> Iterator[tuple[str, int]]:
    """Where the sheep is: the one that is named, or a fake one."""
    if given:
        host, _, port = given.rpartition(":")
        yield host, int(port)
        return
    port_ = free_port()
    command = [sys.executable, "-m", "tests.servers.sheep", str(port_)]
    fake = Process(command, [port_], scratch / "sheep.log")
    fake.start()
    try:
        yield "127.0.0.1", port_
    finally:
        fake.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", choices=[[], "write", "read"], default=[])
    parser.add_argument("--server", default="", help="HOST:PORT of a real sheep")
    parser.add_argument("--dir", default="/var/tmp", help="where the source is written")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lanes", type=int, default=4, help="connections, on both sides")
    parser.add_argument("--size", type=int, default=1024, help="MiB; a multiple of 4")
    parser.add_argument("--quiet", type=float, default=1.5, help="start below this load")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.dir) as scratch:
        directory = pathlib.Path(scratch)
        with server(given.server, directory) as where:
            print(f"load before: {machine.load():.2f}")
            bench = Bench(directory, where, given)
            for name in given.what or ("write", "read"):
                for line in getattr(bench, name)():
                    print(line, flush=True)
            print(f"load at the end: {machine.load():.2f}")


if __name__ == "__main__":
    main()
