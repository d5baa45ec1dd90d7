# SPDX-License-Identifier: Apache-2.0
"""Who asks Cinder: the store's own account, or the caller of Glance's API."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from storefs import exceptions
from storefs.drivers.base import Options
from storefs.drivers.cinder.errors import translated

#: Attachments have a mode since 3.54, and attached volumes are extended since 3.42.
MICROVERSION = "3.54"

#: How many requests run at once; a store has 32 threads.
_CONNECTIONS = 32

_ACCOUNT = (
    "cinder_store_auth_address",
    "cinder_store_user_name",
    "cinder_store_password",
    "cinder_store_project_name",
)
_CREDENTIAL = (
    "cinder_store_application_credential_id",
    "cinder_store_application_credential_secret",
)


class CatalogInfo(NamedTuple):
    """The three parts of ``cinder_catalog_info``."""

    service_type: str
    service_name: str
    interface: str


@dataclasses.dataclass(frozen=True, slots=True)
class Account:
    """One account at Cinder: its client, and what tells its project's id (may ask Keystone)."""

    client: Any
    project_id: Callable[[], str]


class Accounts:
    """Makes clients of Cinder. Raises `BadStoreConfiguration` with the option that is wrong."""

    def __init__(self, options: Options, store_id: str) -> None:
        self._options = options
        self._store_id = store_id
        self._info = self._catalog_info()
        self._template: str = options.cinder_endpoint_template or ""
        self._check()
        self._http: Any = None

    @property
    def configured(self) -> bool:
        """Has the store an account of its own?"""
        return self._all(_CREDENTIAL) or self._all(_ACCOUNT)

    @property
    def place(self) -> str:
        """Whose volumes they are: the same for every process with this configuration."""
        options = self._options
        project = options.cinder_store_application_credential_id
        parts = (
            options.cinder_store_auth_address,
            project or options.cinder_store_project_name,
            options.cinder_store_project_domain_name,
            options.cinder_os_region_name,
            self._template,
        )
        return "|".join(str(part or "") for part in parts)

    def own(self) -> Account:
        """The store's own account; no I/O."""
        auth = self._credential() if self._all(_CREDENTIAL) else self._password()
        session = self._session(auth)
        template = self._template.replace("%(tenant)s", "%(project_id)s")
        return Account(
            self._client(session, template), lambda: str(session.get_project_id(auth) or "")
        )

    def of(self, context: Any) -> Account:
        """The account of the caller of *context*; no I/O. `NotAuthenticated`."""
        from keystoneauth1 import token_endpoint

        project = str(getattr(context, "project_id", None) or getattr(context, "tenant", "") or "")
        token = getattr(context, "auth_token", None)
        if not token or not project:
            raise exceptions.NotAuthenticated(
                f"Store {self._store_id} has no account of its own, and the caller has no token"
            )
        if self._template:
            endpoint = self._template % {"tenant": project, "project_id": project}
        else:
            endpoint = self._found_by(context)
        session = self._session(token_endpoint.Token(endpoint, token))
        return Account(self._client(session, endpoint), lambda: project)

    def close(self) -> None:
        if self._http is not None:
            self._http.close()

    def _all(self, names: tuple[str, ...]) -> bool:
        address = self._options.cinder_store_auth_address
        return bool(address) and all(getattr(self._options, name) for name in names)

    def _credential(self) -> Any:
        from keystoneauth1.identity import v3

        options = self._options
        return v3.ApplicationCredential(
            auth_url=options.cinder_store_auth_address,
            application_credential_id=options.cinder_store_application_credential_id,
            application_credential_secret=options.cinder_store_application_credential_secret,
        )

    def _password(self) -> Any:
        from keystoneauth1.identity import v3

        options = self._options
        return v3.Password(
            auth_url=options.cinder_store_auth_address,
            username=options.cinder_store_user_name,
            password=options.cinder_store_password,
            user_domain_name=options.cinder_store_user_domain_name,
            project_name=options.cinder_store_project_name,
            project_domain_name=options.cinder_store_project_domain_name,
        )

    def _client(self, session: Any, endpoint: str) -> Any:
        from cinderclient import client

        return client.Client(
            MICROVERSION,
            session=session,
            service_type=self._info.service_type,
            service_name=self._info.service_name or None,
            interface=self._info.interface,
            region_name=self._options.cinder_os_region_name,
            connect_retries=self._options.cinder_http_retries,
            endpoint_override=endpoint or None,
        )

    def _session(self, auth: Any) -> Any:
        import requests
        import requests.adapters
        from keystoneauth1 import session

        options = self._options
        if self._http is None:
            self._http = requests.Session()
            adapter = requests.adapters.HTTPAdapter(_CONNECTIONS, _CONNECTIONS)
            for scheme in ("http://", "https://"):
                self._http.mount(scheme, adapter)
        trusted: bool | str = options.cinder_ca_certificates_file or True
        return session.Session(
            auth=auth,
            session=self._http,
            verify=False if options.cinder_api_insecure else trusted,
            timeout=options.cinder_api_timeout,
            user_agent="storefs",
        )

    def _found_by(self, context: Any) -> str:
        """Cinder's endpoint in the catalogue that came with *context*."""
        from keystoneauth1.access import service_catalog

        catalog = getattr(context, "service_catalog", None) or []
        kinds = {
            True: service_catalog.ServiceCatalogV2,
            False: service_catalog.ServiceCatalogV3,
        }
        # Glance hands on the form of Keystone v2, whatever Keystone is asked
        old = any("publicURL" in end for entry in catalog for end in entry.get("endpoints", ()))
        with translated(f"Store {self._store_id}"):
            return str(
                kinds[old](catalog).url_for(
                    service_type=self._info.service_type,
                    service_name=self._info.service_name or None,
                    interface=self._info.interface,
                    region_name=self._options.cinder_os_region_name,
                )
            )

    def _catalog_info(self) -> CatalogInfo:
        parts = self._options.cinder_catalog_info.split(":")
        if len(parts) != 3 or not parts[0] or not parts[2]:
            raise self._bad("cinder_catalog_info is written type:name:interface")
        return CatalogInfo(*parts)

    def _check(self) -> None:
        """A part of an account is a mistake: none at all means the callers' accounts."""
        options = self._options
        given = {name: bool(getattr(options, name)) for name in (*_ACCOUNT, *_CREDENTIAL)}
        wanted = _CREDENTIAL if any(given[name] for name in _CREDENTIAL) else _ACCOUNT
        missing = [name for name in ("cinder_store_auth_address", *wanted) if not given[name]]
        if any(given.values()) and missing:
            raise self._bad(f"{missing[0]} is not set, but other parts of the account are")
        path = options.cinder_ca_certificates_file
        if path and not os.access(path, os.R_OK):
            raise self._bad(f"cinder_ca_certificates_file: {path} cannot be read")
        try:
            self._template % {"tenant": "", "project_id": ""}
        except (KeyError, ValueError, TypeError) as exc:
            raise self._bad(
                f"cinder_endpoint_template has a % that is not %(tenant)s: {exc}"
            ) from exc

    def _bad(self, reason: str) -> exceptions.BadStoreConfiguration:
        return exceptions.BadStoreConfiguration(store_name=self._store_id, reason=reason)
