# SPDX-License-Identifier: Apache-2.0
"""How fast images in Cinder are beside the RBD images their volumes are.

    sudo .venv/bin/python tests/bench/cinder.py

1 GiB through the mount, and the same bytes by librbd driven from Python with 8 aio of 8 MiB in
flight (with md5 and sha512 beside them for writing, as storefs computes them); both sides in
turns, caches dropped before each. "attach" is the first read of 4 KiB: what is paid once. Run by
hand on a quiet machine, as root; nothing here is a test.
"""

import argparse
import collections
import contextlib
import hashlib
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# this directory has an rbd.py that is not Ceph's
sys.path.remove(str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.bench import machine
from tests.servers import shared
from tests.servers.cinder_client import Project

MiB = 1024 * 1024
SIZE = 1024 * MiB
BLOCK = 8 * MiB
IN_FLIGHT = 8


class Bench:
    """A project with one image, and a source to copy."""

    def __init__(self, scratch: pathlib.Path) -> None:
        self.project = Project(shared.cinder())
        self.source = scratch / "source"
        with self.source.open("wb") as file:
            for _ in range(SIZE // MiB):
                file.write(os.urandom(MiB))
        self._scratch = scratch
        self._config = scratch / "storefs.conf"
        lines = [f"{name} = {value}" for name, value in self.project.options.items()]
        self._config.write_text(
            "[DEFAULT]\nenabled_backends = bench:cinder\n"
            "[glance_store]\ndefault_backend = bench\n[bench]\n" + "\n".join(lines) + "\n"
        )

    @contextlib.contextmanager
    def mounted(self) -> Iterator[pathlib.Path]:
        mountpoint = self._scratch / "mnt"
        with machine.mounted(machine.storefs(self._config, mountpoint), mountpoint):
            yield mountpoint / "bench"

    def ours_write(self) -> float:
        with self.mounted() as store:
            subprocess.run(["cat", str(self.source)], stdout=subprocess.DEVNULL, check=True)
            begun = time.monotonic()
            subprocess.run(["cp", str(self.source), str(store / "image")], check=True)
            seconds = time.monotonic() - begun
            (store / "image").unlink()
        return seconds

    def librbd_write(self) -> float:
        volume_id = self.project.put("plain", b"")
        digests = [hashlib.md5(), hashlib.sha512()]
        lanes = [ThreadPoolExecutor(1) for _ in digests]
        jobs: list[Any] = []
        subprocess.run(["cat", str(self.source)], stdout=subprocess.DEVNULL, check=True)
        with self.project.image(volume_id) as image, self.source.open("rb") as source:

            def begin(offset: int) -> Any:
                data = source.read(BLOCK)
                jobs.extend(lane.submit(d.update, data) for lane, d in zip(lanes, digests))
                return image.aio_write(data, offset, lambda _: None)

            seconds = _timed(lambda: _pipelined(begin))
            for job in jobs:
                job.result()
        self.project.remove("plain")
        return seconds

    def ours_read(self) -> float:
        with self.mounted() as store, (store / "image").open("rb", buffering=0) as image:
            image.read(4096)
            machine.drop_caches()
            begun = time.monotonic()
            subprocess.run(
                ["dd", f"if={store / 'image'}", "of=/dev/null", "bs=1M", "status=none"],
                check=True,
            )
            return time.monotonic() - begun

    def librbd_read(self) -> float:
        volume = self.project.volume_of("image")
        with self.project.image(volume.id) as image:
            return _timed(
                lambda: _pipelined(lambda o: image.aio_read(o, BLOCK, lambda _c, _data: None))
            )

    def attach(self) -> tuple[float, float]:
        """Seconds for the first read of 4 KiB, and for the second."""
        with self.mounted() as store:
            (store / "image").stat()
            return tuple(_timed(lambda: _first(store / "image")) for _ in range(2))  # type: ignore[return-value]


def _first(image: pathlib.Path) -> None:
    with image.open("rb", buffering=0) as file:
        file.read(4096)


def _timed(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def _pipelined(begin: Callable[[int], Any]) -> None:
    window: collections.deque[Any] = collections.deque()
    for offset in range(0, SIZE, BLOCK):
        if len(window) == IN_FLIGHT:
            window.popleft().wait_for_complete_and_cb()
        window.append(begin(offset))
    while window:
        window.popleft().wait_for_complete_and_cb()


def _compare(what: str, rounds: int, quiet: float, ours: Any, theirs: Any) -> None:
    taken: dict[str, list[float]] = {"storefs": [], "librbd": []}
    for _ in range(rounds):
        for name, side in (("librbd", theirs), ("storefs", ours)):
            machine.await_quiet(quiet)
            machine.drop_caches()
            taken[name].append(side())
    median = {name: statistics.median(seconds) for name, seconds in taken.items()}
    speed = {name: SIZE / MiB / seconds for name, seconds in median.items()}
    print(
        f"{what:<6} storefs {speed['storefs']:5.0f} MiB/s  librbd {speed['librbd']:5.0f} MiB/s  "
        f"ratio {speed['storefs'] / speed['librbd']:4.2f}  load {machine.load():4.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quiet", type=float, default=1.0, help="wait for a load below this")
    parser.add_argument("--dir", default=None, help="where the source is put")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as scratch:
        bench = Bench(pathlib.Path(scratch))
        _compare("write", arguments.rounds, arguments.quiet, bench.ours_write, bench.librbd_write)
        with bench.mounted() as store:
            subprocess.run(["cp", str(bench.source), str(store / "image")], check=True)
        _compare("read", arguments.rounds, arguments.quiet, bench.ours_read, bench.librbd_read)
        first, second = bench.attach()
        print(f"attach first read of 4 KiB {first:.2f} s, the second {second:.3f} s")


if __name__ == "__main__":
    main()
