# SPDX-License-Identifier: Apache-2.0
"""How fast a vmware store is beside plain requests to the same server.

    sudo .venv/bin/python tests/bench/vmware.py [write] [read] [random]

Both sides in one go, as ratios, against a vcsim of its own over TLS (built once;
a minute). "Plain" is what the network and the server give: one PUT of the whole,
and ranged GETs of 8 MiB on as many connections as storefs uses, without hashes
and without a mount. Run by hand on a quiet machine, as root; nothing here is a
test. Needs about 4 GiB below --dir.
"""

import argparse
import contextlib
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

import urllib3

from tests.bench import machine
from tests.servers.vcsim import ImageDirectory, Vcsim

KiB = 1024
MiB = 1024 * KiB
BLOCK = 8 * MiB

#: storefs' default for pieces of one image under way.
READ_LANES = 3

CONFIG = """\
[DEFAULT]
enabled_backends = bench:vmware
[glance_store]
default_backend = bench
[bench]
vmware_datastores = DC0:LocalDS_0
"""


class Bench:
    """A simulated vCenter, the mounts over it, and the plain way to it."""

    def __init__(self, scratch: pathlib.Path, server: Vcsim, arguments: argparse.Namespace) -> None:
        self.scratch = scratch
        self.rounds: int = arguments.rounds
        self.quiet: float = arguments.quiet
        self.size: int = arguments.size * MiB
        self.images = ImageDirectory(server)
        self.images.path().mkdir()
        self.pool = urllib3.PoolManager(maxsize=32, ca_certs=str(server.ca_file))
        self.base = f"https://{server.host}/folder/{self.images.name}"
        self.config = scratch / "storefs.conf"
        options = {k: v for k, v in self.images.options.items() if k != "vmware_datastores"}
        given = "".join(f"{name} = {value}\n" for name, value in options.items())
        self.config.write_text(CONFIG + given + "\n".join(arguments.option) + "\n")
        self.source = scratch / "source"
        with self.source.open("wb") as file:
            for _ in range(arguments.size):
                file.write(os.urandom(MiB))

    def url(self, name: str) -> str:
        return f"{self.base}/{name}?dcPath=DC0&dsName=LocalDS_0"

    @contextlib.contextmanager
    def storefs(self) -> Iterator[tuple[pathlib.Path, int]]:
        """A fresh mount: the store's directory and the pid."""
        mountpoint = self.scratch / "storefs"
        with machine.mounted(machine.storefs(self.config, mountpoint), mountpoint) as pid:
            yield mountpoint / "bench", pid

    def compare(
        self, title: str, unit: Callable[[float], str], **sides: Callable[[], dict[str, float]]
    ) -> Iterator[str]:
        """The medians of each side's figures; the sides take turns."""
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for _ in range(self.rounds):
            for name, side in sides.items():
                machine.await_quiet(self.quiet)
                taken[name].append(side())
        medians = {
            name: {figure: statistics.median(r[figure] for r in runs) for figure in runs[0]}
            for name, runs in taken.items()
        }
        for name, found in medians.items():
            line = f"{title:<26}{name:<8}{unit(found['s'])}"
            if "rss" in found:
                line += f"  CPU {found['cpu']:5.2f} s  peak {found['rss']:4.0f} MiB"
            else:
                line += f"  storefs is {found['s'] / medians['storefs']['s']:5.2f} of it"
            yield line

    def mib_s(self, seconds: float) -> str:
        return f"{self.size / MiB / seconds:7.0f} MiB/s"


def watched(pid: int, work: Callable[[], object]) -> dict[str, float]:
    """Seconds *work* takes, and what the process *pid* spends on it."""
    machine.reset_peak(pid)
    begun, cpu = time.monotonic(), machine.cpu_seconds(pid)
    work()
    seconds = time.monotonic() - begun
    return {"s": seconds, "cpu": machine.cpu_seconds(pid) - cpu, "rss": machine.peak_rss(pid)}


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


def write(bench: Bench) -> Iterator[str]:
    """cp of the image, with md5 and sha512 where it is storefs'."""

    def plain() -> dict[str, float]:
        begun = time.monotonic()
        with bench.source.open("rb") as file:
            headers = {"Content-Length": str(bench.size)}
            pieces = iter(lambda: file.read(MiB), b"")
            answer = bench.pool.request("PUT", bench.url("plain"), body=pieces, headers=headers)
        assert answer.status == 200
        return {"s": time.monotonic() - begun}

    def copied() -> dict[str, float]:
        with bench.storefs() as (directory, pid):
            run("cat", bench.source)
            return watched(pid, lambda: run("cp", bench.source, directory / "written"))

    yield from bench.compare("write", bench.mib_s, storefs=copied, plain=plain)


def read(bench: Bench) -> Iterator[str]:
    """A cold sequential read; the server's own cache is warm."""
    url = bench.url("image")

    def plain() -> dict[str, float]:
        def piece(number: int) -> int:
            ranged = {"Range": f"bytes={number * BLOCK}-{(number + 1) * BLOCK - 1}"}
            return len(bench.pool.request("GET", url, headers=ranged).data)

        begun = time.monotonic()
        with ThreadPoolExecutor(READ_LANES) as pool:
            assert sum(pool.map(piece, range(bench.size // BLOCK))) == bench.size
        return {"s": time.monotonic() - begun}

    def cold() -> dict[str, float]:
        with bench.storefs() as (directory, pid):
            machine.drop_caches()
            plain()
            dd = ("dd", f"if={directory / 'image'}", "of=/dev/null", "bs=1M", "status=none")
            return watched(pid, lambda: run(*dd))

    bench.images.put("image", bench.source.read_bytes())
    yield from bench.compare("read, cold", bench.mib_s, storefs=cold, plain=plain)


def random_(bench: Bench) -> Iterator[str]:
    """200 reads of 64 KiB at random, first touch, one after the other."""
    url = bench.url("image")
    chance = random.Random(1)
    offsets = [chance.randrange(bench.size // (64 * KiB)) * 64 * KiB for _ in range(200)]

    def plain() -> dict[str, float]:
        begun = time.monotonic()
        for offset in offsets:
            ranged = {"Range": f"bytes={offset}-{offset + 64 * KiB - 1}"}
            assert len(bench.pool.request("GET", url, headers=ranged).data) == 64 * KiB
        return {"s": time.monotonic() - begun}

    def touched() -> dict[str, float]:
        with bench.storefs() as (directory, pid):
            machine.drop_caches()
            plain()
            descriptor = os.open(directory / "image", os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
            try:
                return watched(
                    pid, lambda: [os.pread(descriptor, 64 * KiB, offset) for offset in offsets]
                )
            finally:
                os.close(descriptor)

    bench.images.put("image", bench.source.read_bytes())
    yield from bench.compare(
        "64 KiB at random", lambda s: f"{200 / s:7.0f} 1/s  ", storefs=touched, plain=plain
    )


BENCHES = {"write": write, "read": read, "random": random_}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", choices=[[], *BENCHES], default=[])
    parser.add_argument("--dir", default="/var/tmp", help="where the images are written")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=1024, help="of the image, MiB")
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE of the store")
    parser.add_argument("--quiet", type=float, default=1.5, help="start below this load")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as scratch:
        directory = pathlib.Path(scratch)
        server = Vcsim(directory)
        server.start()
        try:
            bench = Bench(directory, server, arguments)
            for name in arguments.what or BENCHES:
                for line in BENCHES[name](bench):
                    print(line, flush=True)
            print(f"load at the end: {machine.load():.2f}")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
