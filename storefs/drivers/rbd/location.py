# SPDX-License-Identifier: Apache-2.0
"""``rbd://image`` and ``rbd://fsid/pool/image/snapshot``: where an image is in RBD."""

import re
import urllib.parse
from collections.abc import Callable

from storefs import exceptions
from storefs.drivers.base import check_image_id
from storefs.location import StoreLocation

SCHEME = "rbd"

#: The snapshot of a published image, as Glance, Nova and Cinder expect it.
SNAPSHOT = "snap"

_PREFIX = f"{SCHEME}://"

#: What ends a URI early, and surrogates: bytes that are no UTF-8.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")


class RbdLocation(StoreLocation):
    """*pool* and *fsid* are None where the URI does not name them: the store's own are meant."""

    pool: str | None = None
    image = ""
    snapshot = SNAPSHOT
    _fsid: Callable[[], str | None] | None = None
    _named_fsid: str | None = None

    @property
    def image_id(self) -> str:
        return self.image

    @property
    def fsid(self) -> str | None:
        """The cluster; of a location that was not parsed it is known once there is a connection."""
        return self._fsid() if self._fsid is not None else self._named_fsid

    def process_specs(self) -> None:
        self.scheme = SCHEME
        fsid = self.specs.get("fsid")
        if callable(fsid):
            self._fsid = fsid
        else:
            self._named_fsid = fsid
        self.pool = self.specs.get("pool")
        self.image = self.specs["image"]
        self.snapshot = self.specs.get("snapshot") or SNAPSHOT

    def get_uri(self) -> str:
        fsid = self.fsid
        if fsid is None or self.pool is None:
            return _PREFIX + _quoted(self.image)
        return _PREFIX + "/".join(map(_quoted, (fsid, self.pool, self.image, self.snapshot)))

    def parse_uri(self, uri: str) -> None:
        self.validate_schemas(uri, (_PREFIX,))
        rest = uri.removeprefix(_PREFIX)
        if _FORBIDDEN.search(rest):
            raise _bad("it holds blanks, control characters or no UTF-8")
        parts = [_unquoted(part) for part in rest.split("/")]
        if not all(parts) or len(parts) not in (1, 4):
            raise _bad("it is written rbd://image or rbd://fsid/pool/image/snapshot")
        self.scheme = SCHEME
        if len(parts) == 1:
            self.image = parts[0]
        else:
            self._named_fsid, self.pool, self.image, self.snapshot = parts
        try:
            check_image_id(self.image)
        except exceptions.Invalid as exc:
            raise _bad("its name cannot name an image") from exc


def _quoted(part: str) -> str:
    return urllib.parse.quote(part, safe="")


def _unquoted(part: str) -> str:
    try:
        return urllib.parse.unquote(part, errors="strict")
    except UnicodeDecodeError as exc:
        raise _bad("it holds bytes that are no UTF-8") from exc


def _bad(reason: str) -> exceptions.BadStoreUri:
    return exceptions.BadStoreUri(f"The RBD location of the image is malformed: {reason}")
