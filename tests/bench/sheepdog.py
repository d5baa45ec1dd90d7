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
import pathlib
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.bench import comparison
from tests.bench.comparison import Figures, MiB, Side, timed
from tests.servers.process import Process, free_port, running
from tests.servers.sheep_client import SheepClient, inode

OBJECT = 4 * MiB


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


class Bench(comparison.Bench):
    """A cluster, the mounts over it, and the plain way to it."""

    def __init__(
        self, scratch: pathlib.Path, given: argparse.Namespace, where: tuple[str, int]
    ) -> None:
        host, port = where
        options = {
            "sheepdog_store_address": host,
            "sheepdog_store_port": port,
            "sheepdog_store_connections": given.lanes,
            "sheepdog_store_prefix": "storefs-bench-",
        }
        super().__init__(scratch, given, "sheepdog", options)
        self.plain = Plain(host, port, given.lanes)


def write(bench: Bench) -> Iterator[str]:
    """cp of the source, md5 and sha512 included."""

    def plain() -> Figures:
        vid = bench.plain.client.create(b"storefs-bench-plain", bench.size)
        source = memoryview(bench.source.read_bytes())
        figures = timed(lambda: bench.plain.write(vid, source))
        bench.plain.client.delete(b"storefs-bench-plain")
        return figures

    def ours() -> Figures:
        figures = bench.copied(bench.storefs)
        bench.plain.client.delete(b"storefs-bench-written")
        return figures

    yield from bench.compare("write", {"plain": plain, "storefs": ours})


def read(bench: Bench) -> Iterator[str]:
    """A cold sequential read."""
    vid = bench.plain.client.create(b"storefs-bench-image", bench.size)
    bench.plain.write(vid, memoryview(bench.source.read_bytes()))

    def plain() -> Figures:
        return timed(lambda: bench.plain.read(vid, bench.size))

    sides: dict[str, Side] = {
        "plain": plain,
        "storefs": lambda: bench.read_cold(bench.storefs),
    }
    yield from bench.compare("read, cold", sides)
    bench.plain.client.delete(b"storefs-bench-image")


BENCHES = {"write": write, "read": read}


@contextlib.contextmanager
def server(given: str, scratch: pathlib.Path) -> Iterator[tuple[str, int]]:
    """Where the sheep is: the one that is named, or a fake one."""
    if given:
        host, _, port = given.rpartition(":")
        yield host, int(port)
        return
    port_ = free_port()
    command = [sys.executable, "-m", "tests.servers.sheep", str(port_)]
    with running(lambda directory: Process(command, [port_], directory / "log"), scratch / "sheep"):
        yield "127.0.0.1", port_


@contextlib.contextmanager
def made(scratch: pathlib.Path, given: argparse.Namespace) -> Iterator[Bench]:
    with server(given.server, scratch) as where:
        yield Bench(scratch, given, where)


if __name__ == "__main__":
    parser = comparison.store_arguments(__doc__, BENCHES)
    parser.add_argument("--server", default="", help="HOST:PORT of a real sheep")
    parser.add_argument("--lanes", type=int, default=4, help="connections, on both sides")
    comparison.print_all(parser.parse_args(), BENCHES, made)
