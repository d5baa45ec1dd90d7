# SPDX-License-Identifier: Apache-2.0
"""How fast an S3 store is beside plain requests to the same server, and beside its peers.

    sudo .venv/bin/python tests/bench/s3.py [write] [read] [random] [list]

Both sides in one go, as ratios, against a MinIO of its own (built once; some
minutes). "Plain" is what the network and the server give: signed requests of 8
MiB on as many connections as storefs uses, without hashes and without a mount.
Of s3fs, mount-s3, goofys and geesefs those are measured that are on PATH. Run
by hand on a quiet machine, as root; nothing here is a test. Needs about 5 GiB below --dir.
"""

import argparse
import contextlib
import functools
import os
import pathlib
import random
import shutil
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
from tests.servers.minio import ACCESS_KEY, SECRET_KEY, Minio
from tests.servers.s3_client import Bucket

KiB = 1024
MiB = 1024 * KiB
BLOCK = 8 * MiB

#: Mounts afresh: gives the images' directory and the pid.
MountOf = Callable[[], contextlib.AbstractContextManager[tuple[pathlib.Path, int]]]

#: Glance's default for parts under way, and storefs' for pieces.
LANES = {"write": 10, "read": 3}

#: How each peer mounts a bucket in the foreground: as its makers made it, but s3fs with as many
#: parts under way as storefs.
PEERS = {
    "s3fs": "{bucket.name} {mountpoint} -f -o url={bucket.url},use_path_request_style"
    ",parallel_count=10,multipart_size=10,passwd_file={password}",
    "mount-s3": "{bucket.name} {mountpoint} --foreground --endpoint-url {bucket.url}"
    " --force-path-style --region us-east-1 --allow-delete --allow-overwrite",
    "goofys": "-f --endpoint {bucket.url} {bucket.name} {mountpoint}",
    "geesefs": "-f --endpoint {bucket.url} {bucket.name} {mountpoint}",
}

CONFIG = """\
[DEFAULT]
enabled_backends = bench:s3
[glance_store]
default_backend = bench
[bench]
s3_store_host = {bucket.url}
s3_store_access_key = {bucket.access_key}
s3_store_secret_key = {bucket.secret_key}
s3_store_bucket = {bucket.name}
"""


class Bench:
    """A bucket, the mounts over it, and the plain way to it."""

    def __init__(self, scratch: pathlib.Path, bucket: Bucket, rounds: int, quiet: float) -> None:
        self.scratch = scratch
        self.bucket = bucket
        self.rounds = rounds
        self.quiet = quiet
        self.pool = urllib3.PoolManager(maxsize=32)
        self.config = scratch / "storefs.conf"
        self.config.write_text(CONFIG.format(bucket=bucket))
        self.source = scratch / "source"
        with self.source.open("wb") as file:
            for _ in range(1024):
                file.write(os.urandom(MiB))

    @contextlib.contextmanager
    def storefs(self) -> Iterator[tuple[pathlib.Path, int]]:
        """A fresh mount: the store's directory and the pid."""
        mountpoint = self.scratch / "storefs"
        with machine.mounted(machine.storefs(self.config, mountpoint), mountpoint) as pid:
            yield mountpoint / "bench", pid

    @contextlib.contextmanager
    def peer(self, program: str) -> Iterator[tuple[pathlib.Path, int]]:
        """The same of another program."""
        mountpoint = self.scratch / program
        keys = {
            "AWS_ACCESS_KEY_ID": self.bucket.access_key,
            "AWS_SECRET_ACCESS_KEY": self.bucket.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        password = self.scratch / "password"
        password.write_text(f"{self.bucket.access_key}:{self.bucket.secret_key}")
        password.chmod(0o600)
        given = {"bucket": self.bucket, "mountpoint": mountpoint, "password": password}
        words = PEERS[program].format(**given).split()
        command = ["env", *(f"{name}={value}" for name, value in keys.items()), program, *words]
        with machine.mounted(command, mountpoint) as pid:
            yield mountpoint, pid

    @property
    def mounts(self) -> dict[str, MountOf]:
        installed = [program for program in PEERS if shutil.which(program)]
        peers = {program: functools.partial(self.peer, program) for program in installed}
        return {"storefs": self.storefs, **peers}

    def signed(self, method: str, key: str, **parameters: object) -> str:
        given = {"Bucket": self.bucket.name, "Key": key, **parameters}
        url: str = self.bucket.client.generate_presigned_url(method, Params=given)
        return url

    def in_turns(
        self, sides: dict[str, Callable[[], dict[str, float]]]
    ) -> dict[str, dict[str, float]]:
        """The medians of each side's figures; the sides take turns."""
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for _ in range(self.rounds):
            for name, side in sides.items():
                machine.await_quiet(self.quiet)
                taken[name].append(side())
        return {
            name: {figure: statistics.median(r[figure] for r in runs) for figure in runs[0]}
            for name, runs in taken.items()
        }


def watched(pid: int, work: Callable[[], object]) -> dict[str, float]:
    """Seconds *work* takes, and what the process *pid* spends on it."""
    machine.reset_peak(pid)
    begun, cpu = time.monotonic(), machine.cpu_seconds(pid)
    work()
    seconds = time.monotonic() - begun
    return {"s": seconds, "cpu": machine.cpu_seconds(pid) - cpu, "rss": machine.peak_rss(pid)}


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


def table(
    title: str, figures: dict[str, dict[str, float]], unit: Callable[[float], str]
) -> Iterator[str]:
    ours = figures["storefs"]["s"]
    for name, found in figures.items():
        cost = (
            f"  CPU {found['cpu']:5.2f} s  peak {found['rss']:4.0f} MiB" if "rss" in found else ""
        )
        ratio = "" if name == "storefs" else f"  storefs is {found['s'] / ours:5.2f} of it"
        yield f"{title:<26}{name:<9}{unit(found['s'])}{cost}{ratio}"


def mib_s(seconds: float) -> str:
    return f"{1024 / seconds:7.0f} MiB/s"


def write(bench: Bench) -> Iterator[str]:
    """cp of 1 GiB, with md5 and sha512 where it is storefs'."""

    def plain() -> dict[str, float]:
        client, name = bench.bucket.client, bench.bucket.name
        upload = client.create_multipart_upload(Bucket=name, Key="plain")["UploadId"]
        data = bench.source.read_bytes()
        urls = [
            bench.signed("upload_part", "plain", UploadId=upload, PartNumber=n + 1)
            for n in range(len(data) // BLOCK)
        ]
        view = memoryview(data)

        def part(number: int) -> str:
            body = view[number * BLOCK : (number + 1) * BLOCK]
            return bench.pool.request("PUT", urls[number], body=body).headers["ETag"]

        begun = time.monotonic()
        with ThreadPoolExecutor(LANES["write"]) as pool:
            etags = list(pool.map(part, range(len(urls))))
        parts = [{"PartNumber": n + 1, "ETag": etag} for n, etag in enumerate(etags)]
        client.complete_multipart_upload(
            Bucket=name, Key="plain", UploadId=upload, MultipartUpload={"Parts": parts}
        )
        return {"s": time.monotonic() - begun}

    def copied(mount: MountOf) -> dict[str, float]:
        with mount() as (directory, pid):
            run("cat", bench.source)
            return watched(pid, lambda: run("cp", bench.source, directory / "written"))

    sides = {n: (lambda m=m: copied(m)) for n, m in bench.mounts.items()}
    yield from table("write 1 GiB", bench.in_turns({**sides, "plain": plain}), mib_s)


def read(bench: Bench) -> Iterator[str]:
    """A cold sequential read of 1 GiB."""
    bench.bucket.client.upload_file(str(bench.source), bench.bucket.name, "image")

    def plain() -> dict[str, float]:
        url = bench.signed("get_object", "image")

        def piece(number: int) -> int:
            ranged = {"Range": f"bytes={number * BLOCK}-{(number + 1) * BLOCK - 1}"}
            return len(bench.pool.request("GET", url, headers=ranged).data)

        begun = time.monotonic()
        with ThreadPoolExecutor(LANES["read"]) as pool:
            assert sum(pool.map(piece, range(1024 * MiB // BLOCK))) == 1024 * MiB
        return {"s": time.monotonic() - begun}

    def cold(mount: MountOf) -> dict[str, float]:
        with mount() as (directory, pid):
            machine.drop_caches()
            plain()  # the server's own cache is hot
            dd = ("dd", f"if={directory / 'image'}", "of=/dev/null", "bs=1M", "status=none")
            return watched(pid, lambda: run(*dd))

    sides = {n: (lambda m=m: cold(m)) for n, m in bench.mounts.items()}
    yield from table("read 1 GiB, cold", bench.in_turns({**sides, "plain": plain}), mib_s)


def random_(bench: Bench) -> Iterator[str]:
    """200 reads of 64 KiB at random, first touch, with 1 thread and with 8."""
    bench.bucket.client.upload_file(str(bench.source), bench.bucket.name, "image")
    for threads in (1, 8):
        chance = random.Random(threads)
        offsets = [chance.randrange(16 * KiB) * 64 * KiB for _ in range(200)]

        def plain(offsets: list[int] = offsets, threads: int = threads) -> dict[str, float]:
            url = bench.signed("get_object", "image")

            def piece(offset: int) -> bytes:
                ranged = {"Range": f"bytes={offset}-{offset + 64 * KiB - 1}"}
                return bench.pool.request("GET", url, headers=ranged).data

            begun = time.monotonic()
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(piece, offsets))
            return {"s": time.monotonic() - begun}

        def touched(
            mount: MountOf,
            offsets: list[int] = offsets,
            threads: int = threads,
        ) -> dict[str, float]:
            with mount() as (directory, pid):
                machine.drop_caches()
                plain()
                descriptor = os.open(directory / "image", os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)

                def all_() -> None:
                    with ThreadPoolExecutor(threads) as pool:
                        list(pool.map(lambda o: os.pread(descriptor, 64 * KiB, o), offsets))

                try:
                    return watched(pid, all_)
                finally:
                    os.close(descriptor)

        sides = {n: (lambda m=m: touched(m)) for n, m in bench.mounts.items()}
        figures = bench.in_turns({**sides, "plain": plain})
        title = f"64 KiB at random, {threads} thr."
        yield from table(title, figures, lambda s: f"{200 / s:7.0f} 1/s  ")


def list_(bench: Bench) -> Iterator[str]:
    """ls -l of 10,000 images, cold."""
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda n: bench.bucket.put(f"image-{n:05}", b"0123456789abcdef"), range(10_000)
            )
        )

    def plain() -> dict[str, float]:
        begun = time.monotonic()
        assert len(bench.bucket.keys()) >= 10_000
        return {"s": time.monotonic() - begun}

    def cold(mount: MountOf) -> dict[str, float]:
        with mount() as (directory, pid):
            machine.drop_caches()
            plain()
            return watched(pid, lambda: run("ls", "-l", directory))

    sides = {n: (lambda m=m: cold(m)) for n, m in bench.mounts.items()}
    yield from table(
        "ls -l of 10,000", bench.in_turns({**sides, "plain": plain}), lambda s: f"{s:7.2f} s    "
    )


BENCHES = {"write": write, "read": read, "random": random_, "list": list_}


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
        server = Minio(directory)
        server.start()
        try:
            bucket = Bucket(server.url, ACCESS_KEY, SECRET_KEY)
            bench = Bench(directory, bucket, arguments.rounds, arguments.quiet)
            with bench.config.open("a") as config:
                config.writelines(f"{option}\n" for option in arguments.option)
            for name in arguments.what or BENCHES:
                for line in BENCHES[name](bench):
                    print(line, flush=True)
            print(f"load at the end: {machine.load():.2f}")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
