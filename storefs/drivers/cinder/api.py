# SPDX-License-Identifier: Apache-2.0
"""What is asked of Cinder: each call one request, or a wait that ends by itself."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from storefs import exceptions
from storefs.drivers.base import Capacity
from storefs.drivers.cinder.account import Account
from storefs.drivers.cinder.errors import translated
from storefs.drivers.cinder.volume import GiB, Volume

_Found = TypeVar("_Found")

#: How many volumes a page of the list has; Cinder gives no more unless told to.
_PAGE = 1000

#: The first and the longest pause between two looks at a volume, seconds: an RBD volume is
#: there in 0.2 seconds, one that is cloned in minutes.
_PAUSES = (0.03, 5.0)


class Api:
    """One account's volumes and attachments.

    *patience* is how many seconds a volume may take from one state to another; *closed*
    ends every wait. Raises `storefs.exceptions` alone.
    """

    def __init__(self, account: Account, patience: float, closed: threading.Event) -> None:
        self._account = account
        self._client = account.client
        self._patience = patience
        self._closed = closed

    @property
    def project_id(self) -> str:
        with translated("Keystone"):
            return self._account.project_id()

    def volume(self, volume_id: str) -> Volume:
        """`NotFound`."""
        with translated(f"Volume {volume_id}"):
            return Volume.of(self._client.volumes.get(volume_id))

    def volumes(self, **wanted: Any) -> Iterator[Volume]:
        """Those whose ``name`` and ``metadata`` are *wanted*, all if none is; lazily."""
        marker = None
        while True:
            with translated("The list of volumes"):
                page = self._client.volumes.list(
                    search_opts=wanted, limit=_PAGE, marker=marker, sort="created_at:asc"
                )
            yield from map(Volume.of, page)
            if len(page) < _PAGE:
                return
            marker = page[-1].id

    def default_kind(self) -> str:
        """The name of the volume type of volumes for which none is asked."""
        with translated("Cinder's default volume type"):
            return str(self._client.volume_types.default().name)

    def make(self, gib: int, name: str, metadata: Mapping[str, str], kind: str | None) -> str:
        """The id of a new volume that is not ready yet; `StorageFull`."""
        with translated("A new volume"):
            try:
                made = self._client.volumes.create(
                    gib, name=name, metadata=dict(metadata), volume_type=kind
                )
            except Exception as exc:
                if getattr(exc, "code", 0) == 404:
                    raise exceptions.BadStoreConfiguration(
                        f"Cinder has no volume type {kind}: check cinder_volume_type"
                    ) from exc
                raise
        return str(made.id)

    def rename(self, volume_id: str, name: str, metadata: Mapping[str, str]) -> None:
        """Name and metadata, all of it, in one request."""
        with translated(f"Volume {volume_id}"):
            self._client.volumes.update(volume_id, name=name, metadata=dict(metadata))

    def add_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        with translated(f"Volume {volume_id}"):
            self._client.volumes.set_metadata(volume_id, dict(metadata))

    def make_read_only(self, volume_id: str) -> None:
        """The volume has to be available."""
        with translated(f"Volume {volume_id}"):
            self._client.volumes.update_readonly_flag(volume_id, True)

    def extend(self, volume_id: str, gib: int) -> None:
        """Begin to; `StorageFull`."""
        with translated(f"Volume {volume_id}"):
            self._client.volumes.extend(volume_id, gib)

    def delete(self, volume_id: str) -> None:
        """Begin to; `NotFound`, `InUseByStore`, `HasSnapshot`."""
        with translated(f"Volume {volume_id}"):
            self._client.volumes.delete(volume_id)

    def reserve(self, volume_id: str, mode: str) -> str:
        """The id of a new attachment without a host; `InUseByStore`."""
        with translated(f"Attaching volume {volume_id}"):
            made = self._client.attachments.create(volume_id, None, mode=mode)
        return str(made["id"])

    def connect(self, attachment_id: str, connector: Mapping[str, Any]) -> dict[str, Any]:
        """Tell Cinder the host; how it gets at the volume."""
        with translated(f"Attachment {attachment_id}"):
            told = self._client.attachments.update(attachment_id, dict(connector))
        return dict(told.connection_info)

    def complete(self, attachment_id: str) -> None:
        with translated(f"Attachment {attachment_id}"):
            self._client.attachments.complete(attachment_id)

    def connection(self, attachment_id: str) -> dict[str, Any]:
        """How the host of an attachment gets at the volume; `NotFound`."""
        with translated(f"Attachment {attachment_id}"):
            return dict(self._client.attachments.show(attachment_id).connection_info or {})

    def attachments(self, volume_id: str) -> dict[str, str]:
        """Id -> state of every attachment of the volume."""
        with translated(f"The attachments of volume {volume_id}"):
            found = self._client.attachments.list(search_opts={"volume_id": volume_id})
        return {str(attachment.id): str(attachment.status) for attachment in found}

    def detach(self, attachment_id: str) -> None:
        """One that is gone is right as well."""
        try:
            with translated(f"Attachment {attachment_id}"):
                self._client.attachments.delete(attachment_id)
        except exceptions.NotFound:
            pass

    def capacity(self) -> Capacity:
        """The project's quota of GiB; without one what the pools have, if we may know."""
        with translated("The project's quota"):
            limits = self._client.limits.get().to_dict()["absolute"]
        total = limits["maxTotalVolumeGigabytes"] * GiB
        used = limits["totalGigabytesUsed"] * GiB
        if total >= 0:
            return Capacity(total, max(0, total - used))
        with translated("Cinder's pools"):
            pools = self._client.pools.list(detailed=True)
        found = [pool.to_dict() for pool in pools]
        return Capacity(_sum(found, "total_capacity_gb"), _sum(found, "free_capacity_gb"))

    def await_state(self, volume_id: str, states: set[str], gib: int = 0) -> Volume:
        """The volume once it is in one of *states* and *gib* long at least.

        `BackendException` for one that failed, `TimeoutError`.
        """

        def look() -> Volume | None:
            volume = self.volume(volume_id)
            if volume.status in states and volume.gib >= gib:
                return volume
            if volume.status.startswith("error"):
                raise exceptions.BackendException(
                    f"Volume {volume_id} is in state {volume.status}: Cinder's log says why"
                )
            return None

        return self._await(look, f"Volume {volume_id} is not {' or '.join(sorted(states))}")

    def await_deleted(self, volume_id: str) -> None:
        """`InUseByStore` if Cinder gave up, `TimeoutError`."""

        def look() -> bool | None:
            try:
                volume = self.volume(volume_id)
            except exceptions.NotFound:
                return True
            if volume.status != "deleting":
                raise exceptions.InUseByStore(
                    f"Volume {volume_id} could not be deleted, it is {volume.status}: something "
                    "uses it still, or Cinder's log says why"
                )
            return None

        self._await(look, f"Volume {volume_id} is not deleted")

    def pause(self, seconds: float) -> None:
        """`TimeoutError` if the driver was closed meanwhile."""
        if self._closed.wait(seconds):
            raise exceptions.TimeoutError("The store was closed")

    def _await(self, look: Callable[[], _Found | None], what: str) -> _Found:
        deadline = time.monotonic() + self._patience
        pause, longest = _PAUSES
        while True:
            found = look()
            if found is not None:
                return found
            left = deadline - time.monotonic()
            if left <= 0:
                raise exceptions.TimeoutError(
                    f"{what} after {self._patience} seconds: see cinder_state_transition_timeout"
                )
            time.sleep(min(pause, left))
            pause = min(2 * pause, longest)


def _sum(pools: list[dict[str, Any]], name: str) -> int:
    """Some backends say "unknown" or "infinite"."""
    figures = [pool.get("capabilities", pool).get(name) for pool in pools]
    return sum(int(figure * GiB) for figure in figures if isinstance(figure, int | float))
