# SPDX-License-Identifier: Apache-2.0
"""What may be shown of a URL, and to whom its credentials may be said."""

import urllib.parse
from typing import NamedTuple

import urllib3.util


def split_credentials(url: str) -> tuple[str, dict[str, str]]:
    """*url* without ``user:password@``, and the header that says the same."""
    parts = urllib.parse.urlsplit(url)
    credentials, at, netloc = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    plain = urllib.parse.unquote(credentials)
    headers = urllib3.util.make_headers(basic_auth=plain)
    return parts._replace(netloc=netloc).geturl(), {"Authorization": headers["authorization"]}


def public_url(url: str) -> str:
    """*url* as people may see it: no credentials, no query."""
    parts = urllib.parse.urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    query = "..." if parts.query else ""
    return parts._replace(netloc=netloc, query=query, fragment="").geturl()


def server_of(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc


def trusts(here: str, there: str) -> bool:
    """May what is said to the server of *here* be said to that of *there*?

    Only the same scheme, host and port, or the same host's https instead of http.
    """
    ours, theirs = _endpoint(here), _endpoint(there)
    upgraded = (ours.scheme, ours.port, theirs.scheme, theirs.port) == ("http", 80, "https", 443)
    return ours == theirs or (upgraded and ours.host == theirs.host)


class _Endpoint(NamedTuple):
    scheme: str
    host: str | None
    port: int


def _endpoint(url: str) -> _Endpoint:
    parts = urllib.parse.urlsplit(url)
    usual = 443 if parts.scheme == "https" else 80
    return _Endpoint(parts.scheme, parts.hostname, parts.port or usual)
