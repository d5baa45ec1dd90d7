# SPDX-License-Identifier: Apache-2.0
"""Where an image is: URIs, and the map from scheme to store that all of Glance reads.

A `StoreLocation` is one driver's view of a URI; a `Location` wraps it with the
scheme and the store it belongs to. Names and behaviour are those of
glance_store.location, so that Glance's own code and tests can use them.
"""

from collections.abc import Mapping
from typing import Any, TypedDict

from oslo_config import cfg

from storefs import exceptions

CONF = cfg.CONF


class StoreEntry(TypedDict):
    """What the map holds for one store under one scheme."""

    store: Any
    location_class: type["StoreLocation"]
    store_entry: str


#: scheme -> store id -> entry. Callers (and tests) assign it, so it is always
#: read through the module.
SCHEME_TO_CLS_BACKEND_MAP: dict[str, dict[str, StoreEntry]] = {}

#: scheme -> entry, for the single-store API.
SCHEME_TO_CLS_MAP: dict[str, StoreEntry] = {}


class StoreLocation:
    """One driver's view of where an image is.

    A driver overrides `process_specs`, `get_uri` and `parse_uri`. The repr
    never shows more than `safe_uri`.
    """

    def __init__(
        self,
        store_specs: Mapping[str, Any] | None,
        conf: Any = None,
        backend_group: str | None = None,
    ) -> None:
        self.conf = conf
        self.specs = dict(store_specs or {})
        self.backend_group = backend_group
        self.scheme: str | None = None
        if self.specs:
            self.process_specs()

    def process_specs(self) -> None:
        """Take the attributes over from ``self.specs``."""

    def get_uri(self) -> str:
        """The URI that, parsed, gives this location again."""
        raise NotImplementedError("StoreLocation subclass must implement get_uri()")

    def parse_uri(self, uri: str) -> None:
        """Take the attributes from *uri*; raises `BadStoreUri`."""
        raise NotImplementedError("StoreLocation subclass must implement parse_uri()")

    def safe_uri(self) -> str:
        """The URI without any credential, for people and logs."""
        return self.get_uri()

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} {self.safe_uri()}>"

    @staticmethod
    def validate_schemas(uri: str, valid_schemas: tuple[str, ...]) -> None:
        """Raise `BadStoreUri` unless *uri* starts with one of *valid_schemas*."""
        if not uri.startswith(tuple(valid_schemas)):
            known = ", ".join(valid_schemas)
            raise exceptions.BadStoreUri(f"Location URI must start with one of: {known}")


class Location:
    """A store location with the scheme and the store it belongs to.

    *store_name* is the scheme. Either *uri* is parsed, or *store_specs* are
    processed.
    """

    def __init__(
        self,
        store_name: str,
        store_location_class: type[StoreLocation],
        conf: Any,
        uri: str | None = None,
        image_id: str | None = None,
        store_specs: Mapping[str, Any] | None = None,
        backend: str | None = None,
    ) -> None:
        self.store_name = store_name
        self.image_id = image_id
        self.store_specs = store_specs or {}
        self.conf = conf
        self.backend_group = backend
        self.store_location = store_location_class(self.store_specs, conf, backend_group=backend)
        if uri:
            self.store_location.parse_uri(uri)

    def get_store_uri(self) -> str:
        """The URI the store itself understands."""
        return self.store_location.get_uri()

    def get_uri(self) -> None:
        """Nothing: locations carry no Glance URI of their own (as upstream)."""
        return


def _scheme(uri: str) -> str:
    return uri.partition("://")[0] if "://" in uri else uri.partition(":")[0]


def get_location_from_uri(uri: str, conf: Any = CONF) -> Location:
    """Parse *uri* for the single-store API; raises `UnknownScheme`, `BadStoreUri`."""
    scheme = _scheme(uri)
    if scheme not in SCHEME_TO_CLS_MAP:
        raise exceptions.UnknownScheme(scheme=scheme)
    entry = SCHEME_TO_CLS_MAP[scheme]
    return Location(scheme, entry["location_class"], conf, uri=uri)


def get_location_from_uri_and_backend(uri: str, backend: str, conf: Any = CONF) -> Location:
    """Parse *uri* as a location in store *backend*.

    Raises `UnknownScheme` (naming the backend, if that is what is unknown) and
    `BadStoreUri`.
    """
    scheme = _scheme(uri)
    stores = SCHEME_TO_CLS_BACKEND_MAP.get(scheme)
    if stores is None:
        raise exceptions.UnknownScheme(scheme=scheme)
    if backend not in stores:
        raise exceptions.UnknownScheme(scheme=backend)
    entry = stores[backend]
    return Location(scheme, entry["location_class"], conf, uri=uri, backend=backend)


def register_scheme_map(scheme_map: Mapping[str, StoreEntry]) -> None:
    """Merge *scheme_map*; a later entry replaces an earlier one."""
    SCHEME_TO_CLS_MAP.update(scheme_map)


def register_scheme_backend_map(
    scheme_map: Mapping[str, Mapping[str, StoreEntry]],
) -> None:
    """Merge *scheme_map*; a later entry of a store replaces an earlier one."""
    for scheme, stores in scheme_map.items():
        SCHEME_TO_CLS_BACKEND_MAP.setdefault(scheme, {}).update(stores)
