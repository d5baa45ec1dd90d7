# SPDX-License-Identifier: Apache-2.0
"""``http[s]://[user:password@]host[:port]/path[?query]``: where an image is on a web server."""

import re
import urllib.parse

from storefs import exceptions
from storefs.drivers.http_url import public_url
from storefs.location import StoreLocation

_SCHEMES = ("https://", "http://")

#: Blanks and control characters end a URL or a header early; surrogates stand
#: for bytes that are no UTF-8.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")


#: The host of names without a URL; one that can never be (RFC 2606).
NOWHERE = "storefs.invalid"


class HttpLocation(StoreLocation):
    """A URL in the parts Glance knows; at the host `NOWHERE` a name without one.

    *image_id* is the name it was looked up by, and empty for any other URI.
    *netloc* is host and port, *path* begins with ``/`` and includes no query;
    *user* and *password* are quoted as in the URL, and None without.
    """

    image_id = ""
    netloc = ""
    path = ""
    query = ""
    user: str | None = None
    password: str | None = None

    def process_specs(self) -> None:
        self.scheme = self.specs.get("scheme", "http")
        self.netloc = self.specs["netloc"]
        self.path = self.specs.get("path") or ""
        self.query = self.specs.get("query") or ""
        self.user = self.specs.get("user")
        self.password = self.specs.get("password")
        self.image_id = self.specs.get("image_id") or self.image_id

    def get_uri(self) -> str:
        credentials = "" if self.user is None else f"{self.user}:{self.password or ''}@"
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{credentials}{self.netloc}{self.path}{query}"

    @classmethod
    def nowhere(cls, image_id: str) -> "HttpLocation":
        """That of a name without a URL."""
        path = "/" + urllib.parse.quote(image_id, safe="", errors="surrogateescape")
        return cls({"netloc": NOWHERE, "path": path, "image_id": image_id})

    def safe_uri(self) -> str:
        return public_url(self.get_uri())

    def parse_uri(self, uri: str) -> None:
        self.validate_schemas(uri, _SCHEMES)
        if _FORBIDDEN.search(uri):
            raise _bad(
                "it holds blanks, control characters or no UTF-8: write those as %20 and the like"
            )
        try:
            parts = urllib.parse.urlsplit(uri)
            _ = parts.port
        except ValueError as exc:
            raise _bad("the port or the address between brackets is wrong") from exc
        if not parts.hostname:
            raise _bad("there is no host in it")
        credentials, at, netloc = parts.netloc.rpartition("@")
        if at and ":" not in credentials:
            raise _bad("credentials are written user:password@, with special characters as %XX")
        self.user, self.password = credentials.split(":", 1) if at else (None, None)
        self.scheme, self.netloc = parts.scheme, netloc
        self.path, self.query = parts.path, parts.query
        if netloc == NOWHERE:
            self.image_id = urllib.parse.unquote(parts.path[1:], errors="surrogateescape")


def _bad(reason: str) -> exceptions.BadStoreUri:
    return exceptions.BadStoreUri(f"The URL of the image is malformed: {reason}")
