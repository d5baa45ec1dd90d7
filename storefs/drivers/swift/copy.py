# SPDX-License-Identifier: Apache-2.0
"""Copies a server makes itself, object by object, with no byte of them passing here.

A large object is copied segment by segment: asked for as a whole Swift makes one
object of it, which may be too long, and Ceph a second manifest of the same segments.
"""

import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from storefs import exceptions
from storefs.drivers.swift import metadata
from storefs.drivers.swift.client import SwiftClient
from storefs.drivers.swift.cut import MAX_SEGMENTS
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
)

#: How many segments the server copies at once.
_LANES = 4


def copy_image(
    client: SwiftClient, leftovers: Leftovers, source: SwiftObject, target: Place
) -> None:
    """Make *target* what *source* is, metadata included; published as a whole."""
    old = find_if_any(client, *target)
    superfluous = removable(old, segments_of(client, old) or []) if old is not None else []
    segments = segments_of(client, source)
    if segments is None or len(segments) > MAX_SEGMENTS:
        raise exceptions.BackendException(
            f"{source.name} cannot be copied by the server, which does not tell its segments: "
            "read it and add it"
        )
    noted = leftovers.superfluous(target, superfluous)
    if not segments and not source.static and not source.manifest:
        client.call("PUT", *target, headers=_from(Place(source.container, source.name)), body=b"")
    else:
        _copy_segments(client, leftovers, source, segments, target)
    leftovers.removed(noted, target, superfluous)


def _copy_segments(
    client: SwiftClient,
    leftovers: Leftovers,
    source: SwiftObject,
    segments: list[Segment],
    target: Place,
) -> None:
    upload = new_upload()
    prefix = prefix_of(target.name, upload)
    names = {place: f"{prefix}{n:016}" for n, place in enumerate({s.place: 0 for s in segments})}
    leftovers.begun(target, upload)
    copies = [Segment(Place(target.container, names[s.place]), *s[1:]) for s in segments]

    def copy_segment(place: Place) -> None:
        client.call("PUT", target.container, names[place], headers=_from(place), body=b"")

    try:
        with ThreadPoolExecutor(_LANES) as pool:
            list(pool.map(copy_segment, names))
        kept = metadata.properties_of(source.headers)
        headers = metadata.headers_of(kept, upload)
        headers["content-type"] = source.headers.get("Content-Type", "application/octet-stream")
        query = {"multipart-manifest": "put"}
        client.call("PUT", *target, query, headers, manifest_of(copies))
    except (exceptions.RemoteServiceUnavailable, exceptions.TimeoutError):
        raise  # it may be published; the next start finds out, and removes what is not
    except BaseException:
        remove(client, [Place(target.container, name) for name in names.values()])
        leftovers.ended(upload)
        raise
    leftovers.ended(upload)


def _from(place: Place) -> dict[str, str]:
    return {"X-Copy-From": urllib.parse.quote(place.path)}
