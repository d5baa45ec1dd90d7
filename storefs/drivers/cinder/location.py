# SPDX-License-Identifier: Apache-2.0
"""``cinder://STORE/VOLUME-UUID``: where an image is in Cinder."""

import re
import urllib.parse
import uuid

from storefs import exceptions
from storefs.drivers.base import unquoted_image_id
from storefs.location import StoreLocation

PREFIX = "cinder://"

#: What Glance puts before an image's id in its volume's name.
NAME_PREFIX = "image-"

_STORE = re.compile(r"[^/?#\x00-\x20\x7f\ud800-\udfff]+")


class CinderLocation(StoreLocation):
    """*volume_id* is the volume's UUID, *image_id* whose volume is meant; one may be empty.

    What a store made up from a name alone, ``cinder://STORE/image-NAME``, learns
    the volume's UUID when the driver finds or publishes it: from then on the URI is
    the one Glance keeps. Glance's older ``cinder://VOLUME-UUID`` has no *store*.
    """

    store = ""
    volume_id = ""
    image_id = ""

    def process_specs(self) -> None:
        self.scheme = "cinder"
        self.store = self.specs.get("store", "")
        self.volume_id = self.specs.get("volume_id", "")
        self.image_id = self.specs.get("image_id", "")

    def get_uri(self) -> str:
        name = self.volume_id or NAME_PREFIX + urllib.parse.quote(self.image_id, safe="")
        return f"{PREFIX}{self.store}/{name}" if self.store else PREFIX + name

    def parse_uri(self, uri: str) -> None:
        self.validate_schemas(uri, (PREFIX,))
        store, _, name = uri.removeprefix(PREFIX).rpartition("/")
        if store and not _STORE.fullmatch(store):
            raise _bad("it is written cinder://store/volume-uuid")
        self.scheme, self.store = "cinder", store
        self.volume_id = name if _is_volume_id(name) else ""
        self.image_id = "" if self.volume_id else _image_id(name)


def _is_volume_id(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name.lower()
    except ValueError:
        return False


def _image_id(name: str) -> str:
    if not name.startswith(NAME_PREFIX):
        raise _bad("its last part is no volume's UUID")
    try:
        return unquoted_image_id(name.removeprefix(NAME_PREFIX))
    except exceptions.Invalid as exc:
        raise _bad("its last part cannot name an image") from exc


def _bad(reason: str) -> exceptions.BadStoreUri:
    return exceptions.BadStoreUri(f"The Cinder location of the image is malformed: {reason}")
