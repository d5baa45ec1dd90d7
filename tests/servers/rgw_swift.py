# SPDX-License-Identifier: Apache-2.0
"""Swift's API of the Ceph that all tests share: a user of its own, and how to log in (auth v1)."""

import functools

from tests.servers import shared

USER = "storefs-swift:tests"
KEY = "storefs-swift-secret-word"


@functools.cache
def auth_url() -> str:
    """Where `USER` logs in, by auth v1; `ServerFailed`."""
    ceph = shared.ceph()
    account, _, _ = USER.partition(":")
    admin = ("radosgw-admin", "-c", ceph.conf, "-n", "client.rgw.tests")
    ceph.run(*admin, "user", "create", f"--uid={account}", f"--display-name={account}")
    ceph.run(
        *(*admin, "subuser", "create", f"--uid={account}", f"--subuser={USER}"),
        *("--access=full", "--key-type=swift", f"--secret-key={KEY}"),
    )
    return f"{ceph.url}/auth/1.0"
