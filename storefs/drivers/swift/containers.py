# SPDX-License-Identifier: Apache-2.0
"""Which container an image is in, and which ones are looked through for images."""

import threading
import time
from collections.abc import Iterator

from storefs import exceptions
from storefs.drivers.base import Options
from storefs.drivers.swift.client import SwiftClient

#: How long a container is taken for granted that was there, seconds.
_SEEN = 60.0

#: The longest name of a container, bytes (max_container_name_length).
_LONGEST = 256


class Containers:
    """The names; no I/O. Raises ValueError for an option that cannot be a container's name."""

    def __init__(self, options: Options) -> None:
        self.name: str = options.swift_store_container
        self.multi_tenant: bool = options.swift_store_multi_tenant
        self._seed: int = options.swift_store_multiple_containers_seed
        if not self.name or "/" in self.name or len(self.name.encode()) > _LONGEST:
            raise ValueError(f"it is a name of 1 to {_LONGEST} bytes without a /")

    @property
    def several(self) -> bool:
        return self.multi_tenant or self._seed > 0

    def of(self, image_id: str) -> str:
        """The container of an image; `Invalid` if its name would be too long."""
        if not self.several:
            return self.name
        suffix = image_id if self.multi_tenant else self._seeded(image_id.lower())
        name = f"{self.name}_{suffix}"
        if len(name.encode()) > _LONGEST:
            raise exceptions.Invalid(f"Names of containers in Swift have {_LONGEST} bytes at most")
        return name

    def _seeded(self, image_id: str) -> str:
        """Dashes among the characters that count are kept and made up for, as in Glance."""
        dashes = image_id[: self._seed].count("-")
        return image_id[: self._seed + dashes]

    def among(self, client: SwiftClient) -> Iterator[str]:
        """Those that may hold images."""
        if not self.several:
            yield self.name
            return
        for entry in client.entries(prefix=f"{self.name}_"):
            yield entry["name"]


class Readiness:
    """Makes sure of containers before something is put there; thread-safe.

    *create*: make one that is not there, with *writers* (an ACL) allowed to write.
    """

    def __init__(self, client: SwiftClient, create: bool, writers: str = "") -> None:
        self._client = client
        self._create = create
        self._writers = {"X-Container-Write": writers} if writers else {}
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, container: str) -> None:
        with self._lock:
            if not self._create or self._is_fresh(container):
                return
            try:
                self._client.call("HEAD", container)
            except exceptions.NotFound:
                self._client.make_container(container, self._writers)
            self._seen[container] = time.monotonic()

    def forget(self, container: str) -> None:
        """It may be gone."""
        with self._lock:
            self._seen.pop(container, None)

    def _is_fresh(self, container: str) -> bool:
        now = time.monotonic()
        self._seen = {name: seen for name, seen in self._seen.items() if now - seen < _SEEN}
        return container in self._seen
