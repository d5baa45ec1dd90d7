# SPDX-License-Identifier: Apache-2.0
"""What Glance calls of glance_store.backend, the functions of a service with one store.

Glance imports that module, and calls some of it, with several stores as well. Those
calls work here. One store without ``enabled_backends`` is not served: `create_stores`,
which Glance calls first in that case, says so, and nothing that would come after it
is here.
"""

from typing import Any, NoReturn

from oslo_config import cfg

from storefs import location, multi_backend, store_options

__all__ = ["create_stores", "delete_from_backend", "get_known_schemes", "register_opts"]

#: What glance-status looks for a removed store type in.
_STORES = cfg.ListOpt(
    "stores",
    help="Means nothing here: set enabled_backends in [DEFAULT].",
)


def register_opts(conf: Any) -> None:
    """Make the options of [glance_store] known to *conf*; glance-status always asks for them."""
    options = [*store_options.GLANCE_STORE_OPTIONS, _STORES]
    store_options.register(conf, options, store_options.SINGLE_STORE_GROUP)


def create_stores(conf: Any = None) -> NoReturn:
    """Raise RuntimeError, which Glance's commands print and end with."""
    raise RuntimeError(
        "One store without an identifier is not supported: set enabled_backends = "
        "IDENTIFIER:TYPE in [DEFAULT] and default_backend = IDENTIFIER in [glance_store]"
    )


def get_known_schemes() -> Any:
    """The URI schemes of the single-store API, as a keys view: none."""
    return location.SCHEME_TO_CLS_MAP.keys()


def delete_from_backend(uri: str, context: Any = None) -> Any:
    """Delete the image at *uri* where it is found.

    The scrubber calls it of a location that names no store, however many there are.
    """
    return multi_backend.delete(uri, None, context)
