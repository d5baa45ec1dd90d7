# SPDX-License-Identifier: Apache-2.0
"""How fast qemu-img writes an image straight into a store, beside what is done today.

    sudo .venv/bin/python tests/bench/convert.py [file] [s3]

A raw image of 4 GiB, a quarter of it data, is converted through the mount until
fsync(2) says that it is stored; beside it the same conversion to local disk
and then glance_store's own add. Run by hand on a quiet machine, as root;
nothing here is a test. Needs about 12 GiB below --dir.
"""

import argparse
import contextlib
import functools
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.bench import machine

MiB = 1024 * 1024
SIZE, EXTENT, EXTENTS = 4096 * MiB, 16 * MiB, 64

CONFIG = """\
[DEFAULT]
enabled_backends = bench:{kind}
[glance_store]
default_backend = bench
[storefs]
spool_dir = {spool}
[bench]
{options}
"""

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

    server = Minio(scratch)
    server.start()
    try:
        bucket = Bucket(server.url, ACCESS_KEY, SECRET_KEY)
        yield bucket.options
    finally:
        server.stop()


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
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def bench(kind: str, scratch: pathlib.Path, rounds: int, quiet: float) -> Iterator[str]:
    image, mountpoint, local = scratch / "source", scratch / "mnt", scratch / "local"
    source(image)
    with STORES[kind](scratch) as options:
        config = scratch / "storefs.conf"
        lines = "\n".join(f"{name} = {value}" for name, value in options.items())
        config.write_text(CONFIG.format(kind=kind, options=lines, spool=scratch / "spool"))
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", choices=[[], *STORES], default=[])
    parser.add_argument("--dir", default="/var/tmp", help="where the images are written")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quiet", type=float, default=1.5, help="start below this load")
    arguments = parser.parse_args()
    for kind in arguments.what or STORES:
        with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
            before = machine.load()
            for line in bench(kind, pathlib.Path(name), arguments.rounds, arguments.quiet):
                print(line, flush=True)
            print(f"      load before and after: {before:.2f}, {machine.load():.2f}\n", flush=True)


if __name__ == "__main__":
    main()
