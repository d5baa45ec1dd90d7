# SPDX-License-Identifier: Apache-2.0
"""Which cluster a location means: the store's own, or another one that Glance wrote down."""

import collections
import threading

from storefs import exceptions
from storefs.drivers.base import Options
from storefs.drivers.sheepdog.cluster import Cluster, Settings
from storefs.drivers.sheepdog.connection import Gateway
from storefs.drivers.sheepdog.leavings import Leavings
from storefs.drivers.sheepdog.location import SheepdogLocation, gateways_of
from storefs.drivers.sheepdog.publish import Publisher
from storefs.drivers.sheepdog.vdis import Vdis
from storefs.drivers.state import state_directory

#: How many clusters are kept that only locations lead to.
_OTHERS = 8


class Sites:
    """Raises `BadStoreConfiguration` with the option that is wrong. Nothing connects yet."""

    def __init__(self, options: Options, store_id: str) -> None:
        self._options = options
        try:
            self.gateways = gateways_of(
                options.sheepdog_store_address or "", options.sheepdog_store_port
            )
        except ValueError as exc:
            raise exceptions.BadStoreConfiguration(
                store_name=store_id, reason=f"sheepdog_store_address: {exc}"
            ) from exc
        self.own = self._site(self.gateways)
        self._others: collections.OrderedDict[Gateway, Publisher] = collections.OrderedDict()
        self._lock = threading.Lock()

    def of(self, location: SheepdogLocation) -> Publisher:
        """The cluster of *location*; any of the store's gateways leads to its own."""
        gateway = location.gateway
        if gateway is None or gateway in self.gateways:
            return self.own
        with self._lock:
            if gateway not in self._others:
                self._others[gateway] = self._site([gateway])
            self._others.move_to_end(gateway)
            while len(self._others) > _OTHERS:
                _close(self._others.popitem(last=False)[1])
            return self._others[gateway]

    def close(self) -> None:
        for site in (self.own, *self._others.values()):
            _close(site)

    def _site(self, gateways: list[Gateway]) -> Publisher:
        options = self._options
        settings = Settings(
            connect_timeout=options.sheepdog_store_connect_timeout,
            timeout=options.sheepdog_store_timeout,
            idle=2 * options.sheepdog_store_connections,
        )
        vdis = Vdis(Cluster(gateways, settings))
        place = ",".join(str(gateway) for gateway in sorted(gateways))
        return Publisher(vdis, Leavings(state_directory(), place, vdis))


def _close(site: Publisher) -> None:
    site.vdis.cluster.close()
    site.leavings.journal.close()
