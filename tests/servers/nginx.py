# SPDX-License-Identifier: Apache-2.0
"""Debian's nginx over a directory of images, plain and with TLS.

====================  ======================================================
/images/F             ranges, ETag, Last-Modified
/norange/F            200 to every range request
/chunked/F            no ranges, no Content-Length, no ETag
/nohead/F             405 to HEAD
/slow/F               64 KiB a second
/drip/F               the same, and 200 to every range request
/auth/F               asks for user ``us er``, password ``p@ss:word``
/rCODE/{abs,rel}/F    301, 302, 303, 307, 308 to /images/F
/hopsN/F              N redirects to /images/F, N up to 9
/loop/F               redirects to itself
/plain/F, /tls/F      redirects to the other listener's /images/F
/other/F              redirects to the same server under another name
====================  ======================================================
"""

import base64
import hashlib
import pathlib
import signal
import ssl
import time
from typing import NamedTuple

import trustme

from tests.servers.process import Process, ServerFailed, free_port

__all__ = ["Nginx", "Request", "ServerFailed"]

USER, PASSWORD = "us er", "p@ss:word"

_REDIRECTS = (301, 302, 303, 307, 308)

_CONFIGURATION = """
daemon off;
master_process off;
pid {here}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    log_format requests '$connection|$request_method|$request_uri|$status|$http_range|'
                        '$http_if_range|$http_authorization|$http_host';
    access_log {here}/access.log requests;
    client_body_temp_path {here}/temp;
    proxy_temp_path {here}/temp;
    fastcgi_temp_path {here}/temp;
    uwsgi_temp_path {here}/temp;
    scgi_temp_path {here}/temp;
    default_type application/octet-stream;
    absolute_redirect off;
    sendfile on;
    keepalive_timeout 60;
    keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{tls_port} ssl;
        ssl_certificate {here}/server.pem;
        ssl_certificate_key {here}/server.pem;
        location /images/ {{ alias {images}/; }}
        location /norange/ {{ alias {images}/; max_ranges 0; }}
        location /chunked/ {{
            alias {images}/;
            sub_filter_types *;
            sub_filter 'nothing like this is in an image' '';
        }}
        location /nohead/ {{
            alias {images}/;
            if ($request_method = HEAD) {{ return 405; }}
        }}
        location /slow/ {{ alias {images}/; limit_rate 64k; }}
        location /drip/ {{ alias {images}/; limit_rate 64k; max_ranges 0; }}
        location /auth/ {{
            alias {images}/;
            auth_basic images;
            auth_basic_user_file {here}/passwords;
        }}
        location ~ ^/loop/ {{ return 302 $request_uri; }}
        location ~ ^/plain/(.*)$ {{ return 302 http://localhost:{port}/images/$1; }}
        location ~ ^/tls/(.*)$ {{ return 302 https://localhost:{tls_port}/images/$1; }}
        location ~ ^/other/(.*)$ {{ return 302 http://127.0.0.1:{port}/images/$1; }}
        {redirects}
    }}
}}
"""


class Request(NamedTuple):
    """One line of the access log; headers that were not sent are ``-``."""

    connection: str
    method: str
    uri: str
    status: str
    range: str
    if_range: str
    authorization: str
    host: str


class Nginx:
    """nginx over ``images``; `url` and `tls_url` begin the URLs of its locations.

    The certificate is for localhost and is signed by `authority`.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self.images = directory / "images"
        self.images.mkdir()
        self._log = directory / "access.log"
        port, tls_port = free_port(), free_port()
        self.url = f"http://localhost:{port}"
        self.tls_url = f"https://localhost:{tls_port}"
        self.authority = directory / "authority.pem"
        self._write_certificates(directory)
        (directory / "passwords").write_text(f"{USER}:{_salted(PASSWORD)}\n")
        configuration = directory / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                here=directory,
                images=self.images,
                port=port,
                tls_port=tls_port,
                redirects=_redirects(),
            )
        )
        self._process = Process(
            ["/usr/sbin/nginx", "-p", str(directory), "-c", str(configuration)],
            [port, tls_port],
            directory / "nginx.log",
        )

    def _write_certificates(self, directory: pathlib.Path) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.authority))
        server = authority.issue_cert("localhost")
        server.private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))

    def start(self) -> None:
        """Raises `ServerFailed`."""
        try:
            self._process.start()
        except FileNotFoundError as exc:
            raise ServerFailed(f"{exc.filename} is not installed") from exc

    def stop(self) -> None:
        """At once, in the middle of answers; `start` brings it back on the same ports."""
        self._process.stop(signal.SIGKILL)

    def requests(self, uri: str = "/") -> list[Request]:
        """What was asked since `forget_requests`, where the URI begins with *uri*."""
        self._settle()
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        found = [Request(*line.split("|")) for line in lines]
        return [request for request in found if request.uri.startswith(uri)]

    def forget_requests(self) -> None:
        """Begin to count anew."""
        self._settle()
        with self._log.open("r+b") as log:
            log.truncate(0)

    def _settle(self) -> None:
        """nginx notes a request after its answer: until nothing came for a while."""
        before = -1
        while self._log.exists() and before != (before := self._log.stat().st_size):
            time.sleep(0.03)

    def client_context(self) -> ssl.SSLContext:
        """For a client of the tests' own."""
        return ssl.create_default_context(cafile=self.authority)


def _salted(password: str) -> str:
    """As RFC 2307 has it: a colon in a plain password would end it."""
    digest = hashlib.sha1(password.encode() + b"salt", usedforsecurity=False).digest()
    return "{SSHA}" + base64.b64encode(digest + b"salt").decode()


def _redirects() -> str:
    lines = []
    for status in _REDIRECTS:
        absolute = f"{{ return {status} $scheme://$http_host/images/$1; }}"
        lines.append(f"location ~ ^/r{status}/abs/(.*)$ {absolute}")
        lines.append(f"location ~ ^/r{status}/rel/(.*)$ {{ return {status} ../../images/$1; }}")
    lines.append("location ~ ^/hops1/(.*)$ { return 302 /images/$1; }")
    lines += [
        f"location ~ ^/hops{hops}/(.*)$ {{ return 302 /hops{hops - 1}/$1; }}"
        for hops in range(2, 10)
    ]
    return "\n        ".join(lines)
