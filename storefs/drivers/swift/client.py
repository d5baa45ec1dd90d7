# SPDX-License-Identifier: Apache-2.0
"""Requests to one account: addressed, with a good token, tried again, and their errors named."""

import json
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from storefs import exceptions
from storefs.drivers.http_answer import Answer, Interrupted, retried
from storefs.drivers.http_pool import HttpSettings
from storefs.drivers.http_transport import Body, Origin, Stream, Transport
from storefs.drivers.swift import errors
from storefs.drivers.swift.session import Session

#: The longest answer that is kept in memory: a manifest is 8 MiB at most, a page of a
#: listing a megabyte or two.
_LARGEST_PAGE = 64 * 1024 * 1024

#: How many entries one page of a listing has: Swift's own limit is 10,000, and the first
#: should not be waited for long.
PAGE = 2000

#: A server that answered in the last so many seconds and takes no connection now is being
#: restarted: it is tried again, as one that is busy.
_RESTARTED_AFTER = 30.0

Query = Mapping[str, str | int]


class Reply(NamedTuple):
    """An answer with its whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class PatientTransport(Transport):
    """A `Transport` that takes a server which has gone just now for one that comes back."""

    def __init__(self, settings: HttpSettings) -> None:
        super().__init__(settings, errors.explain)
        self._answered: dict[str, float] = {}

    def send(
        self,
        method: str,
        origin: Origin,
        headers: Mapping[str, str] | None = None,
        patience: float | None = None,
        body: Body | Stream | None = None,
    ) -> Answer:
        try:
            answer = super().send(method, origin, headers, patience, body)
        except Interrupted:
            raise
        except exceptions.RemoteServiceUnavailable as exc:
            if type(exc) is exceptions.RemoteServiceUnavailable and self._was_up(origin):
                raise Interrupted(exc.msg) from exc
            raise
        self._answered[urllib.parse.urlsplit(answer.url).netloc] = time.monotonic()
        return answer

    def _was_up(self, origin: Origin) -> bool:
        server = urllib.parse.urlsplit(origin.target().url).netloc
        return time.monotonic() - self._answered.get(server, -_RESTARTED_AFTER) < _RESTARTED_AFTER


class SwiftClient:
    """The account *session* is logged in to; thread-safe.

    Every call raises `storefs.exceptions` alone, and ends within the transport's time-outs.
    """

    def __init__(self, transport: Transport, session: Session) -> None:
        self.transport = transport
        self.session = session

    def call(
        self,
        method: str,
        container: str = "",
        name: str = "",
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Reply:
        """`once`, tried again while the server is busy or broke off."""
        return retried(
            lambda: self.once(method, container, name, query, headers, body),
            self.transport.settings.back_off,
        )

    def once(
        self,
        method: str,
        container: str = "",
        name: str = "",
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Reply:
        """What the server answers; any error is raised."""
        origin = self.origin(container, name, query)
        answer = self.transport.send(method, origin, headers, body=body)
        if answer.status >= 300:
            raise answer.explained() or answer.refusal()
        try:
            return Reply(answer.status, answer.headers, _whole(answer))
        finally:
            answer.discard()

    def origin(self, container: str = "", name: str = "", query: Query | None = None) -> Origin:
        """Where the account, the container or the object is asked for."""
        path = "".join(f"/{urllib.parse.quote(part)}" for part in (container, name) if part)
        asked = f"?{urllib.parse.urlencode(query, quote_via=urllib.parse.quote)}" if query else ""
        session = self.session
        return Origin(
            lambda: f"{session.access().storage_url}{path}{asked}",
            lambda: {"X-Auth-Token": session.access().token},
            session.renew,
        )

    def entries(
        self, container: str = "", *, prefix: str = "", flat: bool = True
    ) -> Iterator[dict[str, Any]]:
        """What is in the container, or in the account, page by page; `NotFound`.

        Not *flat*: what has a ``/`` in its name is one entry with a `subdir`.
        """
        query: dict[str, str | int] = {"format": "json", "limit": PAGE, "prefix": prefix}
        if not flat:
            query["delimiter"] = "/"
        while True:
            page = json_of(self.call("GET", container, query=query))
            yield from page
            if not page:
                return
            query["marker"] = page[-1].get("name") or page[-1]["subdir"]

    def make_container(self, container: str, headers: Mapping[str, str] | None = None) -> None:
        """Have the container."""
        self.call("PUT", container, headers=headers, body=b"")


def _whole(answer: Answer) -> bytes:
    """The body to its end; some servers do not tell how long it is."""
    pieces = []
    while piece := answer.read(_LARGEST_PAGE):
        pieces.append(piece)
        if sum(map(len, pieces)) >= _LARGEST_PAGE:
            break
    return b"".join(pieces)


def json_of(reply: Reply) -> Any:
    """The body as JSON; an empty one is an empty list."""
    try:
        return json.loads(reply.body) if reply.body else []
    except ValueError as exc:
        raise exceptions.RemoteServiceUnavailable(
            f"The server answered {reply.status} with something that is not Swift's: check "
            "swift_store_auth_address and swift_store_endpoint"
        ) from exc
