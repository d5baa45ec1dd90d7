# SPDX-License-Identifier: Apache-2.0
"""Requests for an image's bytes: redirects followed, errors named, credentials kept.

`Transport` sends, `Origin` says where to and with what, `Answer` is what came
back. Above this module nobody knows urllib3: whatever goes wrong is one of
`storefs.exceptions`, with the server and the reason, never with credentials or
a URL's query (which may be a signature).
"""

import math
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import urllib3

from storefs import exceptions
from storefs.drivers.base import Buffer
from storefs.drivers.http_answer import Answer, Errors, Explain
from storefs.drivers.http_pool import HttpSettings, open_pools
from storefs.drivers.http_url import public_url, split_credentials, trusts

#: What is sent along: in one piece or in several, which are sent one after the other.
Body = Buffer | Sequence[Buffer]

#: Or what gives the pieces, anew for each attempt; it raises where it cannot. Without
#: a Content-Length among the headers they go in chunks.
Stream = Callable[[], Iterable[Buffer]]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})

#: Said by every request: the bytes as they are stored, not compressed on the way.
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "storefs"}

#: A body is sent in pieces of this many bytes: a socket's time-out is for one piece
#: and not for the whole, however long that is and however slow the way.
_SENT_AT_ONCE = 256 * 1024


class _Target(NamedTuple):
    """A URL without credentials, and what is said to its server alone."""

    url: str
    headers: Mapping[str, str]

    def redirected(self, location: str) -> "_Target":
        """Where *location*, absolute or relative, leads.

        Credentials do not go along to another server; those that the location
        itself holds count.
        """
        # Headers arrive as Latin-1, but servers write paths in UTF-8.
        location = location.encode("latin-1", "replace").decode("utf-8", "replace")
        try:
            url, headers = split_credentials(urllib.parse.urljoin(self.url, location))
            trusted = trusts(self.url, url)
        except ValueError as exc:
            raise exceptions.BadStoreUri(
                f"{public_url(self.url)} redirects to something that is no URL: {exc}"
            ) from exc
        return _Target(url, {**self.headers, **headers} if trusted else headers)


class Origin:
    """Where an image's bytes are asked for, and what the request has to say.

    *url* is a URL, with or without ``user:password@``, or is called for a URL
    before each request (presigning). *headers* is called likewise. *renew* is
    called when the server refuses these (401, 403) and says whether they are
    new now and another request makes sense. Where a fixed URL redirects to is
    remembered for as long as that works.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        headers: Callable[[], Mapping[str, str]] = dict,
        renew: Callable[[], bool] = bool,
    ) -> None:
        self._url = url
        self._headers = headers
        self.renew = renew
        self._shortcut: _Target | None = None

    def __repr__(self) -> str:
        return f"<Origin {'called' if callable(self._url) else public_url(self._url)}>"

    def target(self) -> _Target:
        """Where a request begins."""
        url, headers = split_credentials(self._url() if callable(self._url) else self._url)
        return _Target(url, {**headers, **self._headers()})

    def shortcut(self) -> _Target | None:
        """Where redirects led before."""
        return self._shortcut

    def remember(self, target: _Target) -> None:
        """*target*, after redirects, answered: ask there from now on."""
        if not callable(self._url):
            self._shortcut = target

    def forget(self) -> None:
        """Begin at the original URL again."""
        self._shortcut = None


class Transport:
    """Requests over pooled connections; thread-safe.

    Raises OSError and ValueError for settings that cannot work, see `open_pools`.
    *explain* reads the pages of errors.
    """

    def __init__(self, settings: HttpSettings, explain: Explain | None = None) -> None:
        self.settings = settings
        self.explain = explain
        self._pools = open_pools(settings)

    def send(
        self,
        method: str,
        origin: Origin,
        headers: Mapping[str, str] | None = None,
        patience: float | None = None,
        body: Body | Stream | None = None,
    ) -> Answer:
        """The answer at the end of all redirects, whatever its status.

        *body* is sent as it is, without a copy; again from its start, if need be.
        No wait for the network is longer than *patience* seconds, if given. Where a
        redirect led to is asked directly, until it fails: then the original URL is asked
        again. Raises `Interrupted`, `TimeoutError`, `RemoteServiceUnavailable`,
        `MaxRedirectsExceeded`, `Forbidden`.
        """
        request = _Request(self, method, headers or {}, patience, body)
        answer = self._shortcut(request, origin) or request.follow(origin)
        if answer.status in {401, 403} and origin.renew():
            answer.discard()
            answer = request.follow(origin)
        return answer

    def _shortcut(self, request: "_Request", origin: Origin) -> Answer | None:
        """The answer from where a redirect led before; None if there is none (any more)."""
        target = origin.shortcut()
        if target is None:
            return None
        try:
            answer = request.once(target)
            if answer.status < 300 or answer.status == 416:
                return answer
            answer.discard()
        except exceptions.TimeoutError:
            origin.forget()  # for the next call: this one has waited long enough
            raise
        except exceptions.RemoteServiceUnavailable:
            pass  # asked anew at the original URL
        origin.forget()
        return None

    def pools(self, url: str) -> urllib3.PoolManager:
        """The connections *url* is asked over; `BadStoreUri` for any but http and https."""
        scheme = urllib.parse.urlsplit(url).scheme
        if scheme not in self._pools:
            raise exceptions.BadStoreUri(f"Not a URL of http or https: {public_url(url)}")
        return self._pools[scheme]

    def close(self) -> None:
        """Close idle connections; those in use end with their answers."""
        for pools in self._pools.values():
            pools.clear()


class _Request:
    """One request of a `Transport`, as often as redirects want it."""

    def __init__(
        self,
        transport: Transport,
        method: str,
        headers: Mapping[str, str],
        patience: float | None,
        body: Body | Stream | None,
    ) -> None:
        settings = transport.settings
        self._transport = transport
        self._settings = settings
        self._method = method
        self._headers = dict(headers)
        self._body = body
        if body is not None and not callable(body):
            self._headers["Content-Length"] = str(sum(map(len, views(body))))
        limit = math.inf if patience is None else patience
        self._timeout = urllib3.Timeout(
            connect=min(settings.connect_timeout, limit), read=min(settings.read_timeout, limit)
        )

    def follow(self, origin: Origin) -> Answer:
        """Begin at *origin* and go wherever the servers send us."""
        first = target = origin.target()
        if self._settings.max_redirects is None:
            return self.once(first)
        for _ in range(self._settings.max_redirects + 1):
            answer = self.once(target)
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or location is None:
                if target is not first and answer.status < 300:
                    origin.remember(target)
                return answer
            answer.discard()
            target = self._allowed(target, target.redirected(location))
        raise exceptions.MaxRedirectsExceeded(redirects=self._settings.max_redirects)

    def once(self, target: _Target) -> Answer:
        """The answer of one server, a redirect or not."""
        pools = self._transport.pools(target.url)
        errors = Errors(target.url, self._settings, self._timeout)
        with errors.translated():
            response = pools.urlopen(
                self._method,
                target.url,
                headers={**_HEADERS, **target.headers, **self._headers},
                body=_sent(self._body) if self._body else None,
                redirect=False,
                retries=False,
                timeout=self._timeout,
                preload_content=False,
                decode_content=False,
            )
        return Answer(response, target.url, errors, self._transport.explain)

    def _allowed(self, here: _Target, there: _Target) -> _Target:
        downgrade = here.url.startswith("https:") and there.url.startswith("http:")
        if downgrade and self._settings.verified:
            raise exceptions.Forbidden(
                f"{public_url(here.url)} redirects to {public_url(there.url)}, which is not "
                f"encrypted: use that URL itself if you trust the way there"
            )
        return there


def views(body: Body) -> list[memoryview]:
    """*body* as memoryviews of bytes."""
    buffers = [body] if isinstance(body, Buffer) else body
    return [memoryview(buffer).cast("B") for buffer in buffers]


def _sent(body: Body | Stream) -> Iterator[memoryview]:
    for buffer in body() if callable(body) else views(body):
        view = memoryview(buffer).cast("B")
        for start in range(0, len(view), _SENT_AT_ONCE):
            yield view[start : start + _SENT_AT_ONCE]
