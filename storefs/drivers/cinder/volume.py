# SPDX-License-Identifier: Apache-2.0
"""A volume as an image: which are, what they tell, and what is written to publish one.

A volume is an image of Glance's by its metadata ``glance_image_id``, or, where there is
none, by its name ``image-<id>``. Cinder strips names; metadata it keeps as they are.
"""

import calendar
import contextlib
import dataclasses
import time
from collections.abc import Iterable, Mapping
from typing import Any

from storefs import exceptions
from storefs.drivers.base import ImageInfo, mtime_property
from storefs.drivers.cinder.location import NAME_PREFIX

GiB = 1024**3

#: Glance's keys. `SIZE` is the truth: a volume is whole GiB.
IMAGE_ID, SIZE, OWNER = "glance_image_id", "image_size", "image_owner"

#: What Cinder itself shows among the metadata; it cannot be written there.
_CINDERS = {"readonly", "attached_mode"}

#: Ours: the properties, when it was published (nanoseconds), and whose upload it is.
PROPERTY, PUBLISHED, UPLOAD = "storefs_", "storefs_published", "storefs_upload"

#: What volumes of ours that are no image (yet, or any more) are called.
UPLOAD_NAME = "storefs-upload-"

#: The longest value of Cinder's metadata, characters.
_LONGEST = 255

#: In these a volume cannot be read.
_UNREADABLE = {
    "creating",
    "downloading",
    "deleting",
    "error",
    "error_deleting",
    "error_managing",
    "managing",
    "restoring-backup",
    "error_restoring",
    "unmanaging",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Volume:
    """What Cinder tells of a volume; *gib* is its size, *created_ns* counts from the epoch.

    *kind* is the name of its volume type.
    """

    id: str
    name: str
    status: str
    gib: int
    metadata: Mapping[str, str]
    created_ns: int
    multiattach: bool = False
    encrypted: bool = False
    kind: str = ""

    @classmethod
    def of(cls, resource: Any) -> "Volume":
        """From cinderclient's."""
        told = resource.to_dict()
        return cls(
            told["id"],
            told.get("name") or "",
            told["status"],
            int(told["size"]),
            told.get("metadata") or {},
            _nanoseconds(told.get("created_at") or ""),
            bool(told.get("multiattach")),
            bool(told.get("encrypted")),
            told.get("volume_type") or "",
        )

    @property
    def image_id(self) -> str:
        """Whose volume it is; its own id if it does not say."""
        named = self.name.removeprefix(NAME_PREFIX) if self.name.startswith(NAME_PREFIX) else ""
        return self.metadata.get(IMAGE_ID) or named or self.id

    @property
    def upload(self) -> bool:
        """Is it one of ours that is no image (yet, or any more)?"""
        return UPLOAD in self.metadata or self.name.startswith(UPLOAD_NAME)

    @property
    def readable(self) -> bool:
        return self.status not in _UNREADABLE and not self.upload

    @property
    def published(self) -> bool:
        """Is it an image, and whole?

        Glance sets the read-only flag last of all. An image that Cinder made of
        another volume has neither that nor a size.
        """
        named = IMAGE_ID in self.metadata or self.name.startswith(NAME_PREFIX)
        whole = self.metadata.get("readonly", "").lower() == "true" or (
            SIZE not in self.metadata and IMAGE_ID in self.metadata
        )
        return named and whole and self.readable

    @property
    def size(self) -> int:
        """The image's, in bytes."""
        with contextlib.suppress(KeyError, ValueError):
            return int(self.metadata[SIZE])
        return self.gib * GiB

    @property
    def rank(self) -> tuple[int, str]:
        """Of several volumes of one image the one of the highest rank counts: the last."""
        published = self.metadata.get(PUBLISHED, "")
        return int(published) if published.isdecimal() else self.created_ns, self.id

    @property
    def info(self) -> ImageInfo:
        """A published volume is read-only, and a replaced image is another volume."""
        mtime_ns = self.rank[0]
        with contextlib.suppress(exceptions.Invalid):
            mtime_ns = mtime_property(self.properties, mtime_ns)
        return ImageInfo(self.image_id, self.size, self.id, mtime_ns)

    @property
    def properties(self) -> dict[str, str]:
        """Those of `SupportsProperties`."""
        return {
            name.removeprefix(PROPERTY): value
            for name, value in self.metadata.items()
            if name.startswith(PROPERTY) and name not in {PUBLISHED, UPLOAD}
        }

    @property
    def kept(self) -> dict[str, str]:
        """The metadata a PUT, which replaces all of them, has to repeat."""
        return {name: value for name, value in self.metadata.items() if name not in _CINDERS}


def newest(volumes: Iterable[Volume]) -> Volume | None:
    """The one that counts."""
    return max(volumes, key=lambda volume: volume.rank, default=None)


def metadata_of(properties: Mapping[str, str]) -> dict[str, str]:
    """The form in which Cinder keeps *properties*; `Invalid`."""
    mtime_property(properties, 0)
    for name, value in properties.items():
        if len(PROPERTY + name) > _LONGEST or len(value) > _LONGEST:
            raise exceptions.Invalid(f"{name} is too long: Cinder keeps {_LONGEST} characters")
    return {PROPERTY + name: value for name, value in properties.items()}


def gib_of(size: int) -> int:
    """The smallest volume that holds *size* bytes."""
    return max(1, -(-size // GiB))


def _nanoseconds(created_at: str) -> int:
    """Cinder's times are UTC without saying so: ``2026-11-21T06:12:05.895573``."""
    whole, _, fraction = created_at.rstrip("Z").partition(".")
    try:
        seconds = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))
        return seconds * 10**9 + int(fraction[:9].ljust(9, "0") or 0)
    except ValueError:
        return 0
