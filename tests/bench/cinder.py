# SPDX-License-Identifier: Apache-2.0
"""How fast images in Cinder are beside the RBD images their volumes are.

    sudo .venv/bin/python tests/bench/cinder.py [write] [read] [attach]

An image through the mount, and the same bytes by librbd driven from Python with 8 aio of 8 MiB in
flight (with md5 and sha512 beside them for writing, as storefs computes them); both sides in
turns, caches dropped before each. "attach" is the first read of 4 KiB: what is paid once. Run by
hand on a quiet machine, as root; nothing here is a test.
"""

import argparse
import contextlib
import pathlib
import sys
from collections.abc import Iterator

# In the place of this directory, whose rbd.py would hide librbd's.
sys.path.remove(str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.bench import comparison, machine, plain_rbd
from tests.bench.comparison import Figures, read_through, run, timed, watched
from tests.servers import shared
from tests.servers.cinder_client import Project


class Bench(comparison.Bench):
    """A project with one image, which `upload` makes."""

    def __init__(self, scratch: pathlib.Path, given: argparse.Namespace) -> None:
        self.project = Project(shared.cinder())
        super().__init__(scratch, given, "cinder", self.project.options)

    def upload(self) -> None:
        """Have the source there as ``image``."""
        with self.storefs() as (store, _):
            run("cp", self.source, store / "image")


def write(bench: Bench) -> Iterator[str]:
    """cp of the image."""

    def ours() -> Figures:
        machine.drop_caches()
        figures = bench.copied(bench.storefs)
        bench.project.remove("written")
        return figures

    def librbd() -> Figures:
        machine.drop_caches()
        volume_id = bench.project.put("plain", b"")
        run("cat", bench.source)
        with bench.project.image(volume_id) as image:
            figures = timed(lambda: plain_rbd.write(image, bench.source, hashing=True))
        bench.project.remove("plain")
        return figures

    yield from bench.compare("write", {"librbd": librbd, "storefs": ours})


def read(bench: Bench) -> Iterator[str]:
    """A cold sequential read of a volume that is attached."""
    bench.upload()

    def ours() -> Figures:
        with bench.storefs() as (store, pid), (store / "image").open("rb", buffering=0) as image:
            image.read(4096)
            machine.drop_caches()
            return watched(pid, lambda: read_through(store / "image"))

    def librbd() -> Figures:
        machine.drop_caches()
        with bench.project.image(bench.project.volume_of("image").id) as image:
            return timed(lambda: plain_rbd.read(image, bench.size))

    yield from bench.compare("read", {"librbd": librbd, "storefs": ours})
    bench.project.remove("image")


def attach(bench: Bench) -> Iterator[str]:
    """The first read of 4 KiB, and the second."""
    bench.upload()
    with bench.storefs() as (store, _):
        image = store / "image"
        image.stat()

        def first() -> None:
            with image.open("rb", buffering=0) as file:
                file.read(4096)

        seconds = [timed(first)["s"] for _ in range(2)]
    yield f"attach: first read of 4 KiB {seconds[0]:.2f} s, the second {seconds[1]:.3f} s"
    bench.project.remove("image")


BENCHES = {"write": write, "read": read, "attach": attach}


@contextlib.contextmanager
def made(scratch: pathlib.Path, given: argparse.Namespace) -> Iterator[Bench]:
    yield Bench(scratch, given)


if __name__ == "__main__":
    comparison.print_all(comparison.store_arguments(__doc__, BENCHES).parse_args(), BENCHES, made)
