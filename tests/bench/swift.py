# SPDX-License-Identifier: Apache-2.0
"""How fast a Swift store is beside the `swift` command and rclone, at the same server.

    sudo .venv/bin/python tests/bench/swift.py [write] [read]

All sides in one go, in turns, as ratios, against a Swift of its own (installed once).
The command uploads with --segment-size and --use-slo, with as many threads as it
likes; rclone's mount is measured where rclone is installed, and its writes count
until they are uploaded. storefs' writes include md5 and sha512. Run by hand on a
quiet machine, as root; nothing here is a test. Needs about 8 GiB below --dir.
"""

import argparse
import contextlib
import functools
import os
import pathlib
import shutil
import sys
import time
import uuid
from collections.abc import Iterator

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.bench import comparison, machine
from tests.bench.comparison import Figures, MiB, Side, run, timed, watched
from tests.servers.process import running
from tests.servers.swift import Swift
from tests.servers.swift_client import Container, login_v1


class Bench(comparison.Bench):
    """A container, and the ways to bring the image there and back."""

    def __init__(self, scratch: pathlib.Path, given: argparse.Namespace, server: Swift) -> None:
        self.server = server
        self.container = Container(login_v1(server.auth_url, "test:tester", "testing"))
        super().__init__(scratch, given, "swift", self.container.options)
        self.segment: int = given.segment * MiB

    def command(self, *words: object) -> None:
        """The `swift` command."""
        program = self.server.venv / "bin" / "swift"
        login = ("-q", "-A", self.server.auth_url, "-U", "test:tester", "-K", "testing")
        run(program, *login, *words)

    def upload(self) -> None:
        """Have the `swift` command upload the source as ``image``."""
        words = ("upload", self.container.name, self.source, "--object-name", "image")
        self.command(*words, "--segment-size", self.segment, "--use-slo")

    @contextlib.contextmanager
    def rclone(self) -> Iterator[tuple[pathlib.Path, int]]:
        """A fresh mount of rclone; unmounting waits until everything is uploaded."""
        mountpoint = self.scratch / "rclone"
        cache = self.scratch / "cache"
        remote = f":swift,user='test:tester',key=testing,auth='{self.server.auth_url}'"
        remote += f",auth_version=1,chunk_size={self.segment // MiB}Mi:{self.container.name}"
        command = ["rclone", "mount", remote, str(mountpoint), "--cache-dir", str(cache)]
        command += ["--vfs-cache-mode", "writes", "--vfs-write-back", "0s"]
        with machine.mounted([*command, "--config", "/dev/null"], mountpoint) as pid:
            yield mountpoint, pid
        shutil.rmtree(cache, ignore_errors=True)

    def clear(self) -> None:
        """An empty container, and the server's disk settled."""
        for name in (self.container.name, f"{self.container.name}_segments"):
            with contextlib.suppress(AssertionError):
                found = Container(self.container.account, name)
                found.remove()
        self.container.ask("PUT")
        os.sync()

    def warm(self) -> None:
        """Have what the server keeps in memory, for every side alike."""
        for directory, _, files in os.walk(self.server.srv):
            for name in files:
                if name.endswith(".data"):
                    run("cat", os.path.join(directory, name))


def write(bench: Bench) -> Iterator[str]:
    """cp of the image into an empty container."""

    def command() -> Figures:
        bench.clear()
        run("cat", bench.source)
        return timed(bench.upload)

    def storefs() -> Figures:
        bench.clear()
        return bench.copied(bench.storefs)

    def rclone() -> Figures:
        bench.clear()
        run("cat", bench.source)
        with bench.rclone() as (directory, pid):

            def copied() -> None:
                run("cp", bench.source, directory / "image")
                while "image" not in bench.container.names():
                    time.sleep(0.02)

            return watched(pid, copied)

    sides = {"storefs": storefs, "swift": command}
    yield from bench.compare("write", _with_rclone(sides, rclone))


def read(bench: Bench) -> Iterator[str]:
    """A cold sequential read of the image, as the `swift` command uploaded it, to nowhere."""
    bench.clear()
    bench.upload()

    def command() -> Figures:
        machine.drop_caches()
        bench.warm()
        download = ("download", bench.container.name, "image", "-o", "/dev/null")
        return timed(lambda: bench.command(*download, "--ignore-mtime"))

    sides: dict[str, Side] = {
        "storefs": lambda: bench.read_cold(bench.storefs, bench.warm),
        "swift": command,
    }
    rclone = functools.partial(bench.read_cold, bench.rclone, bench.warm)
    yield from bench.compare("read", _with_rclone(sides, rclone))


def _with_rclone(sides: dict[str, Side], rclone: Side) -> dict[str, Side]:
    return {**sides, "rclone": rclone} if shutil.which("rclone") else sides


BENCHES = {"write": write, "read": read}


@contextlib.contextmanager
def made(scratch: pathlib.Path, given: argparse.Namespace) -> Iterator[Bench]:
    with running(Swift, scratch / f"swift-{uuid.uuid4().hex[:8]}") as server:
        yield Bench(scratch, given, server)


if __name__ == "__main__":
    parser = comparison.store_arguments(__doc__, BENCHES)
    parser.add_argument("--segment", type=int, default=64, help="of the others, MiB")
    comparison.print_all(parser.parse_args(), BENCHES, made)
