# SPDX-License-Identifier: Apache-2.0
"""An image's properties as metadata of its object, so that every host and program sees them.

The mtime is kept where the `swift` command and rclone keep theirs:
``X-Object-Meta-Mtime``, seconds since the epoch with a fraction.
"""

import decimal
import re
from collections.abc import Mapping

from storefs import exceptions
from storefs.drivers.base import mtime_property

_META = "x-object-meta-"

#: Ours begin so: others use metadata, too.
_OURS = f"{_META}storefs-"

_MTIME = f"{_META}mtime"

#: Which upload the segments belong to: names the place they are in.
_UPLOAD = f"{_OURS}upload"

#: What a POST takes away unless it is sent along (docs.openstack.org, "Create or update
#: object metadata"); without X-Object-Manifest a large object would be an empty one.
_KEPT = (
    "content-type",
    "content-encoding",
    "content-disposition",
    "x-delete-at",
    "x-object-manifest",
)

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

#: The longest value Swift keeps, bytes (max_meta_value_length).
_LONGEST_VALUE = 256

_NANO = 10**9


def headers_of(properties: Mapping[str, str], upload: str = "") -> dict[str, str]:
    """The headers that keep *properties*, and the name of the upload; `Invalid`."""
    headers = {_UPLOAD: upload} if upload else {}
    for name, value in properties.items():
        if name == "mtime_ns":
            headers[_MTIME] = _seconds(mtime_property(properties, 0))
        else:
            _check(name, value)
            headers[_OURS + name.replace("_", "-")] = value
    return headers


def properties_of(headers: Mapping[str, str]) -> dict[str, str]:
    """What of an object's *headers* is ours, and the mtime, whoever gave it."""
    found = {
        name.lower().removeprefix(_OURS).replace("-", "_"): value
        for name, value in headers.items()
        if name.lower().startswith(_OURS) and name.lower() != _UPLOAD
    }
    mtime_ns = given_mtime(headers)
    return found if mtime_ns is None else {**found, "mtime_ns": str(mtime_ns)}


def merged(headers: Mapping[str, str], properties: Mapping[str, str]) -> dict[str, str]:
    """What to POST to add *properties* to the metadata that *headers* show; `Invalid`."""
    before = {
        name.lower(): value
        for name, value in headers.items()
        if name.lower().startswith(_META) or name.lower() in _KEPT
    }
    return {**before, **headers_of(properties)}


def upload_of(headers: Mapping[str, str]) -> str:
    """Which of our uploads the object came by; empty if by none."""
    return headers.get(_UPLOAD, "")


def given_mtime(headers: Mapping[str, str]) -> int | None:
    """The mtime the object was given, in nanoseconds; None without."""
    return nanoseconds(headers.get(_MTIME, ""))


def nanoseconds(text: str) -> int | None:
    """Seconds with a fraction, in nanoseconds; None for anything else."""
    try:
        return int(decimal.Decimal(text) * _NANO)
    except (ArithmeticError, ValueError):
        return None


def _seconds(mtime_ns: int) -> str:
    sign = "-" if mtime_ns < 0 else ""
    return f"{sign}{abs(mtime_ns) // _NANO}.{abs(mtime_ns) % _NANO:09}"


def _check(name: str, value: str) -> None:
    fits = value.isascii() and value.isprintable() and len(value) <= _LONGEST_VALUE
    if not _NAME.fullmatch(name) or not fits or value != value.strip():
        raise exceptions.Invalid(
            f"{name} cannot be kept: Swift's metadata are {_LONGEST_VALUE} printable ASCII "
            "characters, under names of lower-case letters, digits and _"
        )
