# SPDX-License-Identifier: Apache-2.0
"""Who logs in where: the accounts a store's options, its references or a location name."""

import configparser
import dataclasses
import re
import urllib.parse
from collections.abc import Mapping

from storefs import exceptions
from storefs.drivers.base import Options

_VERSIONS = {"1", "2", "3"}


@dataclasses.dataclass(frozen=True)
class Credentials:
    """One account. *advice* tells where its secrets are written, for messages that help.

    *user* is ``project:user``. Of domains either the id or the name is set.
    """

    auth_url: str
    version: str
    advice: str
    user: str = ""
    key: str = dataclasses.field(default="", repr=False)
    application_credential_id: str = ""
    application_credential_secret: str = dataclasses.field(default="", repr=False)
    user_domain_id: str | None = None
    user_domain_name: str | None = None
    project_domain_id: str | None = None
    project_domain_name: str | None = None

    @property
    def project(self) -> str:
        return self.user.partition(":")[0]

    @property
    def user_name(self) -> str:
        return self.user.partition(":")[2]

    @property
    def place(self) -> str:
        """What tells this account from others, without a secret."""
        return f"{self.auth_url} {self.user}{self.application_credential_id}"


class References:
    """The accounts of a store by name. Raises `BadStoreConfiguration`."""

    def __init__(self, options: Options, store_id: str) -> None:
        self._options = options
        self._store_id = store_id
        self.default: str = options.default_swift_reference
        self._known = self._from_file() if options.swift_store_config_file else self._inline()
        if self._known and self.default not in self._known:
            raise self._bad(
                f"default_swift_reference is {self.default}, and "
                f"{options.swift_store_config_file} has {', '.join(self._known)}"
            )

    @property
    def own(self) -> Credentials | None:
        """Those of the store itself; None if there are none."""
        return self._known.get(self.default)

    def of(self, reference: str) -> Credentials:
        """Those called *reference*; `BadStoreUri`."""
        if reference not in self._known:
            raise exceptions.BadStoreUri(
                f"The image is in the account called {reference}, which store {self._store_id} "
                f"does not know: add [{reference}] to swift_store_config_file"
            )
        return self._known[reference]

    def _inline(self) -> dict[str, Credentials]:
        options = self._options
        address = options.swift_store_auth_address
        secrets = {
            "user": options.swift_store_user,
            "key": options.swift_store_key,
            "application_credential_id": options.swift_store_application_credential_id,
            "application_credential_secret": options.swift_store_application_credential_secret,
        }
        if not address and not any(secrets.values()):
            return {}
        given = {name: value for name, value in secrets.items() if value}
        values = {"auth_address": address or "", **given}
        return {self.default: self._checked(values, "swift_store_", "")}

    def _from_file(self) -> dict[str, Credentials]:
        path = self._options.swift_store_config_file
        parser = configparser.ConfigParser(interpolation=None)
        try:
            with open(path, encoding="utf-8") as lines:
                parser.read_file(lines)
        except OSError as exc:
            raise self._bad(f"swift_store_config_file: {path}: {exc.strerror}") from exc
        except (configparser.Error, UnicodeDecodeError) as exc:
            # its text may quote a line, and a line may hold a secret
            raise self._bad(
                f"swift_store_config_file: {path} is no file of sections and names = values "
                f"({type(exc).__name__})"
            ) from None
        if not parser.sections():
            raise self._bad(f"swift_store_config_file: {path} has no section")
        return {
            name: self._checked(
                {key: self._unquoted(value, key, name) for key, value in parser.items(name)},
                "",
                f" of [{name}] in {path}",
            )
            for name in parser.sections()
        }

    def _unquoted(self, value: str, key: str, section: str) -> str:
        """Quotes around a value are no part of it, as in Glance."""
        if value[:1] not in {'"', "'"}:
            return value
        if len(value) == 1 or value[-1] != value[0]:
            raise self._bad(f"swift_store_config_file: {key} of [{section}] has one quote")
        return value[1:-1]

    def _checked(self, values: Mapping[str, str], prefix: str, where: str) -> Credentials:
        version = values.get("auth_version") or self._options.swift_store_auth_version
        version = version.removeprefix("v").partition(".")[0]
        if version not in _VERSIONS:
            raise self._bad(f"{prefix}auth_version{where} is none of 1, 2 and 3")
        self._check_complete(values, prefix, where, version)
        application = bool(values.get("application_credential_id"))
        names = ("application_credential_id", "application_credential_secret")
        pair = names if application else ("user", "key")
        try:
            url = auth_url(values["auth_address"], version)
        except ValueError as exc:
            raise self._bad(f"{prefix}auth_address{where}: {exc}") from exc
        return Credentials(
            url,
            version,
            f"check {prefix}{pair[0]} and {prefix}{pair[1]}{where}",
            **{name: values[name] for name in pair},
            **_domains(values),
        )

    def _check_complete(
        self, values: Mapping[str, str], prefix: str, where: str, version: str
    ) -> None:
        if values.get("application_credential_id") or values.get("application_credential_secret"):
            needed = ["application_credential_id", "application_credential_secret"]
            if version != "3":
                raise self._bad(f"application credentials{where} are for auth_version 3")
        else:
            needed = ["user", "key"]
        for name in ("auth_address", *needed):
            if not values.get(name):
                raise self._bad(f"{prefix}{name}{where} is not set")
        if "user" in needed and version != "1" and ":" not in values["user"]:
            raise self._bad(f"{prefix}user{where} is written project:user")

    def _bad(self, reason: str) -> exceptions.BadStoreConfiguration:
        return exceptions.BadStoreConfiguration(store_name=self._store_id, reason=reason)


def auth_url(address: str, version: str) -> str:
    """*address* as a URL without a slash at its end; ValueError says what is wrong with it."""
    url = address if "://" in address else f"https://{address}"
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        raise ValueError("it is a URL of http or https, or host:port/path")
    if "@" in parts.netloc:
        raise ValueError("credentials have options of their own")
    _ = parts.port
    path = parts.path.rstrip("/")
    if version != "1" and not re.search(r"/v\d[\d.]*$", path):
        path += "/v2.0" if version == "2" else "/v3"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _domains(values: Mapping[str, str]) -> dict[str, str]:
    """A domain that is not named is the one with the id ``default``."""
    found: dict[str, str] = {}
    for kind in ("user", "project"):
        names = (f"{kind}_domain_id", f"{kind}_domain_name")
        given = {name: values[name] for name in names if values.get(name)}
        found.update(given or {names[0]: "default"})
    return found
