# SPDX-License-Identifier: Apache-2.0
"""A login that lasts: tokens renewed before they expire, and when they are refused."""

import dataclasses
import math
import threading
import time
import urllib.parse
from collections.abc import Callable

from storefs import exceptions
from storefs.drivers.http_transport import Origin, Transport
from storefs.drivers.http_url import public_url
from storefs.drivers.swift.credentials import Credentials

#: How old a refused token is at least for another one to be worth asking for, seconds:
#: what a fresh one may not do the next may not either.
_FRESH = 1.0


@dataclasses.dataclass(frozen=True)
class Access:
    """What a login gives: the account's URL, a token, and for how many seconds it is good."""

    storage_url: str
    token: str = dataclasses.field(repr=False)
    life: float = math.inf


class Session:
    """Always a good `Access`; thread-safe.

    *login* asks for a new one. *margin* is how many seconds before its end a token
    is renewed; one that lives but shortly is used for two thirds of its life.
    """

    def __init__(self, login: Callable[[], Access], margin: float) -> None:
        self._login = login
        self._margin = margin
        self._lock = threading.Lock()
        self._access: Access | None = None
        self._since = 0.0

    def access(self) -> Access:
        """The token there is, or a new one if that expires soon."""
        with self._lock:
            if self._access is None or self._expires_soon(self._access):
                self._renew()
            assert self._access is not None
            return self._access

    def renew(self) -> bool:
        """The token was refused: get another; False if that one was just got."""
        with self._lock:
            if self._access is not None and time.monotonic() - self._since < _FRESH:
                return False
            self._renew()
            return True

    def _expires_soon(self, access: Access) -> bool:
        used_for = max(access.life - self._margin, access.life * 2 / 3)
        return time.monotonic() - self._since >= used_for

    def _renew(self) -> None:
        begun = time.monotonic()
        self._access = self._login()
        self._since = begun


class PasswordLogin:
    """Auth v1: a GET that answers with the account's URL and a token."""

    def __init__(
        self, transport: Transport, credentials: Credentials, endpoint: str | None
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._endpoint = endpoint

    def __call__(self) -> Access:
        found = self._credentials
        headers = {"X-Auth-User": found.user, "X-Auth-Key": found.key}
        answer = self._transport.send("GET", Origin(found.auth_url), headers)
        answer.discard()
        storage_url = answer.headers.get("X-Storage-Url", "")
        token = answer.headers.get("X-Auth-Token") or answer.headers.get("X-Storage-Token", "")
        if answer.status in {401, 403}:
            raise exceptions.NotAuthenticated(
                f"{public_url(found.auth_url)} does not accept the user or the key: {found.advice}"
            )
        if answer.status >= 300 or not storage_url or not token:
            raise exceptions.BadStoreConfiguration(
                f"{answer}, which is no login of auth version 1: check "
                "swift_store_auth_address and swift_store_auth_version"
            )
        life = answer.headers.get("X-Auth-Token-Expires", "")
        return Access(
            (self._endpoint or storage_url).rstrip("/"),
            token,
            float(life) if life.isdecimal() else math.inf,
        )


def on_servicenet(login: Callable[[], Access]) -> Callable[[], Access]:
    """*login*, leading to the account's host in the provider's inner network."""

    def inner() -> Access:
        access = login()
        parts = urllib.parse.urlsplit(access.storage_url)
        url = parts._replace(netloc=f"snet-{parts.netloc}").geturl()
        return dataclasses.replace(access, storage_url=url)

    return inner
