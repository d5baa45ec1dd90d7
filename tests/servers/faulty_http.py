# SPDX-License-Identifier: Apache-2.0
"""A web server that fails in the ways nginx cannot be made to fail.

One image, under every path. Each request takes the next of the faults it was
told (`FaultyHttp.next`), or is answered as it should be. It runs in a thread of
the tests' process: the faults are plain functions of an `Exchange`, and what
was asked can be looked at.
"""

import contextlib
import http.server
import re
import socket
import socketserver
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

Fault = Callable[["Exchange"], None]

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]


class Exchange:
    """One request and the means to answer it, well or not."""

    def __init__(self, handler: "_Handler") -> None:
        self.server = handler.faulty
        self.asked = Asked(handler.command, handler.path, handler.headers)
        self._handler = handler
        match = _RANGE.fullmatch(handler.headers.get("Range", ""))
        whole = range(len(self.server.data))
        self.ranged = match is not None and self.server.ranges and len(whole) > 0
        self.range = whole[int(match[1]) : int(match[2]) + 1] if match and self.ranged else whole

    @property
    def body(self) -> bytes:
        return self.server.data[self.range.start : self.range.stop]

    def validators(self) -> dict[str, str]:
        named = {"ETag": self.server.etag, "Last-Modified": self.server.last_modified}
        return {name: value for name, value in named.items() if value}

    def content_range(self, shift: int = 0, total: int | str | None = None) -> dict[str, str]:
        first, last = self.range.start + shift, self.range.stop - 1 + shift
        size = len(self.server.data) if total is None else total
        return {"Content-Range": f"bytes {first}-{last}/{size}"}

    def head(self, **lies: str | None) -> None:
        """Status and headers as they should be, but for *lies*: other values, or None: left out."""
        truth: dict[str, str | None] = {
            **self.validators(),
            **(self.content_range() if self.ranged else {}),
            "Content-Length": str(len(self.body)),
        }
        told = {**truth, **{name.replace("_", "-"): value for name, value in lies.items()}}
        self.send_head(206 if self.ranged else 200, told)

    def send_head(self, status: int, headers: Mapping[str, str | None]) -> None:
        self._handler.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self._handler.send_header(name, value)
        self._handler.end_headers()

    def send(self, data: bytes) -> None:
        self._handler.wfile.write(data)

    def hang_up(self, *, reset: bool = False) -> None:
        """End the connection after what was sent; with *reset*, not in good order."""
        self._handler.close_connection = True
        if reset:
            linger = struct.pack("ii", 1, 0)
            self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def pause(self, seconds: float | None = None) -> bool:
        """Wait, for ever if not told how long; True when the server ends meanwhile."""
        return self.server.ended.wait(seconds)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each body waits 40 ms behind its headers
    faulty: "FaultyHttp"

    def do_GET(self) -> None:
        exchange = Exchange(self)
        self.faulty.asked.append(exchange.asked)
        try:
            self.faulty.fault()(exchange)
        except OSError:
            self.close_connection = True

    do_HEAD = do_GET  # noqa: N815 - the name http.server looks for

    def log_message(self, *args: object) -> None:
        pass


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is no news."""

    def hang_up(self) -> None:
        """End the connections that are kept alive, too."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class FaultyHttp:
    """Serves ``data`` with these validators, on ``url``; ``ranges`` false: 200 to all."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.etag: str | None = '"first"'
        self.last_modified: str | None = "Sat, 21 Nov 2026 03:00:00 GMT"
        self.ranges = True
        self.asked: list[Asked] = []
        self.always: Fault = honest
        self.ended = threading.Event()
        self._faults: deque[Fault] = deque()
        handler = type("Handler", (_Handler,), {"faulty": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/image"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def next(self, *faults: Fault) -> None:
        """The next requests meet these, one each."""
        self._faults.extend(faults)

    def fault(self) -> Fault:
        return self._faults.popleft() if self._faults else self.always

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()


def honest(exchange: Exchange) -> None:
    exchange.head()
    if exchange.asked.method != "HEAD":
        exchange.send(exchange.body)


def lying(**lies: str | None) -> Fault:
    """Other headers; with ``Content_Range=None`` and the like, fewer."""

    def fault(exchange: Exchange) -> None:
        exchange.head(**lies)
        if exchange.asked.method != "HEAD":
            exchange.send(exchange.body)

    return fault


def shifted(exchange: Exchange) -> None:
    """The bytes of another range than the one that was asked for."""
    exchange.head(**_underscored(exchange.content_range(shift=1)))
    exchange.send(exchange.body)


def resized(exchange: Exchange) -> None:
    """An image that has grown by a byte since."""
    exchange.head(**_underscored(exchange.content_range(total=len(exchange.server.data) + 1)))
    exchange.send(exchange.body)


def unsized(exchange: Exchange) -> None:
    """The range, of an image of a size that is not told."""
    exchange.head(**_underscored(exchange.content_range(total="*")))
    exchange.send(exchange.body)


def _underscored(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("-", "_"): value for name, value in headers.items()}


def granting(length: int) -> Fault:
    """Only the first *length* bytes of what was asked for, as RFC 9110 allows."""

    def fault(exchange: Exchange) -> None:
        exchange.range = exchange.range[:length]
        honest(exchange)

    return fault


def generous(exchange: Exchange) -> None:
    """Everything from the first byte that was asked for to the end of the image."""
    exchange.range = range(exchange.range.start, len(exchange.server.data))
    honest(exchange)


def cut(after: int, *, reset: bool = False) -> Fault:
    """*after* bytes of the body, then the end of the connection."""

    def fault(exchange: Exchange) -> None:
        exchange.head()
        exchange.send(exchange.body[:after])
        exchange.hang_up(reset=reset)

    return fault


def hanging_up(exchange: Exchange) -> None:
    """No answer at all."""
    exchange.hang_up()


def stalling(after: int) -> Fault:
    """*after* bytes of the body, then nothing more, for ever."""

    def fault(exchange: Exchange) -> None:
        exchange.head()
        exchange.send(exchange.body[:after])
        exchange.pause()
        exchange.hang_up()

    return fault


def silent(exchange: Exchange) -> None:
    """A connection that is accepted, and no more."""
    exchange.pause()
    exchange.hang_up()


def trickling(pause: float) -> Fault:
    """A byte of the body every *pause* seconds."""

    def fault(exchange: Exchange) -> None:
        exchange.head()
        _trickle(exchange, exchange.body, pause)

    return fault


def trickling_head(pause: float) -> Fault:
    """A byte of the headers every *pause* seconds."""

    def fault(exchange: Exchange) -> None:
        _trickle(exchange, b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 10_000, pause)

    return fault


def _trickle(exchange: Exchange, data: bytes, pause: float) -> None:
    for number in range(len(data)):
        exchange.send(data[number : number + 1])
        if exchange.pause(pause):
            break
    exchange.hang_up()


def answering(status: int, body: bytes = b"an error page", **headers: str) -> Fault:
    """*status* with a body that is no image."""

    def fault(exchange: Exchange) -> None:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        exchange.send_head(status, {"Content-Length": str(len(body)), **told})
        if exchange.asked.method != "HEAD":
            exchange.send(body)

    return fault


def chunked(chunk: int, *, cut_after: int | None = None) -> Fault:
    """The body in chunks, without its length; whole, or *cut_after* so many chunks."""

    def fault(exchange: Exchange) -> None:
        exchange.head(Content_Length=None, Transfer_Encoding="chunked")
        for number, piece in enumerate(_pieces(exchange.body, chunk)):
            if number == cut_after:
                exchange.hang_up()
                return
            exchange.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        exchange.send(b"0\r\n\r\n")

    return fault


def unframed_until(end: int | None) -> Fault:
    """As HTTP/1.0 does it: the body ends with the connection, whole or cut after *end* bytes."""

    def fault(exchange: Exchange) -> None:
        exchange.head(Content_Length=None, Connection="close")
        exchange.send(exchange.body[:end])
        exchange.hang_up()

    return fault


unframed = unframed_until(None)


def _pieces(data: bytes, length: int) -> Iterator[bytes]:
    for offset in range(0, len(data), length):
        yield data[offset : offset + length]
