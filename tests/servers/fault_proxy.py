# SPDX-License-Identifier: Apache-2.0
"""A proxy before an HTTP server that counts requests and does to them what a test wants.

It passes the Host header on as it is, so that signatures stay good. A fault is
taken by the first requests that fit it; without one everything goes through.
"""

import dataclasses
import http.client
import http.server
import socket
import ssl
import struct
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_PIECE = 64 * 1024


class Request(NamedTuple):
    """What was asked; *query* as in the URL, *length* of the body in bytes."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    length: int


@dataclasses.dataclass
class Fault:
    """What happens to the next *times* requests of *method* with *word* in their URL.

    *latency* seconds before it is passed on; *page* (status, body, headers) instead of that;
    *lose*: it is passed on, but the connection ends without an answer; *cut*, *stall*:
    the connection ends, or nothing more comes, after so many bytes of the body.
    """

    method: str = ""
    word: str = ""
    times: int = 1
    latency: float = 0.0
    page: tuple[int, bytes, dict[str, str]] | None = None
    lose: bool = False
    reset: bool = False
    cut: int | None = None
    stall: int | None = None
    then: Callable[[], None] | None = None

    def fits(self, method: str, url: str) -> bool:
        return self.times > 0 and self.method in {"", method} and self.word in url


class Tls(NamedTuple):
    """How a proxy before an https server shows itself, and how it trusts that server."""

    shown: ssl.SSLContext
    trusted: ssl.SSLContext


class FaultProxy:
    """Before the server at *upstream* (http://host:port, or https with *tls*)."""

    def __init__(self, upstream: str, tls: Tls | None = None) -> None:
        self._upstream = urllib.parse.urlsplit(upstream).netloc
        self._tls = tls
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.requests: list[Request] = []
        self.released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fault(self, **what: Any) -> Fault:
        """See `Fault`; later ones come after earlier ones."""
        fault = Fault(**what)
        with self._lock:
            self._faults.append(fault)
        return fault

    def refuse(self, status: int, code: str, extra: str = "", **what: Any) -> Fault:
        """An error as S3 servers tell it."""
        page = f"<?xml version='1.0'?><Error><Code>{code}</Code>{extra}</Error>".encode()
        headers = what.pop("headers", {})
        return self.fault(page=(status, page, headers), **what)

    def asked(self, method: str, word: str = "") -> list[Request]:
        """The requests of *method* with *word* in their path or query."""
        return [r for r in self.requests if r.method == method and word in f"{r.path}?{r.query}"]

    def _take(self, request: Request, url: str) -> Fault:
        with self._lock:
            self.requests.append(request)
            for fault in self._faults:
                if fault.fits(request.method, url):
                    fault.times -= 1
                    return fault
        return Fault()

    def _answered(self, request: Request, headers: Mapping[str, str]) -> None:
        """The server answered with *headers*; for who has to know."""

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        proxy = self

        class Handler(_Handler):
            upstream = proxy._upstream
            tls = proxy._tls
            take = staticmethod(proxy._take)
            answered = staticmethod(proxy._answered)
            released = proxy.released

        return Handler


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is what these tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: str
    tls: Tls | None
    take: Callable[[Request, str], Fault]
    answered: Callable[[Request, Mapping[str, str]], None]
    released: threading.Event
    disable_nagle_algorithm = True

    def setup(self) -> None:
        if type(self).tls is not None:
            self.request.settimeout(60)
            self.request = type(self).tls.shown.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        if type(self).tls is not None:
            self.request.close()  # the server closes what it accepted, which this one wraps

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self._body()
        if body is None:
            self.close_connection = True
            return
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, path, query, headers, len(body))
        self._do(request, body, type(self).take(request, self.path))

    def _body(self) -> bytes | None:
        """None if the client broke it off: then nothing is passed on."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            length = int(self.headers.get("Content-Length", "0"))
            body = self.rfile.read(length)
            return body if len(body) == length else None
        chunks = []
        while line := self.rfile.readline():
            chunks.append(self.rfile.read(int(line, 16)))
            self.rfile.readline()
            if not chunks[-1]:
                return b"".join(chunks)
        return None

    def _do(self, request: Request, body: bytes, fault: Fault) -> None:
        if fault.then is not None:
            fault.then()
        time.sleep(fault.latency)
        if fault.reset:
            self._hang_up()
        elif fault.page is not None:
            self._answer(*fault.page)
        else:
            self._pass_on(request, body, fault)

    def _answer(self, status: int, page: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page)

    def _pass_on(self, request: Request, body: bytes, fault: Fault) -> None:
        connection = self._connection()
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() != "transfer-encoding":
                    connection.putheader(name, value)
            if "Transfer-Encoding" in self.headers:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            type(self).answered(request, answer.headers)
            if fault.lose:
                answer.read()
                self._hang_up()
            else:
                self._relay(answer, fault)
        except OSError:
            self._hang_up()
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        tls = type(self).tls
        if tls is None:
            return http.client.HTTPConnection(self.upstream, timeout=120)
        return http.client.HTTPSConnection(self.upstream, timeout=120, context=tls.trusted)

    def _relay(self, answer: http.client.HTTPResponse, fault: Fault) -> None:
        self.send_response_only(answer.status)
        chunked = answer.length is None and self.command != "HEAD"
        for name, value in answer.getheaders():
            if name.lower() not in {"connection", "transfer-encoding"}:
                self.send_header(name, value)
        if chunked:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        sent = 0
        while data := answer.read(_PIECE):
            for limit in (fault.cut, fault.stall):
                if limit is not None and sent + len(data) > limit:
                    self.wfile.write(data[: limit - sent])
                    self._break_off(fault)
                    return
            self.wfile.write(data)
            sent += len(data)

    def _break_off(self, fault: Fault) -> None:
        if fault.stall is not None:
            self.released.wait(60)
        self._hang_up()

    def _hang_up(self) -> None:
        """With a reset, as servers that die do."""
        self.wfile.flush()
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def log_message(self, *args: Any) -> None:
        """Nothing: stderr is for failures."""
