# SPDX-License-Identifier: Apache-2.0
"""Glance's functions over all configured stores.

What glance_store.multi_backend offers, under its names. Stores are found by
their identifier (`storefs.registry`); each knows the configuration it was made
from, so several configurations can live side by side as long as their
identifiers differ.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from storefs import exceptions, location
from storefs.configured_store import explain
from storefs.driver import AddResult, Store, check_location_metadata
from storefs.registry import (
    CONF,
    close_stores,
    create_multi_stores,
    number,
    register_store_opts,
    stores,
    unknown_options,
)
from storefs.upload import new_digest

__all__ = [
    "CONF",
    "add",
    "add_with_multihash",
    "check_location_metadata",
    "close_stores",
    "create_multi_stores",
    "delete",
    "get",
    "get_known_schemes_for_multi_store",
    "get_size_from_uri_and_backend",
    "get_store_from_store_identifier",
    "get_store_weight",
    "register_store_opts",
    "set_acls_for_multi_store",
    "store_add_to_backend",
    "store_add_to_backend_with_multihash",
    "stores",
    "unknown_options",
    "verify_store",
]

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: What a search would rather raise, best last; anything else comes first.
_RANKS: tuple[tuple[type[Exception], ...], ...] = (
    (exceptions.StoreGetNotSupported, exceptions.StoreDeleteNotSupported),
    (exceptions.NotFound,),
    (exceptions.BadStoreUri, exceptions.UnknownScheme),  # another store's image
)


def verify_store(conf: Any = None) -> None:
    """Raise RuntimeError unless the default backend is set, known and not broken.

    Without *conf* every configuration that stores were made from is verified.
    """
    confs = [conf] if conf is not None else _confs()
    for each in confs:
        _verify_default(_default_backend(each))


def _confs() -> list[Any]:
    confs = {id(store.conf): store.conf for store in stores().values() if hasattr(store, "conf")}
    return list(confs.values()) or [CONF]


def _verify_default(store_id: str | None) -> None:
    if not store_id:
        raise RuntimeError("default_backend is not set in [glance_store]")
    try:
        store = get_store_from_store_identifier(store_id)
        _require_usable(store)
    except exceptions.UnknownScheme as exc:
        known = ", ".join(stores()) or "there are none"
        raise RuntimeError(
            f"default_backend {store_id} is none of the stores of enabled_backends ({known})"
        ) from exc
    except exceptions.BadStoreConfiguration as exc:
        raise RuntimeError(f"default_backend {store_id} cannot be used: {exc}") from exc


def _default_backend(conf: Any) -> str | None:
    name: str | None = getattr(getattr(conf, "glance_store", None), "default_backend", None)
    return name


def get_store_from_store_identifier(store_identifier: str) -> Any:
    """The store, broken or not; raises `UnknownScheme` if there is none of that name."""
    for entries in location.SCHEME_TO_CLS_BACKEND_MAP.values():
        if store_identifier in entries:
            return entries[store_identifier]["store"]
    raise exceptions.UnknownScheme(scheme=store_identifier)


def get_store_weight(store_identifier: str) -> int:
    """The store's ``weight`` option; raises `UnknownScheme`."""
    weight: int = get_store_from_store_identifier(store_identifier).weight
    return weight


def get_known_schemes_for_multi_store() -> Any:
    """The URI schemes of all stores, as a keys view."""
    return location.SCHEME_TO_CLS_BACKEND_MAP.keys()


# -- images --------------------------------------------------------------------


def add(
    conf: Any,
    image_id: str,
    data: Any,
    size: int | None,
    backend: str | None,
    context: Any = None,
    verifier: Any = None,
) -> tuple[str, int, str, dict[str, Any]]:
    """Add an image to *backend*, or to the default of *conf*: url, size, md5, metadata."""
    store = _target(conf, backend)
    return store_add_to_backend(image_id, data, size, store, context, verifier)


def add_with_multihash(
    conf: Any,
    image_id: str,
    data: Any,
    size: int | None,
    backend: str | None,
    hashing_algo: str,
    scheme: str | None = None,
    context: Any = None,
    verifier: Any = None,
) -> AddResult:
    """As `add`, with the multihash: url, size, md5, multihash, metadata.

    *scheme* means nothing. Checks come in this order: `UnknownHashingAlgo`,
    `StoreAddDisabled`, `Duplicate`, and only then is *data* read.
    """
    store = _target(conf, backend)
    return store_add_to_backend_with_multihash(
        image_id, data, size, hashing_algo, store, context, verifier
    )


def _target(conf: Any, backend: str | None) -> Any:
    store_id = backend or _default_backend(conf)
    if not store_id:
        raise exceptions.UnknownScheme(
            "No store is named, and default_backend is not set in [glance_store]"
        )
    return get_store_from_store_identifier(store_id)


def store_add_to_backend(
    image_id: str,
    data: Any,
    size: int | None,
    store: Any,
    context: Any = None,
    verifier: Any = None,
) -> tuple[str, int, str, dict[str, Any]]:
    """Add to *store* and check what it says of the location: a 4-tuple."""
    url, stored, checksum, metadata = store.add(
        image_id, data, size, context=context, verifier=verifier
    )
    _check_metadata(metadata)
    return url, stored, checksum, metadata


def store_add_to_backend_with_multihash(
    image_id: str,
    data: Any,
    size: int | None,
    hashing_algo: str,
    store: Any,
    context: Any = None,
    verifier: Any = None,
) -> AddResult:
    """Add to *store* and check what it says of the location: a 5-tuple."""
    new_digest(hashing_algo)
    result = AddResult(
        *store.add(image_id, data, size, hashing_algo, context=context, verifier=verifier)
    )
    _check_metadata(result.metadata)
    return result


def _check_metadata(metadata: Any) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        raise exceptions.BackendException(
            f"The storage driver returned metadata of type {type(metadata).__name__}, not a dict"
        )
    check_location_metadata(metadata)


def get(
    uri: str,
    backend: str | None,
    offset: int = 0,
    chunk_size: int | None = None,
    context: Any = None,
) -> tuple[Any, int | None]:
    """An iterator over the image at *uri*, and its size; see `Store.get`.

    Without *backend* the stores are asked in order of weight, highest first.
    """

    def fetch(store: Any, where: location.Location) -> tuple[Any, int | None]:
        found: tuple[Any, int | None] = store.get(
            where, offset=offset, chunk_size=chunk_size, context=context
        )
        return found

    return _ask(fetch, uri, backend)


def delete(uri: str, backend: str | None, context: Any = None) -> Any:
    """Delete the image at *uri*; without *backend* where it is found first."""
    return _ask(lambda store, where: store.delete(where, context=context), uri, backend)


def get_size_from_uri_and_backend(uri: str, backend: str | None, context: Any = None) -> int:
    """The size in bytes of the image at *uri*; 0 where the server does not tell.

    Glance asks it of the URIs its users write: a web server that is not there is
    `BadStoreUri`, their mistake, and no failure of a store.
    """

    def measure(store: Any, where: location.Location) -> int:
        try:
            size: int | None = store.get_size(where, context=context)
        except exceptions.RemoteServiceUnavailable as exc:
            if where.store_name not in ("http", "https"):
                raise
            raise exceptions.BadStoreUri(exc.msg) from exc
        return size or 0

    return _ask(measure, uri, backend)


def set_acls_for_multi_store(
    location_uri: str,
    backend: str,
    public: bool = False,
    read_tenants: Sequence[str] | None = None,
    write_tenants: Sequence[str] | None = None,
    context: Any = None,
) -> None:
    """Tell the store who may read and write; a store without access control is passed over."""
    store, where = _find(location_uri, backend)
    try:
        store.set_acls(
            where,
            public=public,
            read_tenants=read_tenants or [],
            write_tenants=write_tenants,
            context=context,
        )
    except NotImplementedError:
        LOG.debug("Store %s has no access control", backend)


def _ask(operation: Callable[[Any, location.Location], T], uri: str, backend: str | None) -> T:
    if backend:
        return operation(*_find(uri, backend))
    return _search(operation, uri)


def _find(uri: str, backend: str) -> tuple[Any, location.Location]:
    store = get_store_from_store_identifier(backend)
    _require_usable(store)
    conf = getattr(store, "conf", CONF)
    return store, location.get_location_from_uri_and_backend(uri, backend, conf=conf)


def _require_usable(store: Any) -> None:
    if isinstance(store, Store):
        store.require_usable()


def _search(operation: Callable[[Any, location.Location], T], uri: str) -> T:
    """The first success among the stores of the URI's scheme, heaviest first."""
    failures: list[Exception] = []
    entries = location.SCHEME_TO_CLS_BACKEND_MAP.get(uri.partition(":")[0], {})
    weighed = [(number(entry["store"], "weight"), name) for name, entry in entries.items()]
    for _, store_id in sorted(weighed, key=lambda pair: -pair[0]):
        try:
            return operation(*_find(uri, store_id))
        except Exception as exc:  # noqa: BLE001 - the next store may have it
            _note(store_id, exc)
            failures.append(exc)
    return _give_up(failures)


def _note(store_id: str, failure: Exception) -> None:
    told = _rank(failure) > 0 or isinstance(failure, exceptions.BadStoreConfiguration)
    level = logging.DEBUG if told else logging.WARNING
    LOG.log(level, "Store %s was passed over in a search: %s", store_id, explain(failure))


def _give_up(failures: Sequence[Exception]) -> NoReturn:
    """Raise what most deserves to be known: an error is never told as a missing image."""
    worst = min(failures, key=_rank, default=None)
    if worst is None or isinstance(worst, exceptions.NotFound):
        raise exceptions.NotFound("Image not found in any configured backend")
    raise worst


def _rank(failure: Exception) -> int:
    return next((rank for rank, kinds in enumerate(_RANKS, 1) if isinstance(failure, kinds)), 0)
