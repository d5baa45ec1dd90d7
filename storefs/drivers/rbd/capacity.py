# SPDX-License-Identifier: Apache-2.0
"""How much room a pool has: what the monitors were told by the manager."""

import json

from storefs import exceptions
from storefs.drivers.base import Capacity
from storefs.drivers.rbd.cluster import Cluster

_COMMAND = json.dumps({"prefix": "df", "detail": "detail", "format": "json"})


def capacity(cluster: Cluster, pool: str) -> Capacity:
    """Bytes of images the pool can hold, replication and quota taken into account.

    `RemoteServiceUnavailable` where nobody counts: without a manager the figures are zeros.
    """
    found = json.loads(cluster.mon_command(_COMMAND))
    stats: dict[str, int] = next((p["stats"] for p in found["pools"] if p["name"] == pool), {})
    stored, free = stats.get("stored", 0), stats.get("max_avail", 0)
    total = stored + free
    if not total:
        raise exceptions.RemoteServiceUnavailable(
            "Ceph does not know how full it is: is a manager (ceph-mgr) running?"
        )
    quota = stats.get("quota_bytes", 0)
    if quota:
        total = min(total, quota)
    return Capacity(total, max(0, min(free, total - stored)))
