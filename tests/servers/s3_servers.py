# SPDX-License-Identifier: Apache-2.0
"""S3 servers for the whole run: one each, started when first asked for."""

import atexit
import functools
import pathlib
import shutil
import tempfile

from tests.servers import ceph, versitygw
from tests.servers.s3_client import Bucket


def _directory() -> pathlib.Path:
    path = pathlib.Path(tempfile.mkdtemp(prefix="storefs-s3-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def rgw() -> ceph.Ceph:
    """Ceph's RGW; `ServerFailed`."""
    server = ceph.Ceph(_directory())
    atexit.register(server.stop)
    server.start()
    return server


@functools.cache
def gateway() -> versitygw.VersityGw:
    """versitygw; `ServerFailed`."""
    server = versitygw.VersityGw(_directory())
    atexit.register(server.stop)
    server.start()
    return server


def rgw_bucket() -> Bucket:
    return Bucket(rgw().url, ceph.S3_ACCESS_KEY, ceph.S3_SECRET_KEY)


def gateway_bucket() -> Bucket:
    return Bucket(gateway().url, versitygw.ACCESS_KEY, versitygw.SECRET_KEY)
