# SPDX-License-Identifier: Apache-2.0
"""Requests for an image's bytes: redirects followed, errors named, credentials kept.

`Transport` sends, `Origin` says where to and with what, `Answer` is what came
back. Above this module nobody knows urllib3: whatever goes wrong is one of
`storefs.exceptions`, with the server and the reason, never with credentials or
a URL's query (which may be a signature).
"""

import contextlib
import http
import math
import ssl
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, NamedTuple, TypeVar

import urllib3
from urllib3 import exceptions as errors

from storefs import exceptions
from storefs.drivers.http_pool import HttpSettings, open_pools
from storefs.drivers.http_url import public_url, server_of, split_credentials, trusts

_T = TypeVar("_T")
_Raised = type[exceptions.GlanceStoreException]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509})

#: Said by every request: the bytes as they are stored, not compressed on the way.
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "storefs"}

#: The longest body of a redirect or an error page that is read to keep the connection, bytes.
_SMALL_BODY = 64 * 1024

#: The waits between attempts, seconds; as many attempts follow the first.
_BACK_OFF = (0.05, 0.2, 0.8)


class Interrupted(exceptions.RemoteServiceUnavailable):
    """The server gave out or is busy: the same request may well succeed."""


class Attempts:
    """How often to try again: as long as there is progress, else three times more."""

    def __init__(self) -> None:
        self.failures = 0

    def progressed(self) -> None:
        self.failures = 0

    def failed(self, reason: Interrupted) -> None:
        """Wait before the next attempt, or raise *reason* when there is none."""
        if self.failures == len(_BACK_OFF):
            raise reason
        time.sleep(_BACK_OFF[self.failures])
        self.failures += 1


def retried(call: Callable[[], _T]) -> _T:
    """What *call* returns, tried again while it is `Interrupted`."""
    attempts = Attempts()
    while True:
        try:
            return call()
        except Interrupted as exc:
            attempts.failed(exc)


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


class Answer:
    """What a server said: status and headers at once, the body as it is read."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, errors: "_Errors") -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.url = url
        self._response = response
        self._errors = errors

    def __str__(self) -> str:
        return f"{public_url(self.url)} answered {self.status} {_phrase(self.status)}".rstrip()

    def read(self, length: int) -> bytes:
        """*length* bytes of the body, fewer where it ends, ``b""`` at its end.

        Raises `Interrupted` for a body that is cut off, `TimeoutError` for one
        that stops.
        """
        with self._errors.translated():
            return self._response.read(length, decode_content=False)

    def finish(self) -> None:
        """Have done with a body read to its last byte: what is left frames it (chunks)."""
        with contextlib.suppress(exceptions.GlanceStoreException):
            self.read(1)

    def discard(self) -> None:
        """Have done with it; the connection is kept if little is left to read."""
        with contextlib.suppress(exceptions.GlanceStoreException):
            if (self._response.length_remaining or 0) <= _SMALL_BODY:
                self.read(_SMALL_BODY)
        self.close()

    def close(self) -> None:
        """Let go of the connection: to the pool after the last byte, else for good."""
        if not self._response.closed:
            self._response.close()

    def refusal(self) -> exceptions.GlanceStoreException:
        """The exception for a status that brings no image."""
        if self.status in {401, 403}:
            return exceptions.Forbidden(
                f"{self}: check the credentials storefs has for it and its permissions"
            )
        if self.status in {404, 410}:
            return exceptions.NotFound(f"{self}: there is no such image")
        if self.status in _BUSY:
            return Interrupted(f"{self}: try again later")
        if 400 <= self.status < 500:
            return exceptions.BadStoreUri(f"{self}: check the location of the image")
        return exceptions.RemoteServiceUnavailable(f"{self}, which brings no image")


class _Errors:
    """One table: what urllib3 raises at *url* -> `storefs.exceptions`."""

    _TABLE: ClassVar[Mapping[type[BaseException], tuple[_Raised, str]]] = {
        errors.NewConnectionError: (
            exceptions.RemoteServiceUnavailable,
            "Cannot connect to {server}: {reason}",
        ),
        errors.ConnectTimeoutError: (
            exceptions.TimeoutError,
            "No connection to {server} within {connect:g} seconds",
        ),
        errors.ReadTimeoutError: (
            exceptions.TimeoutError,
            "{server} sent nothing, or next to nothing, for {read:g} seconds",
        ),
        errors.SSLError: (Interrupted, "No secure connection to {server}: {reason}"),
        errors.ProxyError: (
            exceptions.RemoteServiceUnavailable,
            "The proxy before {server} failed: {reason}{proxy_hint}",
        ),
        errors.ProtocolError: (Interrupted, "{server} broke off: {reason}"),
        errors.InvalidChunkLength: (Interrupted, "{server} broke off: {reason}"),
        errors.LocationValueError: (exceptions.BadStoreUri, "Not a URL: {url}"),
        errors.HTTPError: (exceptions.RemoteServiceUnavailable, "{server} failed: {reason}"),
    }

    def __init__(self, url: str, settings: HttpSettings, timeout: urllib3.Timeout) -> None:
        self._url = url
        self._settings = settings
        self._timeout = timeout

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        try:
            yield
        except errors.HTTPError as exc:
            raise self._exception(exc) from exc

    def _exception(self, exc: errors.HTTPError) -> exceptions.GlanceStoreException:
        reason = _innermost(exc)
        if isinstance(reason, ssl.SSLCertVerificationError):
            return exceptions.RemoteServiceUnavailable(
                f"The certificate of {server_of(self._url)} is not trusted: "
                f"{reason.verify_message}{self._settings.tls_hint}"
            )
        row = next(self._TABLE[base] for base in type(exc).__mro__ if base in self._TABLE)
        raised, text = row
        return raised(
            text.format(
                server=server_of(self._url),
                url=public_url(self._url),
                reason=getattr(reason, "strerror", None) or reason or type(reason).__name__,
                connect=self._timeout.connect_timeout,
                read=self._timeout.read_timeout,
                proxy_hint=self._settings.proxy_hint,
            )
        )


class Transport:
    """Requests over pooled connections; thread-safe.

    Raises OSError and ValueError for settings that cannot work, see `open_pools`.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self.settings = settings
        self._pools = open_pools(settings)

    def send(
        self,
        method: str,
        origin: Origin,
        headers: Mapping[str, str] | None = None,
        patience: float | None = None,
    ) -> Answer:
        """The answer at the end of all redirects, whatever its status.

        No wait for the network is longer than *patience* seconds, if given.
        Where a redirect led to is asked directly, until it fails: then the
        original URL is asked again. Raises `Interrupted`, `TimeoutError`,
        `RemoteServiceUnavailable`, `MaxRedirectsExceeded`, `Forbidden`.
        """
        request = _Request(self, method, headers or {}, patience)
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
    ) -> None:
        settings = transport.settings
        self._transport = transport
        self._settings = settings
        self._method = method
        self._headers = headers
        limit = math.inf if patience is None else patience
        self._timeout = urllib3.Timeout(
            connect=min(settings.connect_timeout, limit), read=min(settings.read_timeout, limit)
        )

    def follow(self, origin: Origin) -> Answer:
        """Begin at *origin* and go wherever the servers send us."""
        first = target = origin.target()
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
        errors = _Errors(target.url, self._settings, self._timeout)
        with errors.translated():
            response = pools.urlopen(
                self._method,
                target.url,
                headers={**_HEADERS, **target.headers, **self._headers},
                redirect=False,
                retries=False,
                timeout=self._timeout,
                preload_content=False,
                decode_content=False,
            )
        return Answer(response, target.url, errors)

    def _allowed(self, here: _Target, there: _Target) -> _Target:
        downgrade = here.url.startswith("https:") and there.url.startswith("http:")
        if downgrade and self._settings.verified:
            raise exceptions.Forbidden(
                f"{public_url(here.url)} redirects to {public_url(there.url)}, which is not "
                f"encrypted: use that URL itself if you trust the way there"
            )
        return there


def _phrase(status: int) -> str:
    return http.HTTPStatus(status).phrase if status in list(http.HTTPStatus) else ""


def _innermost(exc: BaseException) -> BaseException:
    """The error that the others wrap, as cause or as argument."""
    while True:
        wrapped = [exc.__cause__, *exc.args]
        inner = next((error for error in wrapped if isinstance(error, BaseException)), None)
        if inner is None:
            return exc
        exc = inner
