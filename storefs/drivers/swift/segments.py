# SPDX-License-Identifier: Apache-2.0
"""The segments of large objects: their names, their manifest, their removal.

Ours are in the image's own container, as Glance's are, so that its ACL and quota
are theirs: ``.segments/IMAGE/UPLOAD/OFFSET``. No image has a ``/`` in its name.
"""

import contextlib
import json
import logging
import urllib.parse
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from storefs import exceptions
from storefs.drivers.swift import metadata
from storefs.drivers.swift.client import SwiftClient, json_of
from storefs.drivers.swift.object import SwiftObject

LOG = logging.getLogger(__name__)

#: How many names one request deletes: Swift's limit is 10,000, and its time-out is ours.
_AT_ONCE = 500

#: How many objects are deleted at once where the server cannot do it in bulk.
_LANES = 8


#: What the row of a manifest has that is not just a whole object.
_UNUSUAL = {"sub_slo", "range", "data"}


class Place(NamedTuple):
    """A container and the name of an object in it."""

    container: str
    name: str

    @property
    def path(self) -> str:
        return f"/{self.container}/{self.name}"


class Segment(NamedTuple):
    """*etag* is the MD5 in hex, *size* in bytes."""

    place: Place
    etag: str
    size: int


def new_upload() -> str:
    """A name no other upload has."""
    return uuid.uuid4().hex


def prefix_of(image: str, upload: str) -> str:
    """What the names of the segments of *upload* begin with."""
    return f".segments/{image}/{upload}/"


def manifest_of(segments: Iterable[Segment]) -> bytes:
    """The body that makes one image of *segments*; the server compares MD5s and sizes."""
    rows = [
        {"path": place.path, "etag": etag, "size_bytes": size} for place, etag, size in segments
    ]
    return json.dumps(rows).encode()


def segments_of(client: SwiftClient, found: SwiftObject) -> list[Segment] | None:
    """The segments of *found*, in order; none of a plain object.

    None if the server does not tell: Ceph shows no manifest, and another one may
    consist of manifests. Ours are found by their names.
    """
    if found.manifest:
        return list(_dynamic(client, found.manifest))
    if not found.static:
        return []
    query = {"multipart-manifest": "get"}
    rows = json_of(client.call("GET", found.container, found.name, query))
    if any(_UNUSUAL & row.keys() for row in rows):
        return None
    if rows:
        return [_segment(row) for row in rows]
    upload = metadata.upload_of(found.headers)
    ours = Place(found.container, prefix_of(found.name, upload))
    return (upload and list(_listed(client, ours))) or None


def _segment(row: Mapping[str, object]) -> Segment:
    _, container, name = str(row["name"]).split("/", 2)
    return Segment(Place(container, name), str(row["hash"]), int(str(row["bytes"])))


def _dynamic(client: SwiftClient, manifest: str) -> Iterator[Segment]:
    container, _, prefix = urllib.parse.unquote(manifest).lstrip("/").partition("/")
    return _listed(client, Place(container, prefix))


def _listed(client: SwiftClient, place: Place) -> Iterator[Segment]:
    """All whose names begin as *place* does; none where the container is gone."""
    try:
        for entry in client.entries(place.container, prefix=place.name):
            named = Place(place.container, entry["name"])
            yield Segment(named, entry.get("hash", ""), int(entry.get("bytes", 0)))
    except exceptions.NotFound:
        return


def is_segment(name: str, prefix: str) -> bool:
    """Does *name* belong to the Dynamic Large Object of *prefix*?

    Every name that begins so is read as a part of it; but where no ``/`` ends the
    prefix, as in Glance's ``IMAGE-``, another image's name may. Only numbers count.
    """
    rest = name.removeprefix(prefix)
    return name.startswith(prefix) and (prefix.endswith("/") or rest.isdecimal())


def removable(found: SwiftObject, segments: Sequence[Segment]) -> list[Place]:
    """Those that go when *found* goes."""
    if not found.manifest:
        return [segment.place for segment in segments]
    prefix = urllib.parse.unquote(found.manifest).lstrip("/").partition("/")[2]
    return [s.place for s in segments if is_segment(s.place.name, prefix)]


def uploaded(client: SwiftClient, container: str, image: str, upload: str) -> list[Place]:
    """What is there of *upload*."""
    return [s.place for s in _listed(client, Place(container, prefix_of(image, upload)))]


def remove(client: SwiftClient, places: Sequence[Place]) -> None:
    """Delete *places*; what is gone already is right. Raises the first error there was."""
    for start in range(0, len(places), _AT_ONCE):
        _remove(client, places[start : start + _AT_ONCE])


def _remove(client: SwiftClient, places: Sequence[Place]) -> None:
    body = "".join(f"{urllib.parse.quote(place.path)}\n" for place in places)
    headers = {"Content-Type": "text/plain", "Accept": "application/json"}
    try:
        reply = client.call("POST", "", "", {"bulk-delete": "1"}, headers, body.encode())
        report = json_of(reply) if reply.body else None
    except (exceptions.Forbidden, exceptions.Invalid, exceptions.NotFound):
        report = None  # the account's own URL is not for everybody
    if not isinstance(report, dict) or "Number Deleted" not in report:
        _remove_singly(client, places)
    else:
        check_report(report)


def check_report(report: Mapping[str, object]) -> None:
    """Raise what a bulk deletion says went wrong; it is answered 200 before it begins."""
    failed = report.get("Errors")
    status = str(report.get("Response Status", ""))
    if failed or not status.startswith(("200", "404")):
        raise exceptions.RemoteServiceUnavailable(
            f"The server deleted {report.get('Number Deleted')} segments, and then said "
            f"{status}: {failed or report.get('Response Body')}"
        )


def _remove_singly(client: SwiftClient, places: Sequence[Place]) -> None:
    with ThreadPoolExecutor(_LANES) as pool:
        for _ in pool.map(lambda place: _delete(client, place), places):
            pass


def _delete(client: SwiftClient, place: Place) -> None:
    with contextlib.suppress(exceptions.NotFound):
        client.call("DELETE", *place)


def told(what: str, remove_them: Callable[[], None]) -> bool:
    """Do *remove_them*; False, and it is in the log, if that failed."""
    try:
        remove_them()
    except exceptions.GlanceStoreException as exc:
        LOG.warning("%s: segments stay until storefs starts again: %s", what, exc)
        return False
    return True
