# SPDX-License-Identifier: Apache-2.0
"""Whose account a location means: the store's own, a reference's, or one it has the key to."""

import collections
import contextlib
import dataclasses
import threading
import urllib.parse
from collections.abc import Callable
from typing import Any

from storefs import exceptions
from storefs.drivers.base import Options
from storefs.drivers.http_pool import BACK_OFF, HttpSettings
from storefs.drivers.swift.client import PatientTransport, SwiftClient
from storefs.drivers.swift.credentials import Credentials, References, auth_url
from storefs.drivers.swift.keystone import Catalog, Keystone, new_trust
from storefs.drivers.swift.location import SwiftLocation
from storefs.drivers.swift.session import Access, PasswordLogin, Session, on_servicenet

#: The waits while a server is busy or comes back, seconds.
_BACK_OFF = (*BACK_OFF, 2.0, 4.0)

#: How many clients for the accounts of other locations are kept.
_OTHERS = 16

Login = Callable[[], Access]


class Accounts:
    """The clients of a store. Raises `BadStoreConfiguration` with the option that is wrong."""

    def __init__(self, options: Options, store_id: str) -> None:
        self._options = options
        self._store_id = store_id
        self.references = References(options, store_id)
        self.transport = self._transport()
        self._keystone = Keystone(
            options.swift_store_read_timeout,
            options.swift_store_cacert or not options.swift_store_auth_insecure,
            Catalog(
                options.swift_store_service_type,
                options.swift_store_endpoint_type,
                options.swift_store_region,
                options.swift_store_endpoint,
            ),
        )
        self._others: collections.OrderedDict[Any, SwiftClient] = collections.OrderedDict()
        self._lock = threading.Lock()
        self.own = self._client(self._own_login())

    def of(self, location: SwiftLocation, caller: SwiftClient) -> SwiftClient:
        """The client for *location*, which *caller* asked for; `BadStoreUri`.

        A token is said to the server alone that it was got for: the account's URL
        in a location has to be at the same one.
        """
        if location.reference is not None:
            return self._referred(location.reference)
        if location.user is not None:
            return self._with_key(location)
        if _server(location.swift_url) != _server(caller.session.access().storage_url):
            raise exceptions.BadStoreUri(
                f"{location.safe_uri()} is not at the server of store {self._store_id}"
            )
        return SwiftClient(self.transport, _Elsewhere(caller.session, location.swift_url))

    def _referred(self, reference: str) -> SwiftClient:
        if reference == self.references.default:
            return self.own
        return self._other(self.references.of(reference))

    def _with_key(self, location: SwiftLocation) -> SwiftClient:
        """For a location with credentials in it, as Glance writes it without references."""
        own = self.references.own
        version = own.version if own else self._options.swift_store_auth_version
        try:
            url = auth_url(location.swift_url, version)
        except ValueError as exc:
            raise exceptions.BadStoreUri(f"{location.safe_uri()}: {exc}") from exc
        if own is not None and (own.auth_url, own.user) == (url, location.user):
            return self.own
        if version != "1" and ":" not in (location.user or ""):
            raise exceptions.BadStoreUri(f"{location.safe_uri()}: a user is project%3Auser")
        base = own or Credentials(
            "", version, "", user_domain_id="default", project_domain_id="default"
        )
        found = dataclasses.replace(
            base,
            auth_url=url,
            user=location.user or "",
            key=location.key or "",
            application_credential_id="",
            application_credential_secret="",
            advice="check the credentials in the location of the image",
        )
        return self._other(found)

    def in_context(self, context: Any) -> tuple[str, SwiftClient]:
        """The caller's account: its URL, and a client with the caller's token. No I/O."""
        url = self._keystone.catalog.in_context(context)
        access = Access(url, getattr(context, "auth_token", None) or "")
        return url, SwiftClient(self.transport, Session(self._adapted(lambda: access), 0))

    def trusted(self, context: Any) -> "Trusted":
        """The store's own user in the place of the caller of *context*; raises as logins do."""
        own = self.references.own
        assert own is not None
        trust = new_trust(self._keystone, own, context)
        login = self._keystone.login(own, trust)
        client = self._client(self._adapted(login))
        return Trusted(client, lambda: login.delete_trust(trust))

    @property
    def can_be_trusted(self) -> bool:
        own = self.references.own
        return own is not None and own.version == "3"

    def close(self) -> None:
        self.transport.close()

    def _client(self, login: Login) -> SwiftClient:
        margin = self._options.swift_store_expire_soon_interval
        return SwiftClient(self.transport, Session(login, margin))

    def _other(self, found: Credentials) -> SwiftClient:
        with self._lock:
            if found not in self._others:
                self._others[found] = self._client(self._login(found))
            self._others.move_to_end(found)
            while len(self._others) > _OTHERS:
                self._others.popitem(last=False)
            return self._others[found]

    def _own_login(self) -> Login:
        own = self.references.own
        if own is not None:
            return self._login(own)
        if not self._options.swift_store_multi_tenant:
            raise self._bad(
                "there are no credentials: set swift_store_auth_address, swift_store_user and "
                "swift_store_key, or swift_store_config_file"
            )
        return self._nobody

    def _nobody(self) -> Access:
        raise exceptions.BadStoreConfiguration(
            store_name=self._store_id,
            reason="nobody asked for it, and the store has no account of its own: set "
            "swift_store_auth_address, swift_store_user and swift_store_key",
        )

    def _login(self, found: Credentials) -> Login:
        if found.version == "1":
            endpoint = self._keystone.catalog.fixed("")
            return self._adapted(PasswordLogin(self.transport, found, endpoint))
        return self._adapted(self._keystone.login(found))

    def _adapted(self, login: Login) -> Login:
        return on_servicenet(login) if self._options.swift_enable_snet else login

    def _transport(self) -> PatientTransport:
        options = self._options
        settings = HttpSettings(
            connect_timeout=options.swift_store_connect_timeout,
            read_timeout=options.swift_store_read_timeout,
            max_redirects=None,
            max_connections=(
                options.swift_store_read_connections + options.swift_store_write_connections
            ),
            back_off=(*_BACK_OFF, *(4.0,) * options.swift_store_retry_get_count),
            ca_file=options.swift_store_cacert or None,
            insecure=options.swift_store_auth_insecure,
            tls_hint=": name its authority in swift_store_cacert",
        )
        try:
            return PatientTransport(settings)
        except OSError as exc:
            raise self._bad(f"swift_store_cacert: {exc.strerror or exc}") from exc

    def _bad(self, reason: str) -> exceptions.BadStoreConfiguration:
        return exceptions.BadStoreConfiguration(store_name=self._store_id, reason=reason)


class Trusted:
    """A client by a trust, until `end`."""

    def __init__(self, client: SwiftClient, delete: Callable[[], None]) -> None:
        self.client = client
        self._delete: Callable[[], None] | None = delete

    def end(self) -> None:
        """Delete the trust; one that stays ends by itself. May be called more than once."""
        delete, self._delete = self._delete, None
        if delete is not None:
            with contextlib.suppress(exceptions.GlanceStoreException):
                delete()


class _Elsewhere(Session):
    """The same token for another account of the same server: its ACLs decide."""

    def __init__(self, session: Session, storage_url: str) -> None:
        self._session = session
        self._storage_url = storage_url

    def access(self) -> Access:
        return dataclasses.replace(self._session.access(), storage_url=self._storage_url)

    def renew(self) -> bool:
        return self._session.renew()


def _server(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc.lower().removeprefix("snet-")
