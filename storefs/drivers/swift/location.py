# SPDX-License-Identifier: Apache-2.0
"""Where an image is in Swift, in the three forms Glance writes.

``swift+config://reference/container/object``: in the account of a reference.
``swift+https://project%3Auser:key@auth.host/v3/container/object``: in the one
these credentials lead to. ``swift+https://storage.host/v1/AUTH_id/container/object``:
by the account's own URL. ``swift://`` means https.
"""

import re
import urllib.parse

from storefs import exceptions
from storefs.drivers.base import unquoted_image_id
from storefs.location import StoreLocation

SCHEMES = ("swift+https", "swift", "swift+http", "swift+config")

_SCHEME_PREFIXES = tuple(f"{scheme}://" for scheme in SCHEMES)

#: What ends a URL early, and surrogates: bytes that are no UTF-8.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:@/]+)(:\d+)?")

_REFERENCE = re.compile(r"[^/@]+")


class SwiftLocation(StoreLocation):
    """*auth_or_store_url* is without a scheme, *container* and *obj* are unquoted.

    With *reference* neither of *auth_or_store_url*, *user* and *key* is there.
    """

    reference: str | None = None
    user: str | None = None
    key: str | None = None
    auth_or_store_url = ""
    container = ""
    obj = ""

    @property
    def image_id(self) -> str:
        return self.obj

    @property
    def swift_url(self) -> str:
        """Where to log in, or without a user the account's URL."""
        scheme = "http" if self.scheme == "swift+http" else "https"
        return f"{scheme}://{self.auth_or_store_url}"

    def process_specs(self) -> None:
        self.scheme = self.specs.get("scheme", "swift+https")
        self.reference = self.specs.get("reference")
        self.user = self.specs.get("user")
        self.key = self.specs.get("key")
        url = self.specs.get("auth_or_store_url") or ""
        self.auth_or_store_url = url.rpartition("://")[2].strip("/")
        self.container = self.specs["container"]
        self.obj = self.specs["obj"]

    def get_uri(self) -> str:
        return self._uri(urllib.parse.quote(self.key or "", safe=""))

    def safe_uri(self) -> str:
        return self._uri("***")

    def _uri(self, key: str) -> str:
        path = "/".join(urllib.parse.quote(part, safe="") for part in (self.container, self.obj))
        if self.reference is not None:
            return f"swift+config://{self.reference}/{path}"
        user = f"{urllib.parse.quote(self.user, safe='')}:{key}@" if self.user else ""
        return f"{self.scheme}://{user}{self.auth_or_store_url}/{path}"

    def parse_uri(self, uri: str) -> None:
        self.validate_schemas(uri, _SCHEME_PREFIXES)
        scheme, _, rest = uri.partition("://")
        if "://" in rest:
            raise _bad("it holds :// twice; a server of http is written swift+http://host")
        if _FORBIDDEN.search(rest):
            raise _bad("it holds blanks, control characters or no UTF-8")
        self.scheme = scheme
        place, *quoted = rest.rsplit("/", 2)
        if len(quoted) < 2 or not all(quoted):
            raise _bad("it ends in /container/object")
        self.container, self.obj = _unquoted(quoted[0]), _unquoted(quoted[1])
        if scheme == "swift+config":
            if not _REFERENCE.fullmatch(place):
                raise _bad("it is written swift+config://reference/container/object")
            self.reference = place
        else:
            self._parse_place(place)

    def _parse_place(self, place: str) -> None:
        credentials, at, address = place.rpartition("@")
        if "/" in credentials:  # an @ in the path: there are no credentials
            credentials, at, address = "", "", place
        if at:
            user, colon, key = credentials.rpartition(":")
            if not colon or not user or not key or "@" in credentials:
                raise _bad("credentials are written project%3Auser:key@, an @ in them %40")
            self.user, self.key = urllib.parse.unquote(user), urllib.parse.unquote(key)
        if not _HOST.fullmatch(address.partition("/")[0]):
            raise _bad("there is no host in it")
        self.auth_or_store_url = address


def _unquoted(quoted: str) -> str:
    try:
        return unquoted_image_id(quoted)
    except exceptions.Invalid as exc:
        raise _bad("its end cannot name a container and an image") from exc


def _bad(reason: str) -> exceptions.BadStoreUri:
    return exceptions.BadStoreUri(f"The Swift location of the image is malformed: {reason}")
