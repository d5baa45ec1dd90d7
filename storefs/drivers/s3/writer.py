# SPDX-License-Identifier: Apache-2.0
"""An image on its way into a bucket: one PUT if it is short, else a multipart upload.

Neither shows before it is complete. The first part is held back until a second
one comes: only then it is known that there is need of more than one request.
"""

import base64
import hashlib
import logging
import re
import threading
import time
import zlib
from collections.abc import Callable, Mapping

from storefs import exceptions
from storefs.drivers.base import ImageInfo, Writer, mtime_property
from storefs.drivers.http_answer import Attempts, Interrupted
from storefs.drivers.journal import Journal
from storefs.drivers.mtimes import Mtimes
from storefs.drivers.name_locks import NameLocks
from storefs.drivers.open_upload import OpenUpload
from storefs.drivers.s3 import tags
from storefs.drivers.s3.client import Query, Reply, S3Client, parsed
from storefs.drivers.s3.parts import Cut
from storefs.drivers.s3.uploads import abort, begin, completion

LOG = logging.getLogger(__name__)

#: A part in memory, in one piece or more.
Pieces = list[memoryview]

_MD5 = re.compile("[0-9a-f]{32}")

_IF_ABSENT = {"If-None-Match": "*"}


class S3Target:
    """What writers of one store share: the bucket, and who publishes what just now.

    *checksums*: send each request's CRC32 along. *etag_of* gives the ETag a key has
    now, or None.
    """

    def __init__(
        self,
        client: S3Client,
        journal: Journal,
        etag_of: Callable[[str], str | None],
        mtimes: Mtimes,
        *,
        checksums: bool = False,
    ) -> None:
        self.client = client
        self.journal = journal
        self.etag_of = etag_of
        self.mtimes = mtimes
        self.checksums = checksums
        #: does the server keep tags, and does it know If-None-Match? Until it says no
        self.tags = True
        self.conditions = True
        #: one of our own writers at a time: not every server compares when it completes
        self.publishing = NameLocks[str]()


class S3Writer(Writer):
    """One object. *hold*: an image of one part becomes one PUT."""

    def __init__(
        self, target: S3Target, key: str, cut: Cut, lanes: int, *, replace: bool, hold: bool
    ) -> None:
        self.max_concurrency = lanes
        self._target = target
        self._client = target.client
        self._key = key
        self._cut = cut
        self._replace = replace
        self._hold = hold
        self._held: Pieces | None = None
        self._upload = ""
        self._etags: dict[int, str] = {}
        self._properties: Mapping[str, str] = {}
        self._beginning = threading.Lock()
        self._open = OpenUpload(key)

    def part_size(self, offset: int) -> int:
        return self._cut.part_size(offset)

    def pwrite(self, data: memoryview, offset: int) -> None:
        if offset == 0 and self._hold:
            data = memoryview(bytes(data))  # it may be kept for longer than this call
        self.pwritev([data], offset)

    def pwritev(self, pieces: list[memoryview], offset: int) -> None:
        with self._open.part():
            if offset == 0 and self._keep_first(pieces):
                return
            held = self._begin()
            if held is not None:
                self._send_part(held, 1)
            self._send_part(pieces, self._cut.number(offset))

    def stage(self, properties: Mapping[str, str]) -> bool:
        """An image without an mtime gets one: what `commit` tells is then all there is."""
        tags.check(properties)
        self._properties = {"mtime_ns": str(time.time_ns()), **properties}
        return self._target.tags

    def commit(self, size: int) -> ImageInfo | None:
        with self._open.publication(), self._target.publishing.hold(self._key):
            self._open.check_open()
            if not self._replace and self._is_taken():
                raise exceptions.Duplicate(image=self._key)
            self._client.note(self._key, absent=False)
            etag = self._complete() if self._upload else self._put(self._held or [])
        self._held = None
        return self._info(size, etag)

    def _is_taken(self) -> bool:
        """Not every server compares as it publishes; fewest do when they complete an upload."""
        if not self._upload and self._target.conditions and self._client.absent(self._key):
            return False
        return self._target.etag_of(self._key) is not None

    def _info(self, size: int, etag: str) -> ImageInfo | None:
        """What is there now, if the server told its ETag and kept our tags."""
        version = etag.strip('"')
        if not version or not self._properties:
            return None
        mtime_ns = mtime_property(self._properties, 0)
        self._target.mtimes.learn(self._key, version, mtime_ns)
        return ImageInfo(self._key, size, version, mtime_ns)

    def abort(self) -> None:
        """Ends the upload when its parts are through: one that arrives later would stay."""
        self._open.abort(self._drop, self._client.transport.settings.read_timeout)

    def _keep_first(self, pieces: Pieces) -> bool:
        """Is the first part kept until it is known what follows?"""
        with self._beginning:
            if not self._hold or self._upload:
                return False
            self._held = pieces
            return True

    def _begin(self) -> Pieces | None:
        """Begin the upload if that was not done; the first part for who did it."""
        with self._beginning:
            self._open.check_open()  # a late part would begin what nobody ends
            held, self._held = self._held, None
            if not self._upload:
                self._upload = begin(self._client, self._target.journal, self._key, _CONTENT_TYPE)
            return held

    def _send_part(self, pieces: Pieces, number: int) -> None:
        query: Query = {"partNumber": number, "uploadId": self._upload}
        reply = self._client.call("PUT", self._key, query, self._checksum(pieces), pieces)
        self._etags[number] = reply.headers.get("ETag", "")

    def _checksum(self, pieces: Pieces) -> dict[str, str]:
        if not self._target.checksums:
            return {}
        crc = 0
        for piece in pieces:
            crc = zlib.crc32(piece, crc)
        return {"x-amz-checksum-crc32": base64.b64encode(crc.to_bytes(4, "big")).decode()}

    def _put(self, pieces: Pieces) -> str:
        """All of it in one request, tags included; the ETag, empty if the tags are not kept."""

        def send(headers: Mapping[str, str]) -> str:
            said = {**_CONTENT_TYPE, **headers}
            reply = self._client.once("PUT", self._key, headers=said, body=pieces)
            return reply.headers.get("ETag", "")

        def etag() -> str:
            digest = hashlib.md5(usedforsecurity=False)
            for piece in pieces:
                digest.update(piece)
            return digest.hexdigest()

        headers = {**self._checksum(pieces), **self._content_md5()}
        try:
            return self._publish(send, {**headers, **self._tag_header()}, etag)
        except (exceptions.Forbidden, exceptions.StoreAddDisabled) as exc:
            if not self._tag_header():
                raise
            self._publish(send, headers, etag)
            return self._without_tags(exc)

    def _content_md5(self) -> dict[str, str]:
        """What a server compares before it shows an image: one cut off is refused by it."""
        md5 = self._properties.get("md5", "")
        if not _MD5.fullmatch(md5):
            return {}
        digest = bytes.fromhex(md5)
        return {"Content-MD5": base64.b64encode(digest).decode()}

    def _tag_header(self) -> dict[str, str]:
        if not self._properties or not self._target.tags:
            return {}
        return {"x-amz-tagging": tags.header(self._properties)}

    def _complete(self) -> str:
        """The ETag of the whole, empty if the tags are not kept."""
        body = completion([self._etags[number] for number in sorted(self._etags)])
        query = {"uploadId": self._upload}

        def send(headers: Mapping[str, str]) -> str:
            return _told_etag(self._client.once("POST", self._key, query, headers, body))

        etag = self._publish(send, {}, self._whole_etag)
        self._target.journal.ended(self._upload)
        return etag if self._tag() else ""

    def _whole_etag(self) -> str:
        """The ETag S3 gives the whole: the MD5 of the parts' MD5s."""
        parts = [self._etags[number].strip('"') for number in sorted(self._etags)]
        try:
            joined = b"".join(map(bytes.fromhex, parts))
        except ValueError:
            return ""
        return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"

    def _publish(
        self,
        send: Callable[[Mapping[str, str]], str],
        headers: Mapping[str, str],
        etag: Callable[[], str],
    ) -> str:
        """Send what publishes until it is certain whether it did; the ETag it has got.

        After an answer that got lost the next one may be that the name is taken,
        or the upload gone: by ourselves, if the object has our ETag.
        """
        attempts = Attempts(self._client.transport.settings.back_off)
        while True:
            try:
                return send({**headers, **self._condition()})
            except Interrupted as exc:
                attempts.failed(exc)
            except exceptions.StoreAddDisabled:
                if not self._condition():
                    raise
                self._target.conditions = False
            except (exceptions.Duplicate, exceptions.RemoteServiceUnavailable):
                if not attempts.failures:
                    raise
                ours = etag()
                if self._target.etag_of(self._key) != ours:
                    raise
                return ours

    def _condition(self) -> Mapping[str, str]:
        return {} if self._replace or not self._target.conditions else _IF_ABSENT

    def _tag(self) -> bool:
        """Set the tags of what was just completed; the image is not lost for them."""
        if not self._properties or not self._target.tags:
            return False
        try:
            tags.write_tags(self._client, self._key, tags.tags_of(self._properties))
        except exceptions.GlanceStoreException as exc:
            self._without_tags(exc)
            return False
        return True

    def _without_tags(self, exc: exceptions.GlanceStoreException) -> str:
        """Say that there are none; what is then known of the ETag: nothing."""
        if isinstance(exc, exceptions.StoreAddDisabled):
            self._target.tags = False
        LOG.warning(
            "%s is stored, but its hashes are not kept with it: %s; allow s3:PutObjectTagging",
            self._key,
            exc,
        )
        return ""

    def _drop(self) -> None:
        self._held = None
        if not self._upload:
            return
        try:
            abort(self._client, self._key, self._upload)
            self._target.journal.ended(self._upload)
        except exceptions.GlanceStoreException as exc:
            LOG.warning(
                "%s: what was uploaded stays until storefs starts again: %s", self._key, exc
            )


def _told_etag(reply: Reply) -> str:
    """The ETag of the whole, in the page that says it is complete; empty if it is not there."""
    try:
        return parsed(reply).findtext("ETag", "")
    except exceptions.RemoteServiceUnavailable:  # complete it is: the status says so
        return ""


_CONTENT_TYPE = {"Content-Type": "application/octet-stream"}
