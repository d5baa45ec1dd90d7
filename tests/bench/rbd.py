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
import contextlib
import pathlib
import shutil
import sys
from collections.abc import Iterator

# In the place of this directory, whose rbd.py would hide librbd's.
sys.path.remove(str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.bench import comparison, machine, plain_rbd
from tests.bench.comparison import Figures, Side, run, timed, watched
from tests.servers.rbd_pool import RbdPool, own_pool


class Bench(comparison.Bench):
    """A pool, and the ways to it."""

    def __init__(self, scratch: pathlib.Path, given: argparse.Namespace, pool: RbdPool) -> None:
        options = {"rbd_store_ceph_conf": pool.ceph.conf, "rbd_store_user": "admin"}
        super().__init__(scratch, given, "rbd", options)
        self.pool = pool

    @contextlib.contextmanager
    def rbd_fuse(self) -> Iterator[tuple[pathlib.Path, int]]:
        mountpoint = self.scratch / "rbd-fuse"
        command = ["rbd-fuse", "-f", "-c", str(self.pool.ceph.conf), "-p", "images"]
        with machine.mounted([*command, str(mountpoint)], mountpoint) as pid:
            yield mountpoint, pid

    def create(self, name: str) -> None:
        with contextlib.suppress(self.pool.rbd.ImageNotFound):
            self.pool.remove(name)
        self.pool.put(name, b"", features=61)
        with self.pool.image(name) as image:
            image.resize(self.size)


def write(bench: Bench) -> Iterator[str]:
    """The image, that is in the page cache, into the pool."""

    def librbd(*, hashing: bool) -> Figures:
        bench.create("plain")
        machine.drop_caches()
        run("cat", bench.source)

        def copy() -> None:
            with bench.pool.image("plain") as image:
                plain_rbd.write(image, bench.source, hashing=hashing)

        return timed(copy)

    def ours() -> Figures:
        machine.drop_caches()
        return bench.copied(bench.storefs)

    def theirs() -> Figures:
        bench.create("fuse")
        machine.drop_caches()
        with bench.rbd_fuse() as (directory, pid):
            run("cat", bench.source)
            target = directory / "fuse"
            dd = ("dd", f"if={bench.source}", f"of={target}", "bs=1M", "conv=notrunc,fsync")
            return watched(pid, lambda: run(*dd, "status=none"))

    yield from bench.compare(
        "write",
        {
            "storefs": ours,
            **_where_installed({"rbd-fuse": theirs}),
            "librbd": lambda: librbd(hashing=False),
            "librbd+hash": lambda: librbd(hashing=True),
        },
    )


def read(bench: Bench) -> Iterator[str]:
    """A cold sequential read."""
    bench.create("image")
    with bench.pool.image("image") as image:
        plain_rbd.write(image, bench.source, hashing=False)
        image.create_snap("snap")

    def librbd() -> Figures:
        machine.drop_caches()

        def whole() -> None:
            with bench.pool.image("image", snapshot="snap", read_only=True) as image:
                plain_rbd.read(image, bench.size)

        return timed(whole)

    yield from bench.compare(
        "read",
        {
            "storefs": lambda: bench.read_cold(bench.storefs),
            **_where_installed({"rbd-fuse": lambda: bench.read_cold(bench.rbd_fuse)}),
            "librbd": librbd,
        },
    )


def _where_installed(sides: dict[str, Side]) -> dict[str, Side]:
    return {program: side for program, side in sides.items() if shutil.which(program)}


BENCHES = {"write": write, "read": read}


@contextlib.contextmanager
def made(scratch: pathlib.Path, given: argparse.Namespace) -> Iterator[Bench]:
    with own_pool(scratch / "ceph") as pool:
        yield Bench(scratch, given, pool)


if __name__ == "__main__":
    comparison.print_all(comparison.store_arguments(__doc__, BENCHES).parse_args(), BENCHES, made)
