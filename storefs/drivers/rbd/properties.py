# SPDX-License-Identifier: Apache-2.0
"""Hashes and mtime as RBD image metadata (``rbd image-meta list``): ``storefs.NAME``.

A clone inherits the metadata of its parent, though its bytes will be others. So the
metadata names the image it is about, and what names another one does not count.
"""

from collections.abc import Mapping
from typing import Any

from storefs import exceptions
from storefs.drivers.base import mtime_property
from storefs.drivers.rbd.header import Header

_PREFIX = "storefs."

#: Which image the others are about.
_SUBJECT = _PREFIX + "image"


def check(properties: Mapping[str, str]) -> None:
    """Raise `Invalid` for what cannot be kept."""
    mtime_property(properties, 0)
    if "image" in properties:
        raise exceptions.Invalid("'image' is the rbd driver's own property")


def properties_of(header: Header) -> dict[str, str]:
    """What was kept with this very image."""
    if header.metadata.get(_SUBJECT) != header.image_id:
        return {}
    return {
        name.removeprefix(_PREFIX): value
        for name, value in header.metadata.items()
        if name.startswith(_PREFIX) and name != _SUBJECT
    }


def mtime_ns(header: Header) -> int:
    """The mtime it was given, else when its bytes were last changed."""
    try:
        return mtime_property(properties_of(header), header.modified_ns)
    except exceptions.Invalid:
        return header.modified_ns


def write(
    image: Any, image_id: str, kept: Mapping[str, str], properties: Mapping[str, str]
) -> None:
    """Merge *properties* into *kept*, the metadata of *image*, which is open for writing.

    What was inherited goes first, the name of the subject comes before what is said
    of it: whenever this ends in between, nothing wrong is said.
    """
    if kept.get(_SUBJECT) != image_id:
        for name in (name for name in kept if name.startswith(_PREFIX)):
            image.metadata_remove(name)
        image.metadata_set(_SUBJECT, image_id)
    for name, value in properties.items():
        image.metadata_set(_PREFIX + name, value)
