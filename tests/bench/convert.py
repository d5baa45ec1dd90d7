# SPDX-License-Identifier: Apache-2.0
"""How fast qemu-img writes an image straight into a store, beside what is done today.

    sudo .venv/bin/python tests/bench/convert.py [file] [s3]

A raw image of 4 GiB, a quarter of it data, is converted through the mount until
fsync(2) says that it is stored; beside it the same conversion to local disk
and then glance_store's own add. Run by hand on a quiet machine, as root;
nothing here is a test. Needs about 12 GiB below --dir.
"""

import contextlib
import functools
import os
import pathlib
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.bench import comparison, machine
from tests.bench.comparison import MiB
from tests.mount.mounting import configuration
from tests.servers.process import running

SIZE, EXTENT, EXTENTS = 4096 * MiB, 16 * MiB, 64

Options = dict[str, object]


@contextlib.contextmanager
def file(scratch: pathlib.Path) -> Iterator[Options]:
    datadir = scratch / "images"
    datadir.mkdir()
    yield {"filesystem_store_datadir": datadir}


@contextlib.contextmanager
def s3(scratch: pathlib.Path) -> Iterator[Options]:
    """MinIO, as the other benchmark of S3 has it."""
    from tests.servers.minio import ACCESS_KEY, SECRET_KEY, Minio
    from tests.servers.s3_client import Bucket

    with running(Minio, scratch / "minio") as server:
        yield Bucket(server.url, ACCESS_KEY, SECRET_KEY).options


STORES = {"file": file, "s3": s3}


def source(path: pathlib.Path) -> None:
    """A sparse raw image: `EXTENTS` pieces of random data with holes between them."""
    rng = random.Random(0)
    with path.open("wb") as image:
        image.truncate(SIZE)
        for number in range(EXTENTS):
            image.seek(number * SIZE // EXTENTS)
            image.write(rng.randbytes(EXTENT))


def convert(image: pathlib.Path, target: pathlib.Path) -> None:
    subprocess.run(["qemu-img", "convert", "-O", "raw", image, target], check=True)


def stored(target: pathlib.Path) -> None:
    """Until it is in the store."""
    descriptor = os.open(target, os.O_RDWR)
    os.fsync(descriptor)
    os.close(descriptor)


def timed(work: Callable[[], object]) -> float:
    machine.drop_caches()
    return comparison.timed(work)["s"]


def bench(kind: str, scratch: pathlib.Path, rounds: int, quiet: float) -> Iterator[str]:
    image, mountpoint, local = scratch / "source", scratch / "mnt", scratch / "local"
    source(image)
    with STORES[kind](scratch) as options:
        config = scratch / "storefs.conf"
        sections = {
            "glance_store": {"default_backend": "bench"},
            "storefs": {"spool_dir": scratch / "spool"},
            "bench": options,
        }
        config.write_text(configuration({"bench": kind}, sections))
        command = [machine.upstream_python(kind), machine.HERE / "upstream_add.py", local, "-"]
        given = [f"{name}={value}" for name, value in options.items()]

        def ours(number: int) -> None:
            target = mountpoint / "bench" / f"ours{number}"
            convert(image, target)
            stored(target)

        def theirs(number: int) -> None:
            convert(image, local)
            subprocess.run([*command, f"theirs{number}", kind, *given], check=True)

        taken: dict[Callable[[int], None], list[float]] = {ours: [], theirs: []}
        with machine.mounted(machine.storefs(config, mountpoint), mountpoint) as pid:
            for number in range(rounds):
                for side, seconds in taken.items():
                    machine.await_quiet(quiet)
                    seconds.append(timed(functools.partial(side, number)))
                os.unlink(mountpoint / "bench" / f"ours{number}")
                os.unlink(mountpoint / "bench" / f"theirs{number}")
            cpu = machine.cpu_seconds(pid) / rounds
    mine, other = (statistics.median(seconds) for seconds in taken.values())
    yield f"{kind}: qemu-img convert through the mount, stored  {mine:7.1f} s"
    yield f"      to local disk, then glance_store 5.7.0's add {other:7.1f} s"
    yield f"      ratio (aim 1)                                {other / mine:7.2f}"
    yield f"      storefs' CPU seconds an image                {cpu:7.1f}"


def main() -> None:
    given = comparison.arguments(__doc__, STORES).parse_args()
    lines = functools.partial(bench, rounds=given.rounds, quiet=given.quiet)
    comparison.print_each(given, STORES, lines)


if __name__ == "__main__":
    main()
