# SPDX-License-Identifier: Apache-2.0
"""Connections to web servers: pooled, kept alive, verified, proxied and never endless.

What urllib3 is made to do here, by its public hooks, that it does not do by itself:

- A time-out of a socket starts anew with every byte, so a server that sends one
  byte a minute holds a thread for ever. `_Paced` under the buffer of every answer
  counts bytes over the time spent waiting - of headers and bodies, TLS and plain.
- More connections than a pool keeps are closed when they come back, without a
  warning: how many requests run at once is the callers' business.
"""

import dataclasses
import http.client
import io
import queue
import ssl
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import urllib3
import urllib3.connection
import urllib3.connectionpool

from storefs.drivers.http_url import split_credentials

#: A server that sends less than this in one read time-out has stopped, bytes.
TRICKLE = 16 * 1024

#: Servers whose idle connections are kept, the most recently used ones.
_SERVERS = 32

#: The waits between attempts where nothing else is said, seconds; as many attempts
#: follow the first.
BACK_OFF = (0.05, 0.2, 0.8)


@dataclasses.dataclass(frozen=True, slots=True)
class HttpSettings:
    """How to speak with servers; time-outs in seconds.

    *max_connections* is how many idle connections are kept to each server, and
    how many requests of one image run at once. Without *max_redirects* a redirect is
    an answer like any other. *proxies* maps a URL's scheme to
    a proxy's URL; nothing is taken from the environment. *back_off* is the waits
    between attempts: as many follow the first. The hints end an error's
    message: which option to look at.
    """

    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    max_redirects: int | None = 5
    max_connections: int = 8
    back_off: Sequence[float] = BACK_OFF
    ca_file: str | None = None
    insecure: bool = False
    proxies: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tls_hint: str = ""
    proxy_hint: str = ""

    @property
    def verified(self) -> bool:
        """Are certificates checked? Naming authorities wins over *insecure* (as in Glance)."""
        return bool(self.ca_file) or not self.insecure


def open_pools(settings: HttpSettings) -> dict[str, urllib3.PoolManager]:
    """The pools for each scheme; nothing connects yet.

    Raises OSError for a file of authorities that cannot be read (or holds none),
    ValueError for the URL of a proxy.
    """
    context = _tls_context(settings)
    return {scheme: _pools(settings, scheme, context) for scheme in ("http", "https")}


def _tls_context(settings: HttpSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ca_file)
    if not settings.verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _pools(settings: HttpSettings, scheme: str, context: ssl.SSLContext) -> urllib3.PoolManager:
    options: dict[str, Any] = {
        "num_pools": _SERVERS,
        "maxsize": settings.max_connections,
        "ssl_context": context,
    }
    proxy = settings.proxies.get(scheme)
    pools = _proxied(proxy, context, options) if proxy else urllib3.PoolManager(**options)
    tls = _TlsPool if settings.verified else _UnverifiedTlsPool
    pools.pool_classes_by_scheme = {"http": _Pool, "https": tls}
    return pools


def _proxied(
    proxy: str, context: ssl.SSLContext, options: Mapping[str, Any]
) -> urllib3.ProxyManager:
    url, headers = split_credentials(proxy if "://" in proxy else f"http://{proxy}")
    if urllib.parse.urlsplit(url).hostname is None:
        raise ValueError("a proxy is given as host:port or http://host:port")
    proxy_headers = {f"Proxy-{name}": value for name, value in headers.items()}
    return urllib3.ProxyManager(
        url, proxy_headers=proxy_headers, proxy_ssl_context=context, **options
    )


class _Paced(io.RawIOBase):
    """A socket's bytes, unless fewer than `TRICKLE` come in one *window* of seconds.

    Only the time spent waiting counts: whoever lets an answer lie loses nothing.
    """

    def __init__(self, raw: Any, window: float) -> None:
        self._raw = raw
        self._window = window
        self._waited = 0.0
        self._received = TRICKLE  # the first window is for the server to think

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        begin = time.monotonic()
        count: int = self._raw.readinto(buffer)
        self._waited += time.monotonic() - begin
        self._received += count
        if self._waited >= self._window:
            self._begin_window()
        return count

    def _begin_window(self) -> None:
        if self._received < TRICKLE:
            raise TimeoutError(f"less than {TRICKLE} bytes in {self._window} seconds")
        self._waited, self._received = 0.0, 0

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PacedResponse(http.client.HTTPResponse):
    """http.client's answer over a `_Paced` socket; the window is the socket's time-out."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        window = sock.gettimeout()
        self.fp = io.BufferedReader(_Paced(self.fp.detach(), window))


class _Connection(urllib3.connection.HTTPConnection):
    response_class = _PacedResponse


class _TlsConnection(urllib3.connection.HTTPSConnection):
    response_class = _PacedResponse


class _UnverifiedTlsConnection(_TlsConnection):
    def connect(self) -> None:
        super().connect()
        # An option asks for it; urllib3 would warn about it at every request.
        self.is_verified = True


class _Idle(queue.LifoQueue[Any]):
    """A server's idle connections; one that finds no place is closed."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        try:
            super().put(item, block=False)
        except queue.Full:
            item.close()


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _Connection
    QueueCls = _Idle


class _TlsPool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
    QueueCls = _Idle


class _UnverifiedTlsPool(_TlsPool):
    ConnectionCls = _UnverifiedTlsConnection
