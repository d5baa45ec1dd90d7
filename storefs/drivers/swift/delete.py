# SPDX-License-Identifier: Apache-2.0
"""Deleting an image with everything it consists of: the image first, then its segments."""

import logging

from storefs import exceptions
from storefs.drivers.swift.client import SwiftClient, json_of
from storefs.drivers.swift.leftovers import Leftovers
from storefs.drivers.swift.object import SwiftObject
from storefs.drivers.swift.segments import Place, check_report, removable, segments_of

LOG = logging.getLogger(__name__)


def delete_image(client: SwiftClient, leftovers: Leftovers, found: SwiftObject) -> None:
    """It is gone at once; segments that could not be removed are in the log and the journal."""
    segments = segments_of(client, found)
    if segments is None:
        _delete_by_manifest(client, found)
        return
    image = Place(found.container, found.name)
    places = removable(found, segments)
    noted = leftovers.superfluous(image, sorted(set(places)))
    client.call("DELETE", *image)
    leftovers.removed(noted, image, sorted(set(places)))
    if len(places) < len(segments):
        LOG.warning(
            "%s: %d objects that its manifest reads, too, stay: their names may be those of "
            "other images",
            found.name,
            len(segments) - len(places),
        )


def _delete_by_manifest(client: SwiftClient, found: SwiftObject) -> None:
    """The server knows what it consists of, and deletes it segment by segment."""
    headers = {"Accept": "application/json"}
    query = {"multipart-manifest": "delete"}
    reply = client.call("DELETE", found.container, found.name, query, headers)
    report = json_of(reply)
    if isinstance(report, dict):
        check_report(report)
    elif reply.status != 204:
        raise exceptions.RemoteServiceUnavailable(
            f"It is not certain that the segments of {found.name} were deleted"
        )
