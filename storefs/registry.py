# SPDX-License-Identifier: Apache-2.0
"""Which stores there are: made from a configuration, found by identifier.

The one place they are kept is `location.SCHEME_TO_CLS_BACKEND_MAP`, which
Glance reads and its tests assign.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from oslo_config import cfg

from storefs import config_files, driver_types, exceptions, location, store_options
from storefs.configured_store import explain
from storefs.driver import Store
from storefs.drivers.base import Driver

CONF = cfg.CONF

#: Where a reserved store keeps its files unless its group says otherwise.
RESERVED_DIRECTORY = "/var/lib/glance"


def register_store_opts(conf: Any, reserved_stores: Mapping[str, str] | None = None) -> None:
    """Make the options of every enabled and every reserved store known to *conf*.

    ``enabled_backends`` itself is the caller's option, as in Glance. A type
    whose driver cannot be loaded is left to `create_multi_stores` to report.
    """
    store_options.register(
        conf, store_options.GLANCE_STORE_OPTIONS, store_options.SINGLE_STORE_GROUP
    )
    for store_id, store_type in _enabled(conf).items():
        _register(conf, store_id, store_type)
    for store_id, store_type in (reserved_stores or {}).items():
        _register(conf, store_id, store_type)
        _set_reserved_directory(conf, store_id)


def _register(conf: Any, store_id: str, store_type: str) -> None:
    own: Sequence[Any] = ()
    with contextlib.suppress(Exception):
        own = driver_types.load(store_type).OPTIONS or ()
    with contextlib.suppress(cfg.Error):
        store_options.register_store(conf, [*own, *store_options.STORE_OPTIONS], store_id)


def _set_reserved_directory(conf: Any, store_id: str) -> None:
    if "filesystem_store_datadir" not in conf[store_id]:
        return
    if not conf[store_id].get("filesystem_store_datadirs"):
        directory = f"{RESERVED_DIRECTORY}/{store_id}"
        conf.set_default("filesystem_store_datadir", directory, group=store_id)


def _enabled(conf: Any) -> dict[str, str]:
    """enabled_backends, empty when unset or unknown to *conf*."""
    return dict(getattr(conf, "enabled_backends", None) or {})


def unknown_options(conf: Any) -> list[config_files.UnknownOption]:
    """What is written in the groups of the stores made from *conf* but means nothing there."""
    ids = [store_id for store_id, store in _made_from(conf).items() if _options_known(store)]
    return config_files.unknown_options(conf, ids)


def _options_known(store: Any) -> bool:
    return store.driver_class is not None or store.OPTIONS is not None


def create_multi_stores(conf: Any = CONF, reserved_stores: Mapping[str, str] | None = None) -> int:
    """Make every store *conf* enables; returns how many of them are not broken.

    Stores made from *conf* before are closed and replaced. A broken store is
    kept: it is listed with its reason, and its operations raise
    `BadStoreConfiguration`. Raises that, too, if no store is enabled at all.
    """
    enabled, reserved = _enabled(conf), dict(reserved_stores or {})
    if not enabled and not reserved:
        raise exceptions.BadStoreConfiguration(
            "No stores: set enabled_backends = IDENTIFIER:TYPE, ... in [DEFAULT]"
        )
    register_store_opts(conf, reserved)
    _discard([*_made_from(conf), *enabled, *reserved])
    created = [_create(conf, *item) for item in {**enabled, **reserved}.items()]
    for position, store in enumerate(created):
        store.position = position
        store.reserved = store.store_id in reserved
        _enter(store)
    return sum(store.state.name != "broken" for store in created)


def _create(conf: Any, store_id: str, store_type: str) -> Store:
    try:
        store = _new_store(driver_types.load(store_type), conf, store_id)
        store.store_type = store_type
        store.configure()
        if not store.get_schemes():
            store.fail("its driver names no URI scheme")
    except Exception as exc:  # noqa: BLE001 - one store never stops the others
        store = Store(conf, store_id)
        store.store_type = store_type
        store.fail(explain(exc, store_type))
    return store


def _new_store(found: Any, conf: Any, store_id: str) -> Store:
    """*found* is what the entry point names: a driver, or a store that brings one."""
    if isinstance(found, type) and issubclass(found, Store):
        return found(conf, store_id)
    if isinstance(found, type) and issubclass(found, Driver):
        return Store(conf, store_id, found)
    raise exceptions.BadStoreConfiguration(f"{found!r} is neither a Driver nor a Store")


def _enter(store: Store) -> None:
    entry: location.StoreEntry = {
        "store": store,
        "location_class": store.get_store_location_class(),
        "store_entry": store.store_type,
    }
    schemes = store.get_schemes() or driver_types.usual_schemes(store.store_type)
    location.register_scheme_backend_map({scheme: {store.store_id: entry} for scheme in schemes})


def _discard(store_ids: Sequence[str]) -> None:
    """Close these stores and forget them under every scheme."""
    known = stores()
    for store_id in dict.fromkeys(store_ids):
        if isinstance(known.get(store_id), Store):
            known[store_id].close()
    for scheme, entries in list(location.SCHEME_TO_CLS_BACKEND_MAP.items()):
        for store_id in store_ids:
            entries.pop(store_id, None)
        if not entries:
            del location.SCHEME_TO_CLS_BACKEND_MAP[scheme]


def stores() -> dict[str, Any]:
    """Every store by identifier, in configured order, broken and reserved ones too."""
    found: dict[str, Any] = {}
    for entries in location.SCHEME_TO_CLS_BACKEND_MAP.values():
        for store_id, entry in entries.items():
            found.setdefault(store_id, entry["store"])
    return dict(sorted(found.items(), key=lambda item: number(item[1], "position")))


def number(store: Any, name: str) -> int:
    """An attribute of a store that may be a stand-in without it."""
    value = getattr(store, name, 0)
    return value if isinstance(value, int) else 0


def _made_from(conf: Any) -> dict[str, Any]:
    return {name: store for name, store in stores().items() if getattr(store, "conf", 0) is conf}


def close_stores(conf: Any = None) -> None:
    """Close the stores made from *conf*, or all of them, and forget them."""
    _discard(list(stores() if conf is None else _made_from(conf)))
