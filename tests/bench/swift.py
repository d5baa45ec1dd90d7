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
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.bench import machine
from tests.servers.swift import Swift
from tests.servers.swift_client import Container, login_v1

MiB = 1024 * 1024

#: Figures of one run of one side: seconds, and of mounts CPU seconds and resident MiB.
Figures = dict[str, float]

CONFIG = """\
[DEFAULT]
enabled_backends = bench:swift
[glance_store]
default_backend = bench
[bench]
swift_store_auth_address = {server.auth_url}
swift_store_auth_version = 1
swift_store_user = test:tester
swift_store_key = testing
swift_store_container = {container}
"""


class Bench:
    """A container, an image of *size* MiB, and the ways to bring it there and back."""

    def __init__(self, scratch: pathlib.Path, server: Swift, arguments: argparse.Namespace) -> None:
        self.scratch = scratch
        self.server = server
        self.size: int = arguments.size
        self.rounds: int = arguments.rounds
        self.quiet: float = arguments.quiet
        self.segment: int = arguments.segment * MiB
        self.container = Container(login_v1(server.auth_url, "test:tester", "testing"))
        self.config = scratch / "storefs.conf"
        text = CONFIG.format(server=server, container=self.container.name)
        self.config.write_text(text + "\n".join(arguments.option) + "\n")
        self.source = scratch / "source"
        with self.source.open("wb") as file:
            for _ in range(self.size):
                file.write(os.urandom(MiB))

    def command(self, *arguments: object) -> None:
        """The `swift` command."""
        program = self.server.venv / "bin" / "swift"
        login = ("-q", "-A", self.server.auth_url, "-U", "test:tester", "-K", "testing")
        run(program, *login, *arguments)

    @contextlib.contextmanager
    def storefs(self) -> Iterator[tuple[pathlib.Path, int]]:
        """A fresh mount: the images' directory and the pid."""
        mountpoint = self.scratch / "storefs"
        with machine.mounted(machine.storefs(self.config, mountpoint), mountpoint) as pid:
            yield mountpoint / "bench", pid

    @contextlib.contextmanager
    def rclone(self) -> Iterator[tuple[pathlib.Path, int]]:
        """The same of rclone; unmounting waits until everything is uploaded."""
        mountpoint = self.scratch / "rclone"
        cache = self.scratch / "cache"
        remote = f":swift,user='test:tester',key=testing,auth='{self.server.auth_url}'"
        remote += f",auth_version=1,chunk_size={self.segment // MiB}Mi:{self.container.name}"
        command = ["rclone", "mount", remote, str(mountpoint), "--cache-dir", str(cache)]
        command += ["--vfs-cache-mode", "writes", "--vfs-write-back", "0s"]
        with machine.mounted([*command, "--config", "/dev/null"], mountpoint) as pid:
            yield mountpoint, pid
        shutil.rmtree(cache, ignore_errors=True)

    def in_turns(self, sides: dict[str, Callable[[], Figures]]) -> dict[str, Figures]:
        """The medians of each side's figures; the sides take turns."""
        taken: dict[str, list[Figures]] = {name: [] for name in sides}
        for _ in range(self.rounds):
            for name, side in sides.items():
                machine.await_quiet(self.quiet)
                taken[name].append(side())
        return {
            name: {figure: statistics.median(r[figure] for r in runs) for figure in runs[0]}
            for name, runs in taken.items()
        }

    def clear(self) -> None:
        """An empty container, and the server's disk settled."""
        for name in (self.container.name, f"{self.container.name}_segments"):
            with contextlib.suppress(AssertionError):
                found = Container(self.container.account, name)
                found.remove()
        self.container.ask("PUT")
        os.sync()

    def table(self, title: str, figures: dict[str, Figures]) -> Iterator[str]:
        ours = figures["storefs"]["s"]
        for name, found in figures.items():
            speed = f"{self.size / found['s']:6.0f} MiB/s"
            cost = f"  CPU {found['cpu']:5.2f} s" if "cpu" in found else ""
            memory = f"  peak {found['rss']:4.0f} MiB" if "rss" in found else ""
            ratio = "" if name == "storefs" else f"  storefs is {found['s'] / ours:5.2f} times it"
            yield f"{title:<16}{name:<9}{speed}{cost}{memory}{ratio}"


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


def watched(pid: int, work: Callable[[], object]) -> Figures:
    """Seconds *work* takes, and what the process *pid* spends on it."""
    machine.reset_peak(pid)
    begun, cpu = time.monotonic(), machine.cpu_seconds(pid)
    work()
    seconds = time.monotonic() - begun
    return {"s": seconds, "cpu": machine.cpu_seconds(pid) - cpu, "rss": machine.peak_rss(pid)}


def timed(work: Callable[[], object]) -> Figures:
    begun = time.monotonic()
    work()
    return {"s": time.monotonic() - begun}


def write(bench: Bench) -> Iterator[str]:
    """cp of the image into an empty container."""
    how = ("--segment-size", bench.segment, "--use-slo")

    def command() -> Figures:
        bench.clear()
        run("cat", bench.source)
        upload = ("upload", bench.container.name, bench.source, "--object-name", "image")
        return timed(lambda: bench.command(*upload, *how))

    def storefs() -> Figures:
        bench.clear()
        run("cat", bench.source)
        with bench.storefs() as (directory, pid):
            return watched(pid, lambda: run("cp", bench.source, directory / "image"))

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
    yield from bench.table("write", bench.in_turns(_with_rclone(sides, rclone)))


def read(bench: Bench) -> Iterator[str]:
    """A cold sequential read of the image, as the `swift` command uploaded it, to nowhere."""
    bench.clear()
    upload = ("upload", bench.container.name, bench.source, "--object-name", "image")
    bench.command(*upload, "--segment-size", bench.segment, "--use-slo")

    def cold(mount: Callable[[], contextlib.AbstractContextManager[Any]]) -> Figures:
        with mount() as (directory, pid):
            machine.drop_caches()
            warm(bench)
            dd = ("dd", f"if={directory / 'image'}", "of=/dev/null", "bs=1M", "status=none")
            return watched(pid, lambda: run(*dd))

    def command() -> Figures:
        machine.drop_caches()
        warm(bench)
        download = ("download", bench.container.name, "image", "-o", "/dev/null")
        return timed(lambda: bench.command(*download, "--ignore-mtime"))

    sides = {"storefs": lambda: cold(bench.storefs), "swift": command}
    yield from bench.table("read", bench.in_turns(_with_rclone(sides, lambda: cold(bench.rclone))))


def warm(bench: Bench) -> None:
    """Have what the server keeps in memory, for every side alike."""
    for directory, _, files in os.walk(bench.server.srv):
        for name in files:
            if name.endswith(".data"):
                run("cat", os.path.join(directory, name))


def _with_rclone(
    sides: dict[str, Callable[[], Figures]], rclone: Callable[[], Figures]
) -> dict[str, Callable[[], Figures]]:
    return {**sides, "rclone": rclone} if shutil.which("rclone") else sides


BENCHES = {"write": write, "read": read}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", choices=[[], *BENCHES], default=[])
    parser.add_argument("--dir", default="/var/tmp", help="where the images are written")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=1024, help="of the image, MiB")
    parser.add_argument("--segment", type=int, default=64, help="of the others, MiB")
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE of the store")
    parser.add_argument("--quiet", type=float, default=1.5, help="start below this load")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as scratch:
        directory = pathlib.Path(scratch) / f"swift-{uuid.uuid4().hex[:8]}"
        directory.mkdir()
        server = Swift(directory)
        server.start()
        try:
            bench = Bench(pathlib.Path(scratch), server, arguments)
            print(f"load at the start: {machine.load():.2f}")
            for name in arguments.what or BENCHES:
                for line in BENCHES[name](bench):
                    print(line, flush=True)
            print(f"load at the end: {machine.load():.2f}")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
