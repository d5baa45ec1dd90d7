# SPDX-License-Identifier: Apache-2.0
"""An image on its way into a container: one PUT if it is short, else segments and a manifest.

Neither shows before it is complete. The first part is held back until a second one
comes: only then it is known that there is need of segments. The server compares the
MD5 of everything it is sent.
"""

import contextlib
import hashlib
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from storefs import exceptions
from storefs.drivers.base import Buffer, SupportsReread, Writer
from storefs.drivers.http_answer import Attempts, Interrupted
from storefs.drivers.http_transport import Body
from storefs.drivers.name_locks import NameLocks
from storefs.drivers.open_upload import OpenUpload
from storefs.drivers.swift import metadata
from storefs.drivers.swift.client import SwiftClient
from storefs.drivers.swift.containers import Readiness
from storefs.drivers.swift.cut import Cut
from storefs.drivers.swift.errors import no_container
from storefs.drivers.swift.leftovers import Leftovers
from storefs.drivers.swift.object import SwiftObject, find_if_any
from storefs.drivers.swift.segments import (
    Place,
    Segment,
    manifest_of,
    new_upload,
    prefix_of,
    removable,
    remove,
    segments_of,
    told,
)

LOG = logging.getLogger(__name__)

_IF_ABSENT = {"If-None-Match": "*"}

_CONTENT_TYPE = {"Content-Type": "application/octet-stream"}

_MD5 = re.compile("[0-9a-f]{32}")


class SwiftTarget:
    """What writers of one account share; *ready* makes sure of a container."""

    def __init__(
        self,
        client: SwiftClient,
        leftovers: Leftovers,
        ready: Readiness,
    ) -> None:
        self.client = client
        self.leftovers = leftovers
        self.ready = ready
        #: one of our own writers at a time publishes: Ceph does not know If-None-Match
        self.publishing = NameLocks[str]()


class SwiftWriter(Writer, SupportsReread):
    """One object. *threshold*: an image of fewer bytes that is one part becomes one PUT.

    *done* is called once, after the commit or the abort.
    """

    def __init__(
        self,
        target: SwiftTarget,
        image: Place,
        cut: Cut,
        lanes: int,
        *,
        replace: bool,
        threshold: int,
        done: Callable[[], None],
    ) -> None:
        self.max_concurrency = lanes
        self._target = target
        self._client = target.client
        self._image = image
        self._cut = cut
        self._replace = replace
        self._threshold = threshold
        self._done = done
        self._held: list[memoryview] = []
        self._upload = new_upload()
        self._begun = False
        self._zeros: dict[int, Segment] = {}
        self._segments: dict[int, Segment] = {}
        self._properties: Mapping[str, str] = {}
        self._beginning = threading.Lock()
        self._zeroing = threading.Lock()
        self._uncertain = False
        self._open = OpenUpload(image.name)

    def part_size(self, offset: int) -> int:
        return self._cut.part_size(offset)

    def pwrite(self, data: memoryview, offset: int) -> None:
        if offset == 0:  # it may be kept, and the caller writes into it again
            data = memoryview(bytes(data))
        self.pwritev([data], offset)

    def pwritev(self, pieces: list[memoryview], offset: int) -> None:
        with self._open.part():
            if offset == 0 and self._keep_first(pieces):
                return
            self._begin()
            if offset == 0:
                self._send_first(pieces)
            else:
                self._send(pieces, offset)

    def skip(self, length: int, offset: int) -> None:
        """Segments of zeros are stored once for each length; the manifest names them again."""
        if offset == 0:
            self.pwrite(memoryview(bytes(length)), 0)
            return
        with self._open.part():
            self._begin()
            with self._zeroing:
                if length not in self._zeros:
                    self._send([memoryview(bytes(length))], offset)
                    self._zeros[length] = self._segments[offset]
                self._segments[offset] = self._zeros[length]

    def reread(self, length: int, offset: int) -> bytes:
        """From the segments, which are objects, or what is held back of the first part."""
        with self._open.part():
            if self._held:
                return b"".join(self._held)[offset : offset + length]
            pieces = []
            for start, segment in sorted(self._segments.items()):
                first, last = max(offset, start), min(offset + length, start + segment.size)
                if first < last:
                    pieces.append(self._read_back(segment, first - start, last - first))
            return b"".join(pieces)

    def _read_back(self, segment: Segment, offset: int, length: int) -> bytes:
        if segment in self._zeros.values():
            return bytes(length)
        wanted = {"Range": f"bytes={offset}-{offset + length - 1}", "If-Match": segment.etag}
        body = self._client.call("GET", *segment.place, headers=wanted).body
        if len(body) != length:
            raise exceptions.RemoteServiceUnavailable(
                f"{len(body)} bytes of a segment of {self._image.name} came back, not {length}"
            )
        return body

    def stage(self, properties: Mapping[str, str]) -> bool:
        metadata.headers_of(properties)
        self._properties = dict(properties)
        return True

    def commit(self, size: int) -> None:
        with self._open.publication(), self._target.publishing.hold(self._image.path):
            self._open.check_open()
            self._publish()
        self._held = []
        self._done()

    def abort(self) -> None:
        """Removes the segments when all are through: one that arrives later would stay."""
        self._open.abort(self._drop, self._client.transport.settings.read_timeout)

    def _keep_first(self, pieces: list[memoryview]) -> bool:
        """Is the first part kept until it is known what follows?"""
        with self._beginning:
            if self._begun or sum(map(len, pieces)) >= self._threshold:
                return False
            self._held = pieces
            return True

    def _begin(self) -> None:
        """Begin to send segments, if that was not done, with the part that was held back."""
        with self._beginning:
            self._open.check_open()  # what a late part sends nobody would remove
            held, self._held = self._held, []
            if not self._begun:
                self._target.ready(self._image.container)
                self._target.leftovers.begun(self._image, self._upload)
                self._begun = True
        if held:
            self._send_first(held)

    def _send_first(self, pieces: list[memoryview]) -> None:
        """The first part may be several segments."""
        length = self._cut.segment
        if sum(map(len, pieces)) <= length:
            self._send(pieces, 0)
            return
        data = memoryview(b"".join(pieces))
        for start in range(0, len(data), length):
            self._send([data[start : start + length]], start)

    def _send(self, pieces: list[memoryview], offset: int) -> None:
        name = f"{prefix_of(self._image.name, self._upload)}{offset:016}"
        segment = Segment(Place(self._image.container, name), _md5(pieces), sum(map(len, pieces)))
        self._segments[offset] = segment
        with self._naming_container():
            self._client.call("PUT", *segment.place, headers={"ETag": segment.etag}, body=pieces)

    @contextlib.contextmanager
    def _naming_container(self) -> Iterator[None]:
        """What a 404 means that answers a PUT."""
        try:
            yield
        except exceptions.NotFound as exc:
            raise no_container(self._image.container) from exc

    def _publish(self) -> None:
        old = find_if_any(self._client, *self._image)
        if old is not None and not self._replace:
            raise exceptions.Duplicate(image=self._image.name)
        places = self._segments_of(old)
        noted = self._target.leftovers.superfluous(self._image, places)
        if self._begun:
            self._put_manifest()
            self._target.leftovers.ended(self._upload)
        else:
            self._put(self._held)
        self._target.leftovers.removed(noted, self._image, places)

    def _segments_of(self, old: SwiftObject | None) -> list[Place]:
        """What will be superfluous; it is no reason not to replace an image that nobody knows."""
        if old is None:
            return []
        segments = segments_of(self._client, old)
        if segments is None:
            LOG.warning(
                "%s is replaced; the server does not tell which segments it had, and they stay",
                self._image.name,
            )
        return removable(old, segments or [])

    def _put(self, pieces: list[memoryview]) -> None:
        """All of it in one request, metadata included."""
        self._target.ready(self._image.container)
        md5 = self._properties.get("md5", "")
        if not _MD5.fullmatch(md5):
            md5 = _md5(pieces)
        self._put_once_only({}, {"ETag": md5}, pieces, md5)

    def _put_manifest(self) -> None:
        segments = [self._segments[offset] for offset in sorted(self._segments)]
        joined = "".join(segment.etag for segment in segments)
        query = {"multipart-manifest": "put"}
        whole = _md5([joined.encode()])
        self._put_once_only(query, {}, manifest_of(segments), whole)

    def _put_once_only(
        self, query: Mapping[str, str], headers: Mapping[str, str], body: Body, version: str
    ) -> None:
        """Send what publishes until it is certain whether it did.

        After an answer that got lost the next one may be that the name is taken: by
        ourselves, if the object is *version*. While it is uncertain nothing is removed.
        """
        attempts = Attempts(self._client.transport.settings.back_off)
        upload = self._upload if self._begun else ""
        kept = metadata.headers_of(self._properties, upload)
        condition = {} if self._replace else _IF_ABSENT
        sent = {**_CONTENT_TYPE, **headers, **kept, **condition}
        while True:
            try:
                with self._naming_container(), self._unless_it_is_told():
                    self._client.once("PUT", *self._image, query, sent, body)
            except Interrupted as exc:
                attempts.failed(exc)
                continue
            except exceptions.Duplicate:
                if not attempts.failures or not self._is_there(version):
                    raise
            return

    @contextlib.contextmanager
    def _unless_it_is_told(self) -> Iterator[None]:
        """It is uncertain whether the server did it, unless it says so or takes no connection."""
        self._uncertain = True
        try:
            yield
        except (exceptions.RemoteServiceUnavailable, exceptions.TimeoutError):
            raise
        except exceptions.GlanceStoreException:
            self._uncertain = False
            raise
        self._uncertain = False

    def _is_there(self, version: str) -> bool:
        found = find_if_any(self._client, *self._image)
        return found is not None and found.version == version

    def _drop(self) -> None:
        self._held = []
        try:
            if self._begun:
                self._remove_segments()
        finally:
            self._done()

    def _remove_segments(self) -> None:
        if self._uncertain:
            LOG.warning(
                "%s: the server did not say whether it published it; if not, its segments "
                "are removed when storefs starts again",
                self._image.name,
            )
            return
        places = sorted({segment.place for segment in self._segments.values()})
        if told(self._image.name, lambda: remove(self._client, places)):
            self._target.leftovers.ended(self._upload)


def _md5(pieces: Sequence[Buffer]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
