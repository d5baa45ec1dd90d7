# SPDX-License-Identifier: Apache-2.0
"""The image both servers have, and the steps most tests take."""

import contextlib
import os
import random
from collections.abc import Callable

from storefs.drivers.http import HttpDriver
from storefs.drivers.http.location import HttpLocation
from storefs.drivers.ranged_http import RangedHttp
from tests.servers.nginx import Nginx

DATA = random.Random(3).randbytes(300_000)
MTIME = 1_700_000_000

#: After this a stalled server is noticed by those who are hasty, seconds.
HASTY = 0.5

Make = Callable[..., HttpDriver]
Open = Callable[..., RangedHttp]


def put(nginx: Nginx, data: bytes, mtime: int) -> None:
    other = nginx.images / "other"
    other.write_bytes(data)
    os.utime(other, (mtime, mtime))
    other.rename(nginx.images / "image")


def at(url: str) -> HttpLocation:
    location = HttpLocation(None)
    location.parse_uri(url)
    return location


def read(driver: HttpDriver, url: str) -> bytes:
    with contextlib.closing(driver.open(at(url))) as reader:
        size = reader.info.size or len(DATA) + 1
        data = bytes(reader.pread(size, 0))
    assert driver.stat(at(url)).size in {len(data), None}
    return data
