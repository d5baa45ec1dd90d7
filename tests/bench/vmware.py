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
import functools
import pathlib
import sys
from collections.abc import Iterator

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

import urllib3

from tests.bench import comparison, plain_http
from tests.bench.comparison import Figures, MiB, timed
from tests.servers.process import running
from tests.servers.vcsim import DATACENTER, DATASTORES, ImageDirectory, Vcsim


class Bench(comparison.Bench):
    """A simulated vCenter, the mounts over it, and the plain way to it."""

    def __init__(self, scratch: pathlib.Path, given: argparse.Namespace, server: Vcsim) -> None:
        self.images = ImageDirectory(server)
        self.images.path().mkdir()
        options = {**self.images.options, "vmware_datastores": f"{DATACENTER}:{DATASTORES[0]}"}
        super().__init__(scratch, given, "vmware", options)
        self.pool = urllib3.PoolManager(maxsize=32, ca_certs=str(server.ca_file))
        self._folder = f"https://{server.host}/folder/{self.images.name}"

    def url(self, name: str) -> str:
        return f"{self._folder}/{name}?dcPath={DATACENTER}&dsName={DATASTORES[0]}"

    def upload(self) -> str:
        """Have the source there as ``image``; where it is read."""
        self.images.put("image", self.source.read_bytes())
        return self.url("image")


def write(bench: Bench) -> Iterator[str]:
    """cp of the image, with md5 and sha512 where it is storefs'."""

    def plain() -> Figures:
        def put() -> None:
            with bench.source.open("rb") as file:
                headers = {"Content-Length": str(bench.size)}
                pieces = iter(lambda: file.read(MiB), b"")
                url = bench.url("plain")
                answer = bench.pool.request("PUT", url, body=pieces, headers=headers)
            assert answer.status == 200

        return timed(put)

    yield from bench.compare(
        "write", {"storefs": lambda: bench.copied(bench.storefs), "plain": plain}
    )


def read(bench: Bench) -> Iterator[str]:
    """A cold sequential read; the server's own cache is warm."""
    plain = functools.partial(plain_http.read, bench.pool, bench.upload(), bench.size)
    ours = functools.partial(bench.read_cold, bench.storefs, plain)
    yield from bench.compare("read, cold", {"storefs": ours, "plain": plain})


def random_(bench: Bench) -> Iterator[str]:
    """Reads of 64 KiB at random, first touch, one after the other."""
    offsets = bench.offsets(1)
    plain = functools.partial(plain_http.touch, bench.pool, bench.upload(), offsets, 1)
    ours = functools.partial(bench.touched, bench.storefs, offsets, 1, plain)
    sides = {"storefs": ours, "plain": plain}
    yield from bench.compare("64 KiB at random", sides, comparison.pieces_s)


BENCHES = {"write": write, "read": read, "random": random_}


@contextlib.contextmanager
def made(scratch: pathlib.Path, given: argparse.Namespace) -> Iterator[Bench]:
    with running(Vcsim, scratch / "vcsim") as server:
        yield Bench(scratch, given, server)


if __name__ == "__main__":
    comparison.print_all(comparison.store_arguments(__doc__, BENCHES).parse_args(), BENCHES, made)
