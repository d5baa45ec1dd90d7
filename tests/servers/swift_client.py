# SPDX-License-Identifier: Apache-2.0
"""The other program at a Swift server: plain requests, as any client makes them."""

import dataclasses
import hashlib
import json
import urllib.parse
import uuid
from collections.abc import Mapping
from typing import Any

import urllib3

from tests.servers import rgw_swift, shared
from tests.servers.keystone import REGION


@dataclasses.dataclass
class Account:
    """An account somebody is logged in to: *options* make a driver do the same."""

    url: str
    token: str
    options: dict[str, Any]
    secrets: tuple[str, ...]


def login_v1(auth_url: str, user: str, key: str) -> Account:
    headers = {"X-Auth-User": user, "X-Auth-Key": key}
    answer = urllib3.request("GET", auth_url, headers=headers)
    assert answer.status < 300, answer.data
    options = {
        "swift_store_auth_address": auth_url,
        "swift_store_auth_version": "1",
        "swift_store_user": user,
        "swift_store_key": key,
    }
    token = answer.headers["X-Auth-Token"]
    return Account(answer.headers["X-Storage-Url"], token, options, (key, token))


def tempauth(user: str = "test:tester", key: str = "testing") -> Account:
    """At Swift with tempauth; `ServerFailed`."""
    return login_v1(shared.swift().auth_url, user, key)


def rgw() -> Account:
    """At Ceph; `ServerFailed`."""
    return login_v1(rgw_swift.auth_url(), rgw_swift.USER, rgw_swift.KEY)


def keystone(user: str = "demo", key: str = "demo-pass", project: str = "demo") -> Account:
    """At Swift behind Keystone; `ServerFailed`."""
    shared.swift()
    server = shared.keystone()
    token, _ = server.token(user, key, project)
    services = server.catalog(token)
    (swift,) = [found for found in services if found["type"] == "object-store"]
    url = next(end["url"] for end in swift["endpoints"] if end["interface"] == "public")
    options = {
        "swift_store_auth_address": server.url,
        "swift_store_user": f"{project}:{user}",
        "swift_store_key": key,
        "swift_store_region": REGION,
    }
    return Account(url, token, options, (key, token))


class Container:
    """A container of its own for one test, behind storefs' back."""

    def __init__(self, account: Account, name: str = "", *, make: bool = True) -> None:
        self.account = account
        self.name = name or f"storefs-{uuid.uuid4().hex[:20]}"
        self.pool = urllib3.PoolManager(maxsize=8)
        if make:
            self.ask("PUT")

    @property
    def options(self) -> dict[str, Any]:
        """What makes a driver use it."""
        return {**self.account.options, "swift_store_container": self.name}

    def ask(
        self,
        method: str,
        name: str = "",
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> urllib3.BaseHTTPResponse:
        """The answer to a request for the container or an object, which must be no error."""
        answer = self.answer(method, name, query, headers, body)
        assert answer.status < 300, f"{method} {name}: {answer.status} {answer.data[:200]!r}"
        return answer

    def answer(
        self,
        method: str,
        name: str = "",
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> urllib3.BaseHTTPResponse:
        path = "/".join(urllib.parse.quote(part) for part in (self.name, name) if part)
        url = f"{self.account.url}/{path}{'?' if query else ''}{query}"
        sent = {"X-Auth-Token": self.account.token, **(headers or {})}
        return self.pool.request(method, url, headers=sent, body=body, retries=False)

    def put(self, name: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.ask("PUT", name, headers=headers, body=data)

    def put_static(self, name: str, pieces: list[bytes]) -> None:
        """As a Static Large Object of *pieces*, as `swift upload --use-slo` does."""
        rows = []
        for number, piece in enumerate(pieces):
            segment = f"segments-of/{name}/{number:08}"
            self.put(segment, piece)
            md5 = hashlib.md5(piece).hexdigest()
            rows.append({"path": f"/{self.name}/{segment}", "etag": md5, "size_bytes": len(piece)})
        self.ask("PUT", name, "multipart-manifest=put", body=json.dumps(rows).encode())

    def put_dynamic(self, name: str, pieces: list[bytes]) -> None:
        """As a Dynamic Large Object of *pieces*, as Glance does."""
        for number, piece in enumerate(pieces, 1):
            self.put(f"{name}-{number:05}", piece)
        prefix = urllib.parse.quote(f"{self.name}/{name}-")
        self.put(name, b"", {"X-Object-Manifest": prefix})

    def get(self, name: str) -> bytes:
        return self.ask("GET", name).data

    def head(self, name: str) -> Mapping[str, str]:
        return self.ask("HEAD", name).headers

    def delete(self, name: str) -> None:
        self.ask("DELETE", name)

    def names(self, prefix: str = "") -> list[str]:
        """All objects, segments too."""
        names: list[str] = []
        while True:
            marker = urllib.parse.quote(names[-1]) if names else ""
            page = self._page(f"format=json&prefix={prefix}&marker={marker}")
            if not page:
                return names
            names += [entry["name"] for entry in page]

    def _page(self, query: str) -> list[dict[str, Any]]:
        answer = self.answer("GET", query=query)
        if answer.status == 404:
            return []
        found: list[dict[str, Any]] = json.loads(answer.data) if answer.data else []
        return found

    def segments(self) -> list[str]:
        """Those of ours."""
        return self.names(".segments/")

    def remove(self) -> None:
        """Take it away with everything in it."""
        names = self.names()
        for start in range(0, len(names), 1000):
            paths = [f"/{self.name}/{name}" for name in names[start : start + 1000]]
            body = "\n".join(map(urllib.parse.quote, paths)).encode()
            headers = {"X-Auth-Token": self.account.token, "Content-Type": "text/plain"}
            self.pool.request(
                "POST", f"{self.account.url}?bulk-delete=1", headers=headers, body=body
            )
        self.answer("DELETE")
        self.pool.clear()
