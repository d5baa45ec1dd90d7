# SPDX-License-Identifier: Apache-2.0
"""What a web server said, and what went wrong on the way, in the words of `storefs.exceptions`."""

import contextlib
import http
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, TypeVar

import urllib3
from urllib3 import exceptions as errors

from storefs import exceptions
from storefs.drivers.http_pool import BACK_OFF, HttpSettings
from storefs.drivers.http_url import public_url, server_of

_T = TypeVar("_T")
_Raised = type[exceptions.GlanceStoreException]

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509})

#: The longest body of a redirect or an error page that is read to keep the connection, bytes.
_SMALL_BODY = 64 * 1024


class Interrupted(exceptions.RemoteServiceUnavailable):
    """The server gave out or is busy: the same request may well succeed."""


class Attempts:
    """How often to try again: as long as there is progress, else once after each wait."""

    def __init__(self, waits: Sequence[float] = BACK_OFF) -> None:
        self.failures = 0
        self._waits = waits

    def progressed(self) -> None:
        self.failures = 0

    def failed(self, reason: Interrupted) -> None:
        """Wait before the next attempt, or raise *reason* when there is none."""
        if self.failures == len(self._waits):
            raise reason
        time.sleep(self._waits[self.failures])
        self.failures += 1


def retried(call: Callable[[], _T], waits: Sequence[float] = BACK_OFF) -> _T:
    """What *call* returns, tried again after each of *waits* while it is `Interrupted`."""
    attempts = Attempts(waits)
    while True:
        try:
            return call()
        except Interrupted as exc:
            attempts.failed(exc)


class Answer:
    """What a server said: status and headers at once, the body as it is read."""

    def __init__(
        self,
        response: urllib3.BaseHTTPResponse,
        url: str,
        errors: "Errors",
        explain: "Explain | None" = None,
    ) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.url = url
        self._response = response
        self._errors = errors
        self._explain = explain

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

    def explained(self) -> exceptions.GlanceStoreException | None:
        """What the page of an error says beyond its status, where somebody can read it.

        Reads the body; None without a reader of such pages, or where it knows no more.
        """
        page = b""
        if self._explain is not None:
            with contextlib.suppress(exceptions.GlanceStoreException):
                page = self.read(_SMALL_BODY)
        self.discard()
        return self._explain(self, page) if self._explain is not None else None

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


#: Reads the page of an error (status and headers; the body, shortened): what is wrong,
#: or None where the status says as much.
Explain = Callable[[Answer, bytes], exceptions.GlanceStoreException | None]


class Errors:
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
