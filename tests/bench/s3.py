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
import pathlib
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

import urllib3

from tests.bench import comparison, machine, plain_http
from tests.bench.comparison import Figures, MountOf, Side, run, timed, watched
from tests.servers.minio import ACCESS_KEY, SECRET_KEY, Minio
from tests.servers.process import running
from tests.servers.s3_client import Bucket

#: Glance's default for parts under way.
WRITE_LANES = 10

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


class Bench(comparison.Bench):
    """A bucket, the mounts over it, and the plain way to it."""

    def __init__(self, scratch: pathlib.Path, given: argparse.Namespace, bucket: Bucket) -> None:
        super().__init__(scratch, given, "s3", bucket.options)
        self.bucket = bucket
        self.pool = urllib3.PoolManager(maxsize=32)

    @contextlib.contextmanager
    def peer(self, program: str) -> Iterator[tuple[pathlib.Path, int]]:
        """A fresh mount of another program."""
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

    def upload(self) -> str:
        """Have the source there as ``image``; where it is read."""
        self.bucket.client.upload_file(str(self.source), self.bucket.name, "image")
        return self.signed("get_object", "image")


def write(bench: Bench) -> Iterator[str]:
    """cp of the image, with md5 and sha512 where it is storefs'."""

    def plain() -> Figures:
        client, name = bench.bucket.client, bench.bucket.name
        upload = client.create_multipart_upload(Bucket=name, Key="plain")["UploadId"]
        view = memoryview(bench.source.read_bytes())
        urls = [
            bench.signed("upload_part", "plain", UploadId=upload, PartNumber=n + 1)
            for n in range(len(view) // plain_http.BLOCK)
        ]

        def part(number: int) -> str:
            body = view[number * plain_http.BLOCK : (number + 1) * plain_http.BLOCK]
            return bench.pool.request("PUT", urls[number], body=body).headers["ETag"]

        def parts() -> None:
            with ThreadPoolExecutor(WRITE_LANES) as pool:
                etags = list(pool.map(part, range(len(urls))))
            sent = [{"PartNumber": n + 1, "ETag": etag} for n, etag in enumerate(etags)]
            client.complete_multipart_upload(
                Bucket=name, Key="plain", UploadId=upload, MultipartUpload={"Parts": sent}
            )

        return timed(parts)

    sides: dict[str, Side] = {n: (lambda m=m: bench.copied(m)) for n, m in bench.mounts.items()}
    yield from bench.compare("write", {**sides, "plain": plain})


def read(bench: Bench) -> Iterator[str]:
    """A cold sequential read; the server's own cache is warm."""
    url = bench.upload()

    def plain() -> Figures:
        return plain_http.read(bench.pool, url, bench.size)

    sides: dict[str, Side] = {
        n: (lambda m=m: bench.read_cold(m, plain)) for n, m in bench.mounts.items()
    }
    yield from bench.compare("read, cold", {**sides, "plain": plain})


def random_(bench: Bench) -> Iterator[str]:
    """Reads of 64 KiB at random, first touch, with 1 thread and with 8."""
    url = bench.upload()
    for threads in (1, 8):
        offsets = bench.offsets(threads)
        plain = functools.partial(plain_http.touch, bench.pool, url, offsets, threads)
        sides: dict[str, Side] = {
            name: functools.partial(bench.touched, mount, offsets, threads, plain)
            for name, mount in bench.mounts.items()
        }
        title = f"64 KiB at random, {threads} thr."
        yield from bench.compare(title, {**sides, "plain": plain}, comparison.pieces_s)


def list_(bench: Bench) -> Iterator[str]:
    """ls -l of 10,000 images, cold."""
    names = [f"image-{number:05}" for number in range(10_000)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: bench.bucket.put(name, b"0123456789abcdef"), names))

    def listed() -> None:
        assert len(bench.bucket.keys()) >= len(names)

    def plain() -> Figures:
        return timed(listed)

    def cold(mount: MountOf) -> Figures:
        with mount() as (directory, pid):
            machine.drop_caches()
            plain()
            return watched(pid, lambda: run("ls", "-l", directory))

    sides: dict[str, Side] = {n: (lambda m=m: cold(m)) for n, m in bench.mounts.items()}
    yield from bench.compare(
        "ls -l of 10,000", {**sides, "plain": plain}, lambda s: f"{s:7.2f} s    "
    )


BENCHES = {"write": write, "read": read, "random": random_, "list": list_}


@contextlib.contextmanager
def made(scratch: pathlib.Path, given: argparse.Namespace) -> Iterator[Bench]:
    with running(Minio, scratch / "minio") as server:
        yield Bench(scratch, given, Bucket(server.url, ACCESS_KEY, SECRET_KEY))


if __name__ == "__main__":
    comparison.print_all(comparison.store_arguments(__doc__, BENCHES).parse_args(), BENCHES, made)
