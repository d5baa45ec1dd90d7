# SPDX-License-Identifier: Apache-2.0
"""An image on its way into a bucket: one PUT if it is short, else a multipart upload.

Neither shows before it is complete. The first part is held back until a second
one comes: only then it is known that there is need of more than one request.
"""

import base64
import contextlib
import hashlib
import logging
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping

from storefs import exceptions
from storefs.drivers import s3_tags
from storefs.drivers.base import Buffer, Writer
from storefs.drivers.http_answer import Attempts, Interrupted
from storefs.drivers.s3_client import Query, S3Client
from storefs.drivers.s3_parts import Cut
from storefs.drivers.s3_uploads import UploadJournal, abort, completion, upload_id

LOG = logging.getLogger(__name__)

_IF_ABSENT = {"If-None-Match": "*"}


class S3Target:
    """What writers of one store share: the bucket, and who publishes what just now.

    *checksums*: send each request's CRC32 along. *etag_of* gives the ETag a key has
    now, or None.
    """

    def __init__(
        self,
        client: S3Client,
        journal: UploadJournal,
        etag_of: Callable[[str], str | None],
        *,
        checksums: bool = False,
    ) -> None:
        self.client = client
        self.journal = journal
        self.etag_of = etag_of
        self.checksums = checksums
        #: does the server keep tags, and does it know If-None-Match? Until it says no
        self.tags = True
        self.conditions = True
        #: key -> its lock, and how many hold it or wait for it
        self._publishing: dict[str, tuple[threading.Lock, int]] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def publishing(self, key: str) -> Iterator[None]:
        """One of our own writers at a time: not every server compares when it completes."""
        with self._lock:
            lock, waiting = self._publishing.get(key, (threading.Lock(), 0))
            self._publishing[key] = lock, waiting + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, waiting = self._publishing.pop(key)
                if waiting > 1:
                    self._publishing[key] = lock, waiting - 1


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
        self._held: bytes | None = None
        self._upload = ""
        self._etags: dict[int, str] = {}
        self._properties: Mapping[str, str] = {}
        self._changed = threading.Condition()
        self._beginning = threading.Lock()
        self._under_way = 0
        self._ended = False

    def part_size(self, offset: int) -> int:
        return self._cut.part_size(offset)

    def pwrite(self, data: memoryview, offset: int) -> None:
        with self._part_under_way():
            if offset == 0 and self._keep_first(data):
                return
            held = self._begin()
            if held is not None:
                self._send_part(memoryview(held), 1)
            self._send_part(data, self._cut.number(offset))

    def stage(self, properties: Mapping[str, str]) -> bool:
        s3_tags.check(properties)
        self._properties = dict(properties)
        return self._target.tags

    def commit(self, size: int) -> None:
        with self._changed:
            self._check_open()
        with self._target.publishing(self._key):
            if not self._replace and self._target.etag_of(self._key) is not None:
                raise exceptions.Duplicate(image=self._key)
            if self._held and not self._hold:
                self._begin()
            if self._upload:
                self._complete()
            else:
                self._put(self._held or b"")
        with self._changed:
            self._ended, self._upload, self._held = True, "", None

    def abort(self) -> None:
        """Ends the upload when its parts are through: one that arrives later would stay."""
        with self._changed:
            self._ended, self._held = True, None
            patience = self._client.transport.settings.read_timeout
            self._changed.wait_for(lambda: not self._under_way, patience)
        self._drop_upload()

    @contextlib.contextmanager
    def _part_under_way(self) -> Iterator[None]:
        with self._changed:
            self._check_open()
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()
                late = self._ended and not self._under_way
            if late:
                self._drop_upload()

    def _check_open(self) -> None:
        if self._ended:
            raise exceptions.BackendException(f"The upload of {self._key} has ended")

    def _keep_first(self, data: memoryview) -> bool:
        """Is the first part kept until it is known what follows?"""
        with self._beginning:
            if not self._hold or self._upload:
                return False
            self._held = bytes(data)
            return True

    def _begin(self) -> bytes | None:
        """Begin the upload if that was not done; the first part for who did it."""
        with self._beginning:
            held, self._held = self._held, None
            if not self._upload:
                reply = self._client.call("POST", self._key, {"uploads": ""}, _CONTENT_TYPE)
                self._upload = upload_id(reply)
                self._target.journal.begun(self._key, self._upload)
            return held

    def _send_part(self, data: memoryview, number: int) -> None:
        query: Query = {"partNumber": number, "uploadId": self._upload}
        reply = self._client.call("PUT", self._key, query, self._checksum(data), data)
        self._etags[number] = reply.headers.get("ETag", "")

    def _checksum(self, data: Buffer) -> dict[str, str]:
        if not self._target.checksums:
            return {}
        crc = zlib.crc32(data).to_bytes(4, "big")
        return {"x-amz-checksum-crc32": base64.b64encode(crc).decode()}

    def _put(self, data: bytes) -> None:
        """All of it in one request, tags included."""

        def send(headers: Mapping[str, str]) -> None:
            self._client.once(
                "PUT", self._key, headers={**_CONTENT_TYPE, **headers}, body=memoryview(data)
            )

        def etag() -> str:
            return hashlib.md5(data, usedforsecurity=False).hexdigest()

        headers = self._checksum(data)
        try:
            self._publish(send, {**headers, **self._tag_header()}, etag)
        except (exceptions.Forbidden, exceptions.StoreAddDisabled) as exc:
            if not self._tag_header():
                raise
            self._publish(send, headers, etag)
            self._without_tags(exc)

    def _tag_header(self) -> dict[str, str]:
        if not self._properties or not self._target.tags:
            return {}
        return {"x-amz-tagging": s3_tags.header(self._properties)}

    def _complete(self) -> None:
        body = completion([self._etags[number] for number in sorted(self._etags)])
        query = {"uploadId": self._upload}

        def send(headers: Mapping[str, str]) -> None:
            self._client.once("POST", self._key, query, headers, body)

        self._publish(send, {}, self._whole_etag)
        self._target.journal.ended(self._upload)
        self._tag()

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
        send: Callable[[Mapping[str, str]], None],
        headers: Mapping[str, str],
        etag: Callable[[], str],
    ) -> None:
        """Send what publishes until it is certain whether it did.

        After an answer that got lost the next one may be that the name is taken,
        or the upload gone: by ourselves, if the object has our ETag.
        """
        attempts = Attempts(self._client.transport.settings.back_off)
        while True:
            try:
                send({**headers, **self._condition()})
                return
            except Interrupted as exc:
                attempts.failed(exc)
            except exceptions.StoreAddDisabled:
                if not self._condition():
                    raise
                self._target.conditions = False
            except (exceptions.Duplicate, exceptions.RemoteServiceUnavailable):
                if not attempts.failures or self._target.etag_of(self._key) != etag():
                    raise
                return

    def _condition(self) -> Mapping[str, str]:
        return {} if self._replace or not self._target.conditions else _IF_ABSENT

    def _tag(self) -> None:
        """Set the tags of what was just completed; the image is not lost for them."""
        if not self._properties or not self._target.tags:
            return
        try:
            s3_tags.write_tags(self._client, self._key, s3_tags.tags_of(self._properties))
        except exceptions.GlanceStoreException as exc:
            self._without_tags(exc)

    def _without_tags(self, exc: exceptions.GlanceStoreException) -> None:
        if isinstance(exc, exceptions.StoreAddDisabled):
            self._target.tags = False
        LOG.warning(
            "%s is stored, but its hashes are not kept with it: %s; allow s3:PutObjectTagging",
            self._key,
            exc,
        )

    def _drop_upload(self) -> None:
        with self._beginning:
            upload, self._upload = self._upload, ""
        if not upload:
            return
        try:
            abort(self._client, self._key, upload)
            self._target.journal.ended(upload)
        except exceptions.GlanceStoreException as exc:
            LOG.warning(
                "%s: what was uploaded stays until storefs starts again: %s", self._key, exc
            )


_CONTENT_TYPE = {"Content-Type": "application/octet-stream"}
