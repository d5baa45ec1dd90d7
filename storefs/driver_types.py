# SPDX-License-Identifier: Apache-2.0
"""The store types there are: entry points, and the names Glance had for them."""

import difflib
import importlib.metadata
from typing import Any

from stevedore import named

from storefs import exceptions

#: The entry points third parties add drivers with.
NAMESPACE = "storefs.drivers"

#: Names a glance-api.conf may use for the types.
ALIASES = {
    "glance.store.filesystem.Store": "file",
    "glance.store.http.Store": "http",
    "glance.store.swift.Store": "swift",
    "glance.store.rbd.Store": "rbd",
    "glance.store.cinder.Store": "cinder",
    "glance.store.vmware_datastore.Store": "vmware",
    "glance.store.s3.Store": "s3",
    "glance.store.sheepdog.Store": "sheepdog",
}

#: The schemes of types whose driver needs an SDK that may be missing, so that
#: their images' URIs are still recognised.
_SCHEMES = {
    "s3": ("s3", "s3+http", "s3+https"),
    "swift": ("swift", "swift+http", "swift+https", "swift+config"),
    "vmware": ("vsphere",),
}


def canonical(store_type: str) -> str:
    """The name of the entry point behind *store_type*."""
    return ALIASES.get(store_type, store_type)


def usual_schemes(store_type: str) -> tuple[str, ...]:
    """The URI schemes of *store_type*, told without loading its driver."""
    return _SCHEMES.get(canonical(store_type), (canonical(store_type),))


def known() -> list[str]:
    """The names of all installed types."""
    return sorted({point.name for point in importlib.metadata.entry_points(group=NAMESPACE)})


def load(store_type: str) -> Any:
    """The class the type's entry point names.

    Raises `BadStoreConfiguration` for a type nobody installed or two packages
    claim, and whatever importing the class raises.
    """
    name = canonical(store_type)
    manager: Any = named.NamedExtensionManager(
        NAMESPACE,
        [name],
        on_load_failure_callback=_reraise,
        on_missing_entrypoints_callback=None,
    )
    found = {extension.entry_point_target: extension.plugin for extension in manager.extensions}
    if len(found) > 1:
        claims = ", ".join(sorted(found))
        raise exceptions.BadStoreConfiguration(f"several packages offer type {name}: {claims}")
    if not found:
        raise exceptions.BadStoreConfiguration(_unknown(name))
    return found.popitem()[1]


def _reraise(manager: Any, point: Any, error: BaseException) -> None:
    raise error


def _unknown(name: str) -> str:
    types = known()
    close = difflib.get_close_matches(name, types, 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"unknown store type {name}{hint}; installed types: {', '.join(types)}"


def requirement(store_type: str) -> str:
    """What to install for everything *store_type* needs."""
    name = canonical(store_type)
    for point in importlib.metadata.entry_points(group=NAMESPACE):
        if point.name == name and point.dist is not None and point.dist.name != "storefs":
            return point.dist.name
    return f"storefs[{name}]"
