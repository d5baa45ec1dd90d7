# SPDX-License-Identifier: Apache-2.0
"""Logging in at Keystone, versions 2 and 3, by keystoneauth1: who may, and where Swift is."""

import contextlib
import datetime
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import requests
from keystoneauth1 import exceptions as errors
from keystoneauth1 import session as keystone_session
from keystoneauth1.access import service_catalog
from keystoneauth1.identity import v2, v3

from storefs import exceptions
from storefs.drivers.http_url import public_url
from storefs.drivers.swift.credentials import Credentials
from storefs.drivers.swift.session import Access

#: How long a trust is good that nobody could delete, after a crash say.
_TRUSTED_FOR = datetime.timedelta(days=1)

#: Keystone has one trust of the same two users with the same end, deleted ones counted (409):
#: ends lie anywhere in so many seconds.
_SPREAD = 3600

_Raised = type[exceptions.GlanceStoreException]


class Catalog:
    """Which of the addresses in a catalogue is Swift's: *type_*, *interface* and *region*.

    *endpoint* is used instead of any; ``%(project_id)s`` in it is filled in.
    """

    def __init__(
        self, type_: str, interface: str, region: str | None, endpoint: str | None
    ) -> None:
        self._type = type_
        self._interface = interface
        self._region = region
        self.endpoint = endpoint

    def fixed(self, project_id: str) -> str | None:
        """The address the options give, if they give one."""
        if not self.endpoint:
            return None
        url: str = self.endpoint
        for name in ("%(project_id)s", "%(tenant_id)s"):
            url = url.replace(name, project_id)
        return url.rstrip("/")

    def find(self, catalog: service_catalog.ServiceCatalog) -> str:
        """Swift's address; `BadStoreConfiguration` says which option may be wrong."""
        try:
            url = catalog.url_for(
                service_type=self._type, interface=self._interface, region_name=self._region
            )
        except errors.CatalogException as exc:
            where = f" in region {self._region}" if self._region else ""
            raise exceptions.BadStoreConfiguration(
                f"Keystone's catalogue has no {self._type} with a {self._interface}{where}: check "
                "swift_store_service_type, swift_store_endpoint_type and swift_store_region, or "
                "set swift_store_endpoint"
            ) from exc
        return str(url).rstrip("/")

    def in_context(self, context: Any) -> str:
        """Swift's address for the caller of Glance's request *context*."""
        fixed = self.fixed(project_of(context))
        if fixed is not None:
            return fixed
        services = list(getattr(context, "service_catalog", None) or ())
        return self.find(_parsed(services))


def _parsed(services: Sequence[dict[str, Any]]) -> service_catalog.ServiceCatalog:
    """Glance hands over the catalogue in the form of either version."""
    new = any("interface" in end for entry in services for end in entry.get("endpoints", ()))
    kind = service_catalog.ServiceCatalogV3 if new else service_catalog.ServiceCatalogV2
    return kind(list(services))


def project_of(context: Any) -> str:
    return getattr(context, "project_id", None) or getattr(context, "tenant", None) or ""


class Keystone:
    """How to speak with a Keystone: time-out in seconds, *verify* as in requests."""

    def __init__(self, timeout: float, verify: bool | str, catalog: Catalog) -> None:
        self._timeout = timeout
        self._verify = verify
        self.catalog = catalog

    def session(self, plugin: Any) -> keystone_session.Session:
        http = requests.Session()
        # else REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE win over what the options say
        http.trust_env = False
        return keystone_session.Session(
            auth=plugin, session=http, verify=self._verify, timeout=self._timeout
        )

    def login(self, credentials: Credentials, trust_id: str | None = None) -> "KeystoneLogin":
        return KeystoneLogin(self, credentials, trust_id)


class KeystoneLogin:
    """A login as *credentials*, or with *trust_id* for whoever trusts them."""

    def __init__(
        self, keystone: Keystone, credentials: Credentials, trust_id: str | None = None
    ) -> None:
        self._keystone = keystone
        self._credentials = credentials
        self._plugin = _plugin(credentials, trust_id)
        self._session = keystone.session(self._plugin)

    def __call__(self) -> Access:
        with translated(self._credentials):
            self._plugin.invalidate()
            found = self._plugin.get_access(self._session)
        catalog = self._keystone.catalog
        url = catalog.fixed(found.project_id or "") or catalog.find(found.service_catalog)
        return Access(url, found.auth_token, _seconds_until(found.expires))

    def user_id(self) -> str:
        """Keystone's id of the user."""
        with translated(self._credentials):
            return str(self._plugin.get_user_id(self._session))

    def delete_trust(self, trust_id: str) -> None:
        """End the trust this login is by."""
        with translated(self._credentials):
            url = f"{self._credentials.auth_url}/OS-TRUST/trusts/{trust_id}"
            self._session.delete(url)


def new_trust(keystone: Keystone, credentials: Credentials, context: Any) -> str:
    """The id of a new trust: the caller of *context* trusts *credentials* with all its roles."""
    trustee = keystone.login(credentials).user_id()
    plugin = v3.Token(
        credentials.auth_url, token=context.auth_token, project_id=project_of(context)
    )
    session = keystone.session(plugin)
    with translated(credentials):
        access = plugin.get_access(session)
        spread = datetime.timedelta(seconds=random.uniform(0, _SPREAD))
        expires = datetime.datetime.now(datetime.UTC) + _TRUSTED_FOR + spread
        trust = {
            "trustor_user_id": access.user_id,
            "trustee_user_id": trustee,
            "project_id": access.project_id,
            "impersonation": True,
            "roles": [{"name": name} for name in access.role_names or ()],
            "expires_at": expires.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        url = f"{credentials.auth_url}/OS-TRUST/trusts"
        answer = session.post(url, json={"trust": trust})
        return str(answer.json()["trust"]["id"])


def _plugin(found: Credentials, trust_id: str | None) -> Any:
    if found.version == "2":
        return v2.Password(
            found.auth_url, username=found.user_name, password=found.key, tenant_name=found.project
        )
    if found.application_credential_id:
        return v3.ApplicationCredential(
            found.auth_url,
            application_credential_id=found.application_credential_id,
            application_credential_secret=found.application_credential_secret,
        )
    project = {
        "project_name": found.project,
        "project_domain_id": found.project_domain_id,
        "project_domain_name": found.project_domain_name,
    }
    return v3.Password(
        found.auth_url,
        username=found.user_name,
        password=found.key,
        user_domain_id=found.user_domain_id,
        user_domain_name=found.user_domain_name,
        **({"trust_id": trust_id} if trust_id else project),
    )


def _seconds_until(moment: datetime.datetime | None) -> float:
    if moment is None:
        return math.inf
    return (moment - datetime.datetime.now(datetime.UTC)).total_seconds()


#: keystoneauth1's error -> the exception and what is said; the first that fits.
_TABLE: tuple[tuple[type[Exception], _Raised, str], ...] = (
    (
        errors.Unauthorized,
        exceptions.NotAuthenticated,
        "Keystone at {url} does not accept the credentials: {advice}",
    ),
    (
        errors.Forbidden,
        exceptions.Forbidden,
        "Keystone at {url} does not allow it: check the roles in the project, and {advice}",
    ),
    (
        errors.NotFound,
        exceptions.BadStoreConfiguration,
        "There is no Keystone {version} at {url}: check swift_store_auth_address and _version",
    ),
    (
        errors.SSLError,
        exceptions.RemoteServiceUnavailable,
        "The certificate of {url} is not trusted: name its authority in swift_store_cacert",
    ),
    (
        errors.ConnectTimeout,
        exceptions.TimeoutError,
        "Keystone at {url} did not answer in time",
    ),
    (
        errors.ConnectFailure,
        exceptions.RemoteServiceUnavailable,
        "Cannot connect to Keystone at {url}: check swift_store_auth_address",
    ),
    (
        errors.HttpServerError,
        exceptions.RemoteServiceUnavailable,
        "Keystone at {url} failed: try again later",
    ),
    (
        errors.ClientException,
        exceptions.AuthorizationFailure,
        "Keystone at {url} failed ({kind}): check swift_store_auth_address and {advice}",
    ),
)


@contextlib.contextmanager
def translated(credentials: Credentials) -> Iterator[None]:
    """keystoneauth1's errors as those of storefs; what it says may hold a password, and is left."""
    try:
        yield
    except errors.ClientException as exc:
        raised, text = next(row[1:] for row in _TABLE if isinstance(exc, row[0]))
        raise raised(
            text.format(
                url=public_url(credentials.auth_url),
                version=credentials.version,
                advice=credentials.advice,
                kind=type(exc).__name__,
            )
        ) from exc
