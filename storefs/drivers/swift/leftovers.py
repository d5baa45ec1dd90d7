# SPDX-License-Identifier: Apache-2.0
"""Segments that are not, or not any more, part of an image: noted, removed, found again."""

import json
import pathlib
from collections.abc import Sequence

from storefs import exceptions
from storefs.drivers.journal import Journal, Record
from storefs.drivers.swift.client import SwiftClient
from storefs.drivers.swift.credentials import Credentials
from storefs.drivers.swift.object import find_if_any
from storefs.drivers.swift.segments import (
    Place,
    new_upload,
    remove,
    segments_of,
    told,
    uploaded,
)


class Leftovers:
    """What would stay if storefs were killed now. Without a *directory* nobody notes it.

    *own* tells which account it is about, and who logs in there after a crash.
    """

    def __init__(
        self,
        client: SwiftClient,
        directory: pathlib.Path | None = None,
        own: Credentials | None = None,
    ) -> None:
        self._client = client
        self._journal = (
            None
            if directory is None or own is None
            else Journal(
                directory, "swift-segments", own.place, lambda record: undo(client, record)
            )
        )

    def begun(self, image: Place, upload: str) -> None:
        """Segments of *upload* are on their way; *image* may come to consist of them."""
        if self._journal is not None:
            self._journal.begun(upload, container=image.container, image=image.name, upload=upload)

    def ended(self, upload: str) -> None:
        """They are part of the image now, or removed."""
        if self._journal is not None:
            self._journal.ended(upload)

    def superfluous(self, image: Place, places: Sequence[Place]) -> str:
        """*image* will not consist of *places* any more: a name for `removed`."""
        name = new_upload() if places else ""
        if places and self._journal is not None:
            names = json.dumps(places)
            self._journal.begun(name, container=image.container, image=image.name, names=names)
        return name

    def removed(self, name: str, image: Place, places: Sequence[Place]) -> None:
        """Remove *places*, noted as *name*; what stays is in the log, and in the journal."""
        if not name or told(f"{image.name}, as it was", lambda: remove(self._client, places)):
            self.ended(name)

    def sweep_aside(self) -> None:
        """Remove what processes that are gone left; nobody waits for it."""
        if self._journal is not None:
            self._journal.sweep_aside()

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()


def undo(client: SwiftClient, record: Record) -> None:
    """Remove what *record* tells of, but for what the image consists of now."""
    image = Place(record["container"], record["image"])
    if "names" in record:
        places = [Place(*place) for place in json.loads(record["names"])]
    else:
        places = uploaded(client, *image, record["upload"])
    used = _used(client, image)
    remove(client, [place for place in places if place not in used])


def _used(client: SwiftClient, image: Place) -> set[Place]:
    """What *image* consists of; raises where that cannot be told."""
    found = find_if_any(client, *image)
    segments = segments_of(client, found) if found is not None else []
    if segments is None:
        raise exceptions.RemoteServiceUnavailable(
            f"it cannot be told which segments belong to {image.name} as it is now"
        )
    return {segment.place for segment in segments}
