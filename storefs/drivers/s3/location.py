# SPDX-License-Identifier: Apache-2.0
"""``s3[+http|+https]://host[:port][/prefix]/bucket/key``: where an image is in S3."""

import re
import urllib.parse

from storefs import exceptions
from storefs.drivers.base import unquoted_image_id
from storefs.location import StoreLocation

SCHEMES = ("s3", "s3+http", "s3+https")

_SCHEME_PREFIXES = tuple(f"{scheme}://" for scheme in SCHEMES)

#: What ends a URL early, and surrogates: bytes that are no UTF-8.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:@]+)(:\d+)?")

#: ``KEY:SECRET@`` before host, bucket and key, as Glance wrote it up to 5.5. The secret
#: may hold a slash, a key of ours no ``@``.
_CREDENTIALS = re.compile(r"(?P<user>[^:/@]+):(?P<password>[^@]+)@(?=[^@/]+/[^@]+/[^@]+$)")


class S3Location(StoreLocation):
    """*netloc* is host and port, *prefix* the path before the bucket (or empty), *key* unquoted.

    Credentials of an old URI are parsed and neither kept in the URI nor shown.
    """

    netloc = ""
    prefix = ""
    bucket = ""
    key = ""
    access_key: str | None = None
    secret_key: str | None = None

    @property
    def image_id(self) -> str:
        return self.key

    def process_specs(self) -> None:
        self.scheme = self.specs.get("scheme", "s3")
        self.netloc = self.specs["netloc"]
        self.prefix = self.specs.get("prefix", "")
        self.bucket = self.specs["bucket"]
        self.key = self.specs["key"]

    def get_uri(self) -> str:
        key = urllib.parse.quote(self.key, safe="")
        return f"{self.scheme}://{self.netloc}{self.prefix}/{self.bucket}/{key}"

    def parse_uri(self, uri: str) -> None:
        self.validate_schemas(uri, _SCHEME_PREFIXES)
        scheme, _, rest = uri.partition("://")
        if "://" in rest:
            raise _bad("it holds :// twice")
        if _FORBIDDEN.search(rest):
            raise _bad("it holds blanks, control characters or no UTF-8")
        rest = self._without_credentials(rest)
        parts = rest.split("/")
        if len(parts) < 3 or not all(parts) or not _HOST.fullmatch(parts[0]) or "@" in parts[-2]:
            raise _bad("it is written s3://host/bucket/key")
        self.scheme, self.netloc = scheme, parts[0]
        self.prefix = "".join(f"/{part}" for part in parts[1:-2])
        self.bucket, self.key = parts[-2], _key(parts[-1])

    def _without_credentials(self, rest: str) -> str:
        match = _CREDENTIALS.match(rest)
        if match is None:
            if "@" in rest.partition("/")[0]:
                raise _bad("credentials are written key:secret@")
            return rest
        self.access_key = urllib.parse.unquote(match["user"])
        self.secret_key = urllib.parse.unquote(match["password"])
        return rest[match.end() :]


def _key(quoted: str) -> str:
    try:
        return unquoted_image_id(quoted)
    except exceptions.Invalid as exc:
        raise _bad("its last part cannot name an image") from exc


def _bad(reason: str) -> exceptions.BadStoreUri:
    return exceptions.BadStoreUri(f"The S3 location of the image is malformed: {reason}")
