# SPDX-License-Identifier: Apache-2.0
"""What a user of the tests' Glance does: images, their data, and waiting for its tasks."""

import json
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple

_PATCH = "application/openstack-images-v2.1-json-patch"
_BYTES = "application/octet-stream"

#: How long anything may take, seconds.
_PATIENCE = 60


class Answer(NamedTuple):
    """What came back, errors too."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Talks to the Glance at *url*."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """*body* is bytes, or goes as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        told = {"Content-Type": kind, **(headers or {})}
        request = urllib.request.Request(self._url + path, data, told, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as exc:
            with exc:
                return Answer(exc.code, exc.headers, exc.read())

    def create(self) -> str:
        """The id of a new image without data."""
        wanted = {"disk_format": "raw", "container_format": "bare"}
        answer = self.ask("POST", "/v2/images", wanted)
        assert answer.status == 201, answer
        image_id: str = answer.json["id"]
        return image_id

    def image(self, image_id: str) -> dict[str, Any]:
        answer = self.ask("GET", f"/v2/images/{image_id}")
        assert answer.status == 200, answer
        image: dict[str, Any] = answer.json
        return image

    def images(self) -> list[str]:
        """The ids of all of them."""
        return [image["id"] for image in self.ask("GET", "/v2/images?limit=1000").json["images"]]

    def upload(self, image_id: str, data: bytes, store: str | None = None) -> Answer:
        headers = {"X-Image-Meta-Store": store} if store else {}
        return self.ask("PUT", f"/v2/images/{image_id}/file", data, _BYTES, headers)

    def stage(self, image_id: str, data: bytes) -> Answer:
        return self.ask("PUT", f"/v2/images/{image_id}/stage", data, _BYTES)

    def new(self, data: bytes, store: str | None = None) -> str:
        """The id of a new image with *data* in *store*."""
        image_id = self.create()
        answer = self.upload(image_id, data, store)
        assert answer.status == 204, answer
        return image_id

    def cut_off(self, path: str, data: bytes, store: str) -> int:
        """PUT all but the last of the bytes that are announced; the status that comes back."""
        where = urllib.parse.urlsplit(self._url)
        head = (
            f"PUT {path} HTTP/1.0\r\nContent-Type: {_BYTES}\r\nX-Image-Meta-Store: {store}\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        address = (where.hostname, where.port)
        with socket.create_connection(address, timeout=_PATIENCE) as connection:
            connection.sendall(head.encode() + data[:-1])
            connection.shutdown(socket.SHUT_WR)
            return int(connection.makefile("rb").readline().split()[1])

    def bring_in(self, image_id: str, method: Mapping[str, str], **more: Any) -> dict[str, Any]:
        """Import by *method* until that has ended; the image then."""
        wanted = {"method": method, **more}
        answer = self.ask("POST", f"/v2/images/{image_id}/import", wanted)
        assert answer.status == 202, answer
        return self.settled(image_id)

    def add_location(self, image_id: str, url: str, store: str | None = None) -> Answer:
        """By PATCH, which waits for nothing."""
        value = {"url": url, "metadata": {"store": store} if store else {}}
        change = [{"op": "add", "path": "/locations/-", "value": value}]
        return self.ask("PATCH", f"/v2/images/{image_id}", change, _PATCH)

    def download(self, image_id: str, wanted: str | None = None) -> Answer:
        """All of it, or the range *wanted*."""
        headers = {"Range": f"bytes={wanted}"} if wanted else {}
        return self.ask("GET", f"/v2/images/{image_id}/file", headers=headers)

    def settled(self, image_id: str) -> dict[str, Any]:
        """The image once every task of it has ended: all at once is too much for sqlite."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            tasks = self.ask("GET", f"/v2/images/{image_id}/tasks").json["tasks"]
            if all(task["status"] in ("success", "failure") for task in tasks):
                return self.image(image_id)
            assert time.monotonic() < deadline, tasks
            time.sleep(0.05)
