# SPDX-License-Identifier: Apache-2.0
"""What files in a datastore are called: images, the notes beside them, temporaries."""

import hashlib
import re
import urllib.parse
import uuid

from storefs import exceptions
from storefs.drivers.base import check_image_id

#: How everything begins that is not an image: temporaries, and the notes beside images.
HIDDEN = ".storefs-"

#: The longest name of a file, bytes of UTF-8.
_LONGEST = 255

#: How names begin that stand quoted in the datastore.
_QUOTED = ".%"

#: What does not get through a datastore path or XML as it is: blanks at the ends are
#: cut off there, control characters are not allowed here, a backslash parts folders
#: to some of vSphere's clients. Surrogates stand for bytes that are no UTF-8.
_ODD = re.compile(r"^\s|\s$|[\x00-\x1f\x7f-\x9f\\\u2028\u2029\ufffe\uffff]|^\.%")


def file_name(image_id: str) -> str:
    """The name of the image's file; `Invalid`. Usually the same."""
    check_image_id(image_id)
    if image_id.startswith(HIDDEN):
        raise exceptions.Invalid(f"{image_id!r}: names that begin with {HIDDEN} are temporaries")
    try:
        odd = _ODD.search(image_id) is not None
        name = _QUOTED + urllib.parse.quote(image_id, safe="") if odd else image_id
        length = len(name.encode())
    except UnicodeEncodeError as exc:
        raise exceptions.Invalid(f"{image_id!r} is no UTF-8, as names on vSphere are") from exc
    if length > _LONGEST:
        raise exceptions.Invalid(f"Names of files on vSphere have {_LONGEST} bytes at most")
    return name


def image_of(name: str) -> str | None:
    """The image whose file is called *name*; None if that is no image's."""
    quoted = name.startswith(_QUOTED)
    image_id = urllib.parse.unquote(name.removeprefix(_QUOTED)) if quoted else name
    try:
        return image_id if file_name(image_id) == name else None
    except exceptions.Invalid:
        return None


def note_name(name: str) -> str:
    """Where the properties of the image in file *name* are kept."""
    note = f"{HIDDEN}{name}.json"
    if len(note.encode()) <= _LONGEST:
        return note
    return f"{HIDDEN}{hashlib.sha256(name.encode()).hexdigest()}.json"


def temporary_name() -> str:
    """One nobody has, for what is on its way."""
    return f"{HIDDEN}{uuid.uuid4().hex}.tmp"
