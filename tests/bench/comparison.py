# SPDX-License-Identifier: Apache-2.0
"""Sides that take turns, so that noise meets them all, and what is printed of them."""

import argparse
import contextlib
import os
import pathlib
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tests.bench import machine
from tests.mount.mounting import configuration

KiB = 1024
MiB = 1024 * KiB

#: What is read at once at random, bytes, and how often.
PIECE = 64 * KiB
PIECES = 200

#: Of one run of one side: seconds, and of a mount CPU seconds and resident MiB.
Figures = dict[str, float]
Side = Callable[[], Figures]

#: Mounts afresh: gives the images' directory and the pid.
MountOf = Callable[[], contextlib.AbstractContextManager[tuple[pathlib.Path, int]]]


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


def timed(work: Callable[[], object]) -> Figures:
    begun = time.monotonic()
    work()
    return {"s": time.monotonic() - begun}


def watched(pid: int, work: Callable[[], object]) -> Figures:
    """The same, and what the process *pid* spends on it."""
    machine.reset_peak(pid)
    cpu = machine.cpu_seconds(pid)
    figures = timed(work)
    return {**figures, "cpu": machine.cpu_seconds(pid) - cpu, "rss": machine.peak_rss(pid)}


def in_turns(sides: Mapping[str, Side], rounds: int, quiet: float) -> dict[str, Figures]:
    """The medians of each side's figures, and of the load before it; *quiet* is waited for."""
    taken: dict[str, list[Figures]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            machine.await_quiet(quiet)
            load = machine.load()
            taken[name].append({**side(), "load": load})
    return {
        name: {figure: statistics.median(r[figure] for r in runs) for figure in runs[0]}
        for name, runs in taken.items()
    }


def random_file(path: pathlib.Path, size_mib: int) -> pathlib.Path:
    """*path*, made of so many MiB that do not compress."""
    with path.open("wb") as file:
        for _ in range(size_mib):
            file.write(os.urandom(MiB))
    return path


def read_through(path: pathlib.Path) -> None:
    """From start to end, to nowhere."""
    run("dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none")


class Bench:
    """A store ``bench`` of *kind*, the mounts over it, and a source to copy.

    *given* is what `store_arguments` allows; its ``--option`` go before *options*.
    """

    def __init__(
        self,
        scratch: pathlib.Path,
        given: argparse.Namespace,
        kind: str,
        options: Mapping[str, object],
    ) -> None:
        self.scratch = scratch
        self.rounds: int = given.rounds
        self.quiet: float = given.quiet
        self.size: int = given.size * MiB
        self.source = random_file(scratch / "source", given.size)
        self._config = scratch / "storefs.conf"
        more = dict(option.split("=", 1) for option in given.option)
        sections = {"glance_store": {"default_backend": "bench"}, "bench": {**options, **more}}
        self._config.write_text(configuration({"bench": kind}, sections))

    @contextlib.contextmanager
    def storefs(self) -> Iterator[tuple[pathlib.Path, int]]:
        """A fresh mount: the store's directory and the pid."""
        mountpoint = self.scratch / "storefs"
        with machine.mounted(machine.storefs(self._config, mountpoint), mountpoint) as pid:
            yield mountpoint / "bench", pid

    def copied(self, mount: MountOf, name: str = "written") -> Figures:
        """cp of the source, which is in the page cache, into a fresh mount."""
        with mount() as (directory, pid):
            run("cat", self.source)
            return watched(pid, lambda: run("cp", self.source, directory / name))

    def read_cold(self, mount: MountOf, warm: Callable[[], object] = lambda: None) -> Figures:
        """A sequential read of ``image``; *warm* has the server keep it in memory."""
        with mount() as (directory, pid):
            machine.drop_caches()
            warm()
            return watched(pid, lambda: read_through(directory / "image"))

    def offsets(self, seed: int) -> list[int]:
        """Of `PIECES` pieces at random."""
        chance = random.Random(seed)
        return [chance.randrange(self.size // PIECE) * PIECE for _ in range(PIECES)]

    def touched(
        self, mount: MountOf, offsets: list[int], threads: int, warm: Callable[[], object]
    ) -> Figures:
        """The first reads of ``image``, of one piece at each of *offsets*."""
        with mount() as (directory, pid):
            machine.drop_caches()
            warm()
            descriptor = os.open(directory / "image", os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)

            def all_() -> None:
                with ThreadPoolExecutor(threads) as pool:
                    list(pool.map(lambda offset: os.pread(descriptor, PIECE, offset), offsets))

            try:
                return watched(pid, all_)
            finally:
                os.close(descriptor)

    def compare(
        self,
        title: str,
        sides: Mapping[str, Side],
        unit: Callable[[float], str] | None = None,
    ) -> Iterator[str]:
        """A line for each of *sides*, with the ratio to ``storefs``, which is one of them.

        *unit* shows seconds, by default as the speed of the whole image.
        """
        figures = in_turns(sides, self.rounds, self.quiet)
        ours = figures["storefs"]["s"]
        for name, found in figures.items():
            cost = (
                f"  CPU {found['cpu']:5.2f} s  peak {found['rss']:4.0f} MiB"
                if "rss" in found
                else ""
            )
            ratio = "" if name == "storefs" else f"  storefs is {found['s'] / ours:5.2f} of it"
            shown = (unit or self.mib_s)(found["s"])
            yield f"{title:<26}{name:<13}{shown}  load {found['load']:4.1f}{cost}{ratio}"

    def mib_s(self, seconds: float) -> str:
        return f"{self.size / MiB / seconds:7.0f} MiB/s"


def pieces_s(seconds: float) -> str:
    """The unit of `touched`."""
    return f"{PIECES / seconds:7.0f} 1/s  "


B = TypeVar("B")


def arguments(doc: str, names: Iterable[str], *, rounds: int = 3) -> argparse.ArgumentParser:
    """What every benchmark may be told; *doc* begins with what it is about."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("what", nargs="*", choices=[[], *names], default=[])
    parser.add_argument("--dir", default="/var/tmp", help="where the images are written")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--quiet", type=float, default=1.5, help="start below this load")
    return parser


def store_arguments(doc: str, names: Iterable[str]) -> argparse.ArgumentParser:
    """The same with what a `Bench` has to know."""
    parser = arguments(doc, names)
    parser.add_argument("--size", type=int, default=1024, help="of the image, MiB")
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE of the store")
    return parser


def print_all(
    given: argparse.Namespace,
    benches: Mapping[str, Callable[[B], Iterator[str]]],
    made: Callable[[pathlib.Path, argparse.Namespace], contextlib.AbstractContextManager[B]],
) -> None:
    """What the wanted ones of *benches* say of the one that is *made* in a scratch directory."""
    with (
        tempfile.TemporaryDirectory(dir=given.dir) as scratch,
        made(pathlib.Path(scratch), given) as bench,
    ):
        print(f"load at the start: {machine.load():.2f}")
        for name in given.what or benches:
            for line in benches[name](bench):
                print(line, flush=True)
        print(f"load at the end: {machine.load():.2f}")


def print_each(
    given: argparse.Namespace,
    names: Iterable[str],
    lines: Callable[[str, pathlib.Path], Iterator[str]],
) -> None:
    """The *lines* of each that is wanted of *names*, in a scratch directory of its own."""
    for name in given.what or names:
        with tempfile.TemporaryDirectory(dir=given.dir) as scratch:
            before = machine.load()
            for line in lines(name, pathlib.Path(scratch)):
                print(line, flush=True)
            print(f"       load before and after: {before:.2f}, {machine.load():.2f}\n", flush=True)
