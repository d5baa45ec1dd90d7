# SPDX-License-Identifier: Apache-2.0
"""How fast an RBD store is beside rbd-fuse, and beside librbd driven from Python.

    sudo .venv/bin/python tests/bench/rbd.py [write] [read]

All sides in one go, as ratios, against a Ceph of its own. "librbd" is what Ceph gives a
Python program without a mount: 8 aio of 8 MiB in flight; "librbd+hash" computes md5 and sha512
beside it, in two threads, as storefs does. Caches are dropped before each run. Run by hand on a
quiet machine, as root; nothing here is a test. Needs 5 GiB below --dir; rbd-fuse is left out where
it is not installed.
"""

import argparse
import collections
import contextlib
import hashlib
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# In the place of this directory, whose rbd.py would hide librbd's.
sys.path.remove(str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.bench import machine
from tests.servers.rbd_pool import RbdPool, own_pool

MiB = 1024 * 1024
BLOCK = 8 * MiB
SIZE = 1024 * MiB
IN_FLIGHT = 8

CONFIG = """\
[DEFAULT]
enabled_backends = bench:rbd
[glance_store]
default_backend = bench
[bench]
rbd_store_ceph_conf = {conf}
rbd_store_user = admin
"""

Figures = dict[str, float]
Side = Callable[[], Figures]
MountOf = Callable[[], contextlib.AbstractContextManager[tuple[pathlib.Path, int]]]


class Bench:
    """A pool, and the ways to it."""

    def __init__(self, scratch: pathlib.Path, pool: RbdPool, rounds: int, quiet: float) -> None:
        self.scratch = scratch
        self.pool = pool
        self.rounds = rounds
        self.quiet = quiet
        self.config = scratch / "storefs.conf"
        self.config.write_text(CONFIG.format(conf=pool.ceph.conf))
        self.source = scratch / "source"
        with self.source.open("wb") as file:
            for _ in range(SIZE // MiB):
                file.write(os.urandom(MiB))

    @contextlib.contextmanager
    def storefs(self) -> Iterator[tuple[pathlib.Path, int]]:
        mountpoint = self.scratch / "storefs"
        with machine.mounted(machine.storefs(self.config, mountpoint), mountpoint) as pid:
            yield mountpoint / "bench", pid

    @contextlib.contextmanager
    def rbd_fuse(self) -> Iterator[tuple[pathlib.Path, int]]:
        mountpoint = self.scratch / "rbd-fuse"
        command = ["rbd-fuse", "-f", "-c", str(self.pool.ceph.conf), "-p", "images"]
        with machine.mounted([*command, str(mountpoint)], mountpoint) as pid:
            yield mountpoint, pid

    def in_turns(self, sides: dict[str, Side]) -> dict[str, Figures]:
        """The medians of each side's figures; the sides take turns."""
        if shutil.which("rbd-fuse") is None:
            sides = {name: side for name, side in sides.items() if name != "rbd-fuse"}
        taken: dict[str, list[Figures]] = {name: [] for name in sides}
        for _ in range(self.rounds):
            for name, side in sides.items():
                machine.await_quiet(self.quiet)
                machine.drop_caches()
                taken[name].append(side())
        return {
            name: {figure: statistics.median(r[figure] for r in runs) for figure in runs[0]}
            for name, runs in taken.items()
        }

    def create(self, name: str) -> None:
        with contextlib.suppress(self.pool.rbd.ImageNotFound):
            self.pool.remove(name)
        self.pool.put(name, b"", features=61)
        with self.pool.image(name) as image:
            image.resize(SIZE)


def watched(pid: int, work: Callable[[], object]) -> Figures:
    """Seconds *work* takes, and what the process *pid* spends on it."""
    machine.reset_peak(pid)
    load, cpu, begun = machine.load(), machine.cpu_seconds(pid), time.monotonic()
    work()
    seconds = time.monotonic() - begun
    spent = machine.cpu_seconds(pid) - cpu
    return {"s": seconds, "cpu": spent, "rss": machine.peak_rss(pid), "load": load}


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


def table(title: str, figures: dict[str, Figures]) -> Iterator[str]:
    ours = figures["storefs"]["s"]
    for name, found in figures.items():
        cost = (
            f"  CPU {found['cpu']:5.2f} s  peak {found['rss']:4.0f} MiB" if "rss" in found else ""
        )
        ratio = "" if name == "storefs" else f"  storefs is {found['s'] / ours:5.2f} of it"
        speed = f"{SIZE / MiB / found['s']:7.0f} MiB/s"
        yield f"{title:<8}{name:<13}{speed}  load {found['load']:4.1f}{cost}{ratio}"


def pipelined(begin: Callable[[int], Any]) -> None:
    """Eight aio in flight, and the oldest waited for."""
    window: collections.deque[Any] = collections.deque()
    for offset in range(0, SIZE, BLOCK):
        if len(window) == IN_FLIGHT:
            wait(window.popleft())
        window.append(begin(offset))
    while window:
        wait(window.popleft())


def wait(completion: Any) -> None:
    completion.wait_for_complete_and_cb()
    if completion.get_return_value() < 0:
        raise SystemExit("librbd failed")


def write(bench: Bench) -> Iterator[str]:
    """A file of 1 GiB, that is in the page cache, into the pool."""

    def librbd(*, hashing: bool) -> Figures:
        bench.create("plain")
        run("cat", bench.source)
        load, begun = machine.load(), time.monotonic()
        digests = [hashlib.md5(), hashlib.sha512()] if hashing else []
        with contextlib.ExitStack() as stack:
            lanes = [stack.enter_context(ThreadPoolExecutor(1)) for _ in digests]
            file = stack.enter_context(bench.source.open("rb", buffering=0))
            image = stack.enter_context(bench.pool.image("plain"))
            jobs: collections.deque[Any] = collections.deque()

            def begin(offset: int) -> Any:
                data = file.read(BLOCK)
                jobs.extend(lane.submit(d.update, data) for lane, d in zip(lanes, digests))
                while len(jobs) > 2 * IN_FLIGHT:
                    jobs.popleft().result()
                return image.aio_write(data, offset, lambda _completion: None)

            pipelined(begin)
            image.flush()
        return {"s": time.monotonic() - begun, "load": load}

    def ours() -> Figures:
        with bench.storefs() as (directory, pid):
            run("cat", bench.source)
            return watched(pid, lambda: run("cp", bench.source, directory / "written"))

    def theirs() -> Figures:
        bench.create("fuse")
        with bench.rbd_fuse() as (directory, pid):
            run("cat", bench.source)
            dd = (
                "dd",
                f"if={bench.source}",
                f"of={directory / 'fuse'}",
                "bs=1M",
                "conv=notrunc,fsync",
            )
            return watched(pid, lambda: run(*dd, "status=none"))

    sides: dict[str, Side] = {
        "storefs": ours,
        "rbd-fuse": theirs,
        "librbd": lambda: librbd(hashing=False),
        "librbd+hash": lambda: librbd(hashing=True),
    }
    yield from table("write", bench.in_turns(sides))


def read(bench: Bench) -> Iterator[str]:
    """A cold sequential read of 1 GiB."""
    bench.create("image")
    with bench.pool.image("image") as image, bench.source.open("rb") as file:
        for offset in range(0, SIZE, BLOCK):
            image.write(file.read(BLOCK), offset)
        image.create_snap("snap")

    def librbd() -> Figures:
        load, begun = machine.load(), time.monotonic()
        with bench.pool.image("image", snapshot="snap", read_only=True) as image:
            pipelined(lambda offset: image.aio_read(offset, BLOCK, lambda _completion, _data: None))
        return {"s": time.monotonic() - begun, "load": load}

    def cold(mount: MountOf) -> Figures:
        with mount() as (directory, pid):
            dd = ("dd", f"if={directory / 'image'}", "of=/dev/null", "bs=1M", "status=none")
            return watched(pid, lambda: run(*dd))

    sides: dict[str, Side] = {
        "storefs": lambda: cold(bench.storefs),
        "rbd-fuse": lambda: cold(bench.rbd_fuse),
        "librbd": librbd,
    }
    yield from table("read", bench.in_turns(sides))


BENCHES = {"write": write, "read": read}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", choices=[[], *BENCHES], default=[])
    parser.add_argument("--dir", default="/var/tmp", help="where the images are written")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE of the store")
    parser.add_argument("--quiet", type=float, default=1.5, help="start below this load")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as scratch:
        directory = pathlib.Path(scratch)
        with own_pool(directory / "ceph") as pool:
            bench = Bench(directory, pool, arguments.rounds, arguments.quiet)
            with bench.config.open("a") as config:
                config.writelines(f"{option}\n" for option in arguments.option)
            for name in arguments.what or BENCHES:
                for line in BENCHES[name](bench):
                    print(line, flush=True)


if __name__ == "__main__":
    main()
