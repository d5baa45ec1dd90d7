# SPDX-License-Identifier: Apache-2.0
"""Every Glance-style image store as a directory, and the library below it.

``import storefs`` gives what ``import glance_store`` gives a service with
several stores: the functions of `storefs.multi_backend` and `storefs.backend`,
the exceptions, and the modules ``backend``, ``location``, ``exceptions``,
``capabilities`` and ``driver``. They are loaded when they are first used, so
the version can be asked for without any dependency.
"""

__version__ = "0.1.0"

import importlib
from typing import Any

_MODULES = ("backend", "capabilities", "driver", "exceptions", "location", "multi_backend")

_FUNCTIONS = (
    "add",
    "add_with_multihash",
    "check_location_metadata",
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
    "verify_store",
)

_SINGLE_STORE = ("create_stores", "delete_from_backend", "get_known_schemes", "register_opts")

_EXCEPTIONS = (
    "AuthBadRequest",
    "AuthUrlNotFound",
    "AuthorizationFailure",
    "AuthorizationRedirect",
    "BackendException",
    "BadAuthStrategy",
    "BadStoreConfiguration",
    "BadStoreUri",
    "DriverLoadFailure",
    "Duplicate",
    "Forbidden",
    "GlanceStoreException",
    "HasSnapshot",
    "HostNotInitialized",
    "ImageChanged",
    "ImageImmutable",
    "ImageTooLarge",
    "InUseByStore",
    "Invalid",
    "MaxRedirectsExceeded",
    "MissingCredentialError",
    "NoServiceEndpoint",
    "NotAuthenticated",
    "NotFound",
    "RedirectException",
    "RegionAmbiguity",
    "RemoteServiceUnavailable",
    "StorageFull",
    "StorageWriteDenied",
    "StoreAddDisabled",
    "StoreDeleteNotSupported",
    "StoreGetNotSupported",
    "StoreRandomGetNotSupported",
    "TimeoutError",
    "UnknownHashingAlgo",
    "UnknownScheme",
    "UnsupportedBackend",
    "UnsupportedWrite",
)

#: name -> the module it comes from
_SOURCES = {
    **dict.fromkeys(_FUNCTIONS, "multi_backend"),
    **dict.fromkeys(_SINGLE_STORE, "backend"),
    **dict.fromkeys(_EXCEPTIONS, "exceptions"),
    "CONF": "multi_backend",
    "Store": "driver",
}

__all__ = ["__version__", *_MODULES, *_SOURCES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _SOURCES:
        return getattr(importlib.import_module(f"{__name__}.{_SOURCES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
