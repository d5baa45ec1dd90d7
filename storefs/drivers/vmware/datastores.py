# SPDX-License-Identifier: Apache-2.0
"""Which datastores a store has, and which of them takes an image."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

from storefs import exceptions
from storefs.drivers.base import Capacity


class Datastore(NamedTuple):
    """One entry of ``vmware_datastores``."""

    datacenter: str
    name: str
    weight: int = 0

    def __str__(self) -> str:
        return f"{self.datacenter}:{self.name}"

    @classmethod
    def of(cls, entry: str) -> "Datastore":
        """``DATACENTER_PATH:DATASTORE[:WEIGHT]``; ValueError says what is wrong."""
        datacenter, _, rest = entry.partition(":")
        name, _, weight = rest.partition(":")
        datacenter, name = datacenter.strip().strip("/"), name.strip()
        if not datacenter or not name:
            raise ValueError(f"{entry!r} is not DATACENTER_PATH:DATASTORE[:WEIGHT]")
        try:
            return cls(datacenter, name, int(weight.strip() or 0))
        except ValueError as exc:
            raise ValueError(f"the weight in {entry!r} is no number") from exc


def datastores_of(entries: Sequence[str]) -> list[Datastore]:
    """All of them, the heaviest first; ValueError."""
    found = [Datastore.of(entry) for entry in entries]
    if not found:
        raise ValueError("it is not set")
    if len({str(datastore) for datastore in found}) < len(found):
        raise ValueError("it names a datastore twice")
    return sorted(found, key=lambda datastore: -datastore.weight)


class _Place(Protocol):
    @property
    def datastore(self) -> Datastore: ...
    def space(self) -> Capacity: ...


P = TypeVar("P", bound=_Place)


def choose(places: Sequence[P], size: int | None) -> P:
    """Where *size* bytes (None: unknown) go: the heaviest with room, then the most free.

    `StorageFull` if there is no such.
    """
    for weight in sorted({place.datastore.weight for place in places}, reverse=True):
        free = {n: p.space().free for n, p in enumerate(places) if p.datastore.weight == weight}
        best = max(free, key=lambda number: free[number])
        if free[best] >= (size or 1):
            return places[best]
    names = ", ".join(str(place.datastore) for place in places)
    wanted = "an image" if size is None else f"{size} bytes"
    raise exceptions.StorageFull(f"No datastore has room for {wanted}: {names}")
