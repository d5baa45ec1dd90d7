# SPDX-License-Identifier: Apache-2.0
"""Reading an image over HTTP: any range of one version of it, or start to end.

`RangedHttp` is the reader of every store that is asked by plain GET requests.
It knows no store: an `Origin` gives URLs and headers. The version is pinned by
`Validators`; each answer must agree with them, or the image was replaced.

A server that ignores ranges answers 200 with everything: then `_Sequential`
reads that body on, and a seek backwards asks for it anew.
"""

import contextlib
import dataclasses
import re
import threading
from collections.abc import Callable, Container, Iterator, Mapping
from typing import ClassVar

from storefs import exceptions
from storefs.drivers.base import Buffer, ImageInfo, Reader, joined
from storefs.drivers.http_answer import Answer, Attempts, Interrupted, retried
from storefs.drivers.http_transport import Origin, Transport
from storefs.drivers.http_url import public_url
from storefs.drivers.mtimes import parse_http

_CONTENT_RANGE = re.compile(r"bytes\s+(?:(\d+)-(\d+)|\*)/(\d+|\*)\s*", re.IGNORECASE)

#: After a failure the body is taken in pieces of this many bytes: a connection
#: that breaks again loses one piece, not the whole range.
_PIECE = 256 * 1024

#: What servers answer for an image, a version or a range that is not there (any more).
_GONE = frozenset({404, 410, 412, 416})


@dataclasses.dataclass(frozen=True, slots=True)
class Validators:
    """What tells one version of an image from the next; *size* in bytes.

    *etag* and *last_modified* are as in the headers, or empty; *size* is None
    where the server does not tell.
    """

    etag: str = ""
    last_modified: str = ""
    size: int | None = None

    @classmethod
    def of(cls, answer: Answer) -> "Validators":
        """Those of the image, not of the part that *answer* carries."""
        headers = answer.headers
        return cls(headers.get("ETag", ""), headers.get("Last-Modified", ""), _total(answer))

    @property
    def strong(self) -> bool:
        """Does the ETag promise equal bytes (RFC 9110, 8.8.1), so that If-Range works?"""
        return self.etag.startswith('"')

    def agree(self, other: "Validators") -> bool:
        """False if *other* is another version for certain; by the best both have."""
        if None not in (self.size, other.size) and self.size != other.size:
            return False
        if self.etag and other.etag:
            return self.etag.removeprefix("W/") == other.etag.removeprefix("W/")
        if self.last_modified and other.last_modified:
            return self.last_modified == other.last_modified
        return True

    def info(self, image_id: str) -> ImageInfo:
        """The same for the layers above.

        Without ETag and Last-Modified there is no version: nobody can tell
        whether the bytes are still the same.
        """
        dated = f"{self.last_modified}/{self.size}" if self.last_modified else ""
        return ImageInfo(image_id, self.size, self.etag or dated, parse_http(self.last_modified))


def _total(answer: Answer) -> int | None:
    """The size of the whole image; None if *answer* does not tell."""
    if answer.status in {206, 416}:
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        text = match[3] if match else ""
    else:
        text = answer.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def probe(transport: Transport, origin: Origin, patience: float | None = None) -> Answer:
    """Ask for the first byte: 206 where ranges work, 200 where not, 416 if there is none.

    One GET tells all of an image, also where HEAD is refused or signed URLs
    allow GET alone. Any other status is raised.
    """

    def ask() -> Answer:
        answer = transport.send("GET", origin, {"Range": "bytes=0-0"}, patience)
        if answer.status in {200, 206, 416}:
            return answer
        explained = answer.explained()
        raise explained or answer.refusal()

    return retried(ask, transport.settings.back_off)


def pinned_by(answer: Answer) -> Validators:
    """The version that an answer to `probe` speaks of."""
    found = Validators.of(answer)
    if answer.status == 416 and found.size != 0:
        # Not even the first byte of an image that is not said to be empty: ask without a range.
        return dataclasses.replace(found, size=None)
    return found


class RangedHttp(Reader):
    """One version of an image behind *origin*, pinned by *validators*.

    Without a size in these, or with *body* - an answer that carries the image
    from its start - it is read sequentially: `max_concurrency` is 1.
    """

    #: the header that asks for the pinned version alone: without it If-Range servers
    #: send all of the new one, If-Match ones refuse with 412
    CONDITION: ClassVar[str] = "If-Range"

    def __init__(
        self,
        transport: Transport,
        origin: Origin,
        info: ImageInfo,
        validators: Validators,
        body: Answer | None = None,
    ) -> None:
        self.info = info
        self.max_concurrency = transport.settings.max_connections
        self._transport = transport
        self._origin = origin
        self._pinned = validators
        self._lock = threading.Lock()
        self._sequential: _Sequential | None = None
        if body is not None or validators.size is None:
            self._go_sequential(body)

    @classmethod
    def open(cls, transport: Transport, origin: Origin, image_id: str) -> "RangedHttp":
        """Pin the version that is current now, with one request; `NotFound`, `Forbidden`."""
        answer = probe(transport, origin)
        pinned = pinned_by(answer)
        body = answer if answer.status == 200 and pinned.size != 0 else None
        if body is None:
            answer.discard()
        return cls(transport, origin, pinned.info(image_id), pinned, body)

    def pread(self, length: int, offset: int) -> Buffer:
        if self._pinned.size is not None:
            length = min(length, self._pinned.size - offset)
        if length <= 0:
            return b""
        if self._sequential is None:
            data = self._ranges(length, offset)
            if data is not None:
                return data
        return self._streamed(length, offset)

    def close(self) -> None:
        if self._sequential is not None:
            self._sequential.close()

    def _ranges(self, length: int, offset: int) -> Buffer | None:
        """The bytes, by as many requests as it takes; None if ranges are ignored.

        Usually one request whose body is one bytes object: no copy is made.
        """
        pieces: list[bytes] = []
        attempts = Attempts(self._transport.settings.back_off)
        while length:
            try:
                answer = self._ask(length, offset)
                if answer.status == 200:
                    self._go_sequential(answer)
                    return None
                piece = _PIECE if attempts.failures else length
                for data in _received(answer, min(length, _granted(answer, offset)), piece):
                    attempts.progressed()
                    pieces.append(data)
                    length -= len(data)
                    offset += len(data)
            except Interrupted as exc:
                attempts.failed(exc)
        return joined(pieces)

    def _ask(self, length: int, offset: int) -> Answer:
        """206, or 200 from a server that ignores ranges, of the pinned version."""
        headers = {"Range": f"bytes={offset}-{offset + length - 1}", **self._condition()}
        return self._checked(self._transport.send("GET", self._origin, headers), {200, 206})

    def _condition(self) -> Mapping[str, str]:
        """What asks for the pinned version alone, where the server can be asked so."""
        return {self.CONDITION: self._pinned.etag} if self._pinned.strong else {}

    def _whole(self) -> Answer:
        """200, with the pinned version from its start."""
        return self._checked(self._transport.send("GET", self._origin), {200})

    def _checked(self, answer: Answer, wanted: Container[int]) -> Answer:
        if answer.status not in wanted:
            explained = answer.explained()
            if answer.status in _GONE and not _is_trouble(explained):
                raise exceptions.ImageChanged(f"{answer}: the image that was open is gone")
            raise explained or answer.refusal()
        if not self._pinned.agree(Validators.of(answer)):
            answer.close()
            raise exceptions.ImageChanged(image=public_url(answer.url))
        return answer

    def _go_sequential(self, body: Answer | None) -> None:
        with self._lock:
            if self._sequential is None:
                self._sequential = _Sequential(self._whole, body, self._pinned.size)
                self.max_concurrency = 1
            elif body is not None:
                body.close()

    def _streamed(self, length: int, offset: int) -> Buffer:
        assert self._sequential is not None
        data = self._sequential.pread(length, offset)
        if self.info.size is None and self._sequential.end is not None:
            self.info = dataclasses.replace(self.info, size=self._sequential.end)
        return data


def _is_trouble(explained: exceptions.GlanceStoreException | None) -> bool:
    """Is it something else than that the image, or this version of it, is not there?"""
    absent = exceptions.NotFound | exceptions.ImageChanged | exceptions.Duplicate
    return explained is not None and not isinstance(explained, absent)


def _granted(answer: Answer, offset: int) -> int:
    """How many bytes from *offset* on a 206 carries; fewer than asked are allowed."""
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if match and match[1] and int(match[1]) == offset and int(match[2]) >= offset:
        return int(match[2]) - offset + 1
    answer.close()
    raise exceptions.RemoteServiceUnavailable(
        f"{answer} with another range than the one from byte {offset} that was asked for"
    )


def _received(answer: Answer, length: int, piece: int) -> Iterator[bytes]:
    """Exactly *length* bytes of the body, *piece* at a time; `Interrupted`."""
    with contextlib.closing(answer):
        while length:
            data = answer.read(min(piece, length))
            if not data:
                raise Interrupted(f"{answer} and ended {length} bytes early")
            length -= len(data)
            yield data
        answer.finish()


class _Sequential:
    """The image as one body with a position in it; one caller at a time.

    *whole* asks for it from the start, *body* is such an answer already here.
    `end` is the size, in bytes, once the end was seen.
    """

    def __init__(self, whole: Callable[[], Answer], body: Answer | None, size: int | None) -> None:
        self._whole = whole
        self._body = body
        self._position = 0
        self._size = size
        self._lock = threading.Lock()
        self.end: int | None = None

    def pread(self, length: int, offset: int) -> Buffer:
        """As `Reader.pread`. What lies before *offset* is read and dropped."""
        pieces: list[bytes] = []
        attempts = Attempts()
        with self._lock:
            while length and (self.end is None or offset < self.end):
                try:
                    self._seek(offset)
                    data = self._read(min(length, _PIECE) if attempts.failures else length)
                except Interrupted as exc:
                    attempts.failed(exc)
                    continue
                attempts.progressed()
                pieces.append(data)
                length -= len(data)
                offset += len(data)
        return joined(pieces)

    def _seek(self, offset: int) -> None:
        if self._position > offset:
            self.close()
        while self._position < offset:
            if not self._read(min(_PIECE, offset - self._position)):
                return

    def _read(self, length: int) -> bytes:
        """The next bytes; none at the end, which is then known."""
        try:
            if self._body is None:
                self._body = self._whole()
            data = self._body.read(length)
        except exceptions.GlanceStoreException:
            self.close()
            raise
        self._position += len(data)
        if not data:
            self._at_end()
        return data

    def _at_end(self) -> None:
        position = self._position
        if self._size is not None and position < self._size:
            self.close()
            raise Interrupted(f"The image ended after {position} of {self._size} bytes")
        self.end = position

    def close(self) -> None:
        """Let go of the body; the next read begins at the start."""
        if self._body is not None:
            self._body.close()
        self._body, self._position = None, 0
