# SPDX-License-Identifier: Apache-2.0
"""``http[s]://[user:password@]host[:port]/path[?query]``: where an image is on a web server."""

import re
import urllib.parse

from storefs import exceptions
from storefs.drivers.http_url import public_url
from storefs.location import StoreLocation

_SCHEMES = ("https://", "http://")

#: Blanks and control characters end a URL or a header early.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f]")


class HttpLocation(StoreLocation):
    """A URL in the parts Glance knows, or, with no *netloc*, a name without one.

    *image_id* is the name it was looked up by, and empty for a parsed URI.
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

    def safe_uri(self) -> str:
        return public_url(self.get_uri())

    def parse_uri(self, uri: str) -> None:
        self.validate_schemas(uri, _SCHEMES)
        if _FORBIDDEN.search(uri):
            raise _bad("it holds blanks or control characters: write them as %20 and the like")
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


def _bad(reason: str) -> exceptions.BadStoreUri:
    return exceptions.BadStoreUri(f"The URL of the image is malformed: {reason}")
