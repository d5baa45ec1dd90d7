# SPDX-License-Identifier: Apache-2.0
"""A forward proxy: requests with absolute URLs, and CONNECT tunnels."""

import contextlib
import socket
import socketserver
import threading
import urllib.parse
from collections.abc import Iterator


class _Handler(socketserver.StreamRequestHandler):
    proxy: "ForwardProxy"

    def handle(self) -> None:
        head = b"".join(iter(self.rfile.readline, b"\r\n"))
        self.proxy.heads.append(head.decode("latin-1"))
        method, target, _ = head.split(b" ", 2)
        host = target if method == b"CONNECT" else urllib.parse.urlsplit(target).netloc
        name, port = host.decode().rsplit(":", 1)
        with socket.create_connection((name, int(port)), 10) as upstream:
            if method == b"CONNECT":
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                # Servers understand absolute URLs too, so nothing is rewritten.
                upstream.sendall(head + b"\r\n")
            back = threading.Thread(target=_copy, args=(upstream, self.connection), daemon=True)
            back.start()
            _copy(self.connection, upstream)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class ForwardProxy:
    """``heads`` has the first request of every connection, as text."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    @contextlib.contextmanager
    def serving(self) -> Iterator["ForwardProxy"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()
