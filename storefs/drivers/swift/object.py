# SPDX-License-Identifier: Apache-2.0
"""One object as a HEAD shows it: plain, or large in one of Swift's two ways."""

import dataclasses
import email.utils
from collections.abc import Callable, Mapping

from storefs import exceptions
from storefs.drivers.base import ImageInfo
from storefs.drivers.ranged_http import RangedHttp, Validators
from storefs.drivers.swift import metadata as swift_metadata
from storefs.drivers.swift.client import SwiftClient


@dataclasses.dataclass(frozen=True)
class SwiftObject:
    """*container* and *name* as unquoted, *headers* as the server sent them."""

    container: str
    name: str
    headers: Mapping[str, str] = dataclasses.field(repr=False)

    @property
    def etag(self) -> str:
        """As in the header; those of large objects have quotes around them."""
        return self.headers.get("ETag", "")

    @property
    def version(self) -> str:
        """The ETag: the MD5 of the bytes, or of the segments' MD5s.

        Large objects of more segments than one listing holds have none; the
        timestamp stands in, which also changes with the metadata.
        """
        return self.etag.strip('"') or self.headers.get("X-Timestamp", "")

    @property
    def size(self) -> int:
        return int(self.headers.get("Content-Length", "0"))

    @property
    def static(self) -> bool:
        """Is it a Static Large Object: a manifest with names, MD5s and sizes?"""
        return self.headers.get("X-Static-Large-Object", "").lower() == "true"

    @property
    def manifest(self) -> str:
        """Where the segments of a Dynamic Large Object are, quoted; empty for others."""
        return self.headers.get("X-Object-Manifest", "")

    @property
    def mtime_ns(self) -> int:
        given = swift_metadata.given_mtime(self.headers)
        return self.stored_ns if given is None else given

    @property
    def stored_ns(self) -> int:
        """When it was stored, or its metadata were; Last-Modified has whole seconds only."""
        stamp = swift_metadata.nanoseconds(self.headers.get("X-Timestamp", ""))
        if stamp is not None:
            return stamp
        try:
            date = email.utils.parsedate_to_datetime(self.headers.get("Last-Modified", ""))
        except ValueError:
            return 0
        return int(date.timestamp()) * 10**9

    @property
    def info(self) -> ImageInfo:
        return ImageInfo(self.name, self.size, self.version, self.mtime_ns)


def find(client: SwiftClient, container: str, name: str) -> SwiftObject:
    """What is there under *name*, by one HEAD; `NotFound`."""
    reply = client.call("HEAD", container, name)
    return SwiftObject(container, name, reply.headers)


def find_if_any(client: SwiftClient, container: str, name: str) -> SwiftObject | None:
    """The same; None if there is nothing."""
    try:
        return find(client, container, name)
    except exceptions.NotFound:
        return None


class SwiftReader(RangedHttp):
    """One version of an object. Every answer tells which one it is of.

    *done* is called by `close`.
    """

    CONDITION = "If-Match"

    def __init__(
        self, client: SwiftClient, found: SwiftObject, connections: int, done: Callable[[], None]
    ) -> None:
        date = found.headers.get("Last-Modified", "")
        pinned = Validators(found.etag, "" if found.etag else date, found.size)
        origin = client.origin(found.container, found.name)
        super().__init__(client.transport, origin, found.info, pinned)
        self.max_concurrency = connections
        self._done = done
        self._plain = not found.static and not found.manifest

    def close(self) -> None:
        super().close()
        self._done()

    def _condition(self) -> Mapping[str, str]:
        """Of plain objects alone: Ceph compares a manifest's own ETag, which it does not tell."""
        if not self._plain or not self._pinned.etag:
            return {}
        return {self.CONDITION: self._pinned.etag}
