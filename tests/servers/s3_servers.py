# SPDX-License-Identifier: Apache-2.0
"""S3 servers for the whole run: one each, started when first asked for."""

import atexit
import functools

from tests.servers import ceph, shared, versitygw
from tests.servers.s3_client import Bucket


@functools.cache
def gateway() -> versitygw.VersityGw:
    """versitygw; `ServerFailed`."""
    server = versitygw.VersityGw(shared.directory("s3"))
    atexit.register(server.stop)
    server.start()
    return server


def rgw_bucket() -> Bucket:
    return Bucket(shared.ceph().url, ceph.S3_ACCESS_KEY, ceph.S3_SECRET_KEY)


def gateway_bucket() -> Bucket:
    return Bucket(gateway().url, versitygw.ACCESS_KEY, versitygw.SECRET_KEY)
