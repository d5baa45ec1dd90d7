# SPDX-License-Identifier: Apache-2.0
"""One table: what cinderclient, keystoneauth and os-brick raise -> `storefs.exceptions`."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from storefs import exceptions

_Raised = type[exceptions.GlanceStoreException]

_ACCOUNT = (
    "check cinder_store_user_name, cinder_store_password and cinder_store_project_name, or the "
    "application credential"
)

_CATALOG = (
    "Keystone's catalogue has no such Cinder: check cinder_catalog_info and "
    "cinder_os_region_name, or set cinder_endpoint_template"
)

#: HTTP status -> the exception and the advice.
_STATUS: dict[int, tuple[_Raised, str]] = {
    401: (exceptions.NotAuthenticated, _ACCOUNT),
    403: (exceptions.Forbidden, "the account has no such right in Cinder"),
    404: (exceptions.NotFound, ""),
    406: (
        exceptions.BadStoreConfiguration,
        "Cinder is too old: attachments need microversion 3.54, that is Stein or later",
    ),
    413: (exceptions.StorageFull, "raise the project's quota, or delete volumes"),
    429: (exceptions.RemoteServiceUnavailable, "try again later"),
}

#: Parts of Cinder's texts for status 400 and 409 -> what they mean.
_REFUSED: tuple[tuple[str, _Raised], ...] = (
    ("status must be", exceptions.InUseByStore),
    ("already attached", exceptions.InUseByStore),
    ("multiattach", exceptions.InUseByStore),
    ("quota", exceptions.StorageFull),
    ("exceed", exceptions.StorageFull),
)

#: keystoneauth's and cinderclient's other errors by class name, so that the table needs
#: neither library imported.
_NAMED: dict[str, tuple[_Raised, str]] = {
    "EndpointNotFound": (
        exceptions.BadStoreConfiguration,
        _CATALOG,
    ),
    "MissingAuthPlugin": (exceptions.NotAuthenticated, _ACCOUNT),
    "Unauthorized": (exceptions.NotAuthenticated, _ACCOUNT),
    "DiscoveryFailure": (
        exceptions.RemoteServiceUnavailable,
        "Keystone does not answer as Keystone does: check cinder_store_auth_address",
    ),
    "SSLError": (
        exceptions.RemoteServiceUnavailable,
        "name the server's authority in cinder_ca_certificates_file",
    ),
    "ConnectTimeout": (exceptions.TimeoutError, "see cinder_api_timeout"),
    "ReadTimeout": (exceptions.TimeoutError, "see cinder_api_timeout"),
    "UnsupportedVersion": (
        exceptions.BadStoreConfiguration,
        "Cinder is too old: attachments need microversion 3.54, that is Stein or later",
    ),
}


#: What urllib3 adds to the name of a server that does not answer.
_POOL = re.compile(r":? *HTTPS?ConnectionPool\(.*")


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Errors of the block leave as `storefs.exceptions`; *doing* is put before their text."""
    try:
        yield
    except (exceptions.GlanceStoreException, exceptions.BackendException):
        raise
    except Exception as exc:
        raise named(doing, exc) from exc


def named(doing: str, exc: Exception) -> Exception:
    """The exception for *exc*, which *doing* something raised."""
    text = _text(exc)
    code = int(getattr(exc, "http_status", 0) or getattr(exc, "code", 0) or 0)
    classes = [parent.__name__ for parent in type(exc).__mro__]
    known = next((_NAMED[name] for name in classes if name in _NAMED), None)
    if code in {400, 409}:
        return _refused(doing, text)
    if isinstance(exc, ValueError) and "endpoint" in text:
        # how cinderclient is told by keystoneauth that the catalogue has none
        known = (exceptions.BadStoreConfiguration, _CATALOG)
    if known is None:
        known = _STATUS.get(code) or (_other(exc, code), "")
    raised, advice = known
    return raised(": ".join(filter(None, (doing, text, advice))))


def _refused(doing: str, text: str) -> Exception:
    lower = text.lower()
    raised = next((raised for part, raised in _REFUSED if part in lower), exceptions.Invalid)
    return raised(f"{doing}: {text}")


def _other(exc: Exception, code: int) -> _Raised:
    """What is neither in the table nor refused: the server's fault, or the network's."""
    if code >= 500 or type(exc).__module__.startswith(
        ("keystoneauth1", "requests", "cinderclient")
    ):
        return exceptions.RemoteServiceUnavailable
    if isinstance(exc, FileNotFoundError | PermissionError):
        return exceptions.BadStoreConfiguration
    return exceptions.RemoteServiceUnavailable


def _text(exc: Any) -> str:
    """What the server or the library said, in one line."""
    text = str(getattr(exc, "message", None) or getattr(exc, "msg", None) or exc)
    return _POOL.sub("", " ".join(text.split())) or type(exc).__name__
