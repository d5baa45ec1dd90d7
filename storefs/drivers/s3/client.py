# SPDX-License-Identifier: Apache-2.0
"""Requests to one bucket: addressed, signed, tried again, and their errors named."""

import math
import re
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import NamedTuple

from storefs import exceptions
from storefs.drivers.http_answer import Answer, retried
from storefs.drivers.http_transport import Body, Origin, Transport
from storefs.drivers.s3 import errors
from storefs.drivers.s3.signing import Signer

#: When a signature for reading is made anew, seconds: servers take those of the last quarter
#: of an hour, by clocks that may differ.
_RENEWED_AFTER = 300

#: The longest answer that is kept in memory: a page of a listing is under 2 MiB.
_LARGEST_PAGE = 64 * 1024 * 1024

#: How long a bucket is taken for granted that answered, seconds.
_SEEN = 30.0

#: How long an object that was not there is taken for absent without asking again,
#: seconds: a file is looked up, created and published within that. How many are known.
_ABSENT = 1.0
_ABSENCES = 1000

_NAMESPACE = re.compile(rb'\sxmlns="[^"]*"')

Query = Mapping[str, str | int]


class Reply(NamedTuple):
    """An answer with its whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class S3Client:
    """One bucket at *endpoint* (``scheme://host[:port][/prefix]``); thread-safe.

    *virtual* puts the bucket's name into the host's. Every call raises
    `storefs.exceptions` alone, and ends within the transport's time-outs.
    """

    def __init__(
        self, transport: Transport, signer: Signer, endpoint: str, bucket: str, *, virtual: bool
    ) -> None:
        self.transport = transport
        self.signer = signer
        self.bucket = bucket
        self._base = _base(endpoint, bucket, virtual)
        self._seen_at = -math.inf
        self._absent: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def seen(self) -> bool:
        """Is it certain of late that the bucket is there?"""
        return time.monotonic() - self._seen_at < _SEEN

    def absent(self, key: str) -> bool:
        """Was there nothing under *key* just now?

        A server that compares as it publishes is asked to; for others this is as good
        as another question.
        """
        with self._lock:
            return time.monotonic() - self._absent.get(key, -math.inf) < _ABSENT

    def note(self, key: str, *, absent: bool) -> None:
        """There was nothing under *key* just now, or there may be something."""
        with self._lock:
            self._absent.pop(key, None)
            if absent:
                self._absent[key] = time.monotonic()
                if len(self._absent) > _ABSENCES:
                    del self._absent[next(iter(self._absent))]

    def __repr__(self) -> str:
        return f"<S3Client {self._base}>"

    def url(self, key: str = "", query: Query | None = None) -> str:
        """Where *key*, or the bucket, is asked for."""
        path = urllib.parse.quote(key, safe="/-_.~")
        asked = urllib.parse.urlencode(query or {}, quote_via=urllib.parse.quote, safe="-_.~")
        return f"{self._base}{path}?{asked}" if asked else f"{self._base}{path}"

    def call(
        self,
        method: str,
        key: str = "",
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Reply:
        """`once`, tried again while the server is busy or broke off."""
        return retried(
            lambda: self.once(method, key, query, headers, body),
            self.transport.settings.back_off,
        )

    def once(
        self,
        method: str,
        key: str = "",
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Reply:
        """What the server answers; any error in it, one in a 200's body too, is raised."""
        answer = self.answer(method, key, query, headers, body)
        try:
            page = answer.read(_LARGEST_PAGE)
        finally:
            answer.discard()
        if b"<Error>" in page[:200]:
            raise errors.explain(answer, page) or errors.unreadable(answer)
        return Reply(answer.status, answer.headers, page)

    def answer(
        self,
        method: str,
        key: str = "",
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Answer:
        """The same with the body unread."""
        url = self.url(key, query)
        origin = Origin(url, lambda: self.signer.signed(method, url, headers or {}, body))
        answer = self.transport.send(method, origin, body=body)
        if answer.status >= 300:
            failure = answer.explained() or answer.refusal()
            if isinstance(failure, exceptions.NotFound) and method != "HEAD":
                self._seen_at = time.monotonic()  # its page would name the bucket
            raise failure
        self._seen_at = time.monotonic()
        return answer

    def readable(self, key: str, query: Query | None = None) -> Origin:
        """Where *key* is read: signed once for many requests, of any range."""
        url = self.url(key, query)
        signature = _Signature(self.signer, url)
        return Origin(url, signature.headers, signature.renew)


class _Signature:
    """Headers anybody may GET *url* with, always good for a while; thread-safe.

    Neither Range nor If-Match is among what is signed, so one signature does for all
    ranges. In headers and not in the URL: a signed URL has 500 characters, and each
    request would go through them several times.
    """

    def __init__(self, signer: Signer, url: str) -> None:
        self._signer = signer
        self._url = url
        self._signed: Mapping[str, str] | None = None
        self._signed_at = 0.0
        self._lock = threading.Lock()

    def headers(self) -> Mapping[str, str]:
        signed = self._signed
        if signed is None or time.monotonic() - self._signed_at > _RENEWED_AFTER:
            self.renew()
        assert self._signed is not None
        return self._signed

    def renew(self) -> bool:
        """Sign it anew; False if that changes nothing, because it was just done."""
        with self._lock:
            before = self._signed
            if before is None or time.monotonic() - self._signed_at > 1:
                self._signed = self._signer.signed("GET", self._url, {})
                self._signed_at = time.monotonic()
            return before is not None and self._signed != before


def parsed(reply: Reply) -> ET.Element:
    """The body as XML without namespaces, which servers use differently."""
    try:
        return ET.fromstring(_NAMESPACE.sub(b"", reply.body, count=1))
    except ET.ParseError as exc:
        raise exceptions.RemoteServiceUnavailable(
            f"The server answered {reply.status} with something that is not S3's: "
            "check s3_store_host"
        ) from exc


def _base(endpoint: str, bucket: str, virtual: bool) -> str:
    parts = urllib.parse.urlsplit(endpoint)
    prefix = parts.path.rstrip("/")
    if virtual:
        return f"{parts.scheme}://{bucket}.{parts.netloc}{prefix}/"
    return f"{parts.scheme}://{parts.netloc}{prefix}/{urllib.parse.quote(bucket, safe='')}/"
