# SPDX-License-Identifier: Apache-2.0
"""An image's properties: a small JSON file beside it, good for one version of the image."""

import contextlib
import json
from collections.abc import Mapping

from storefs import exceptions
from storefs.drivers.base import mtime_property
from storefs.drivers.vmware.folder import File, Folder
from storefs.drivers.vmware.names import note_name

Properties = Mapping[str, str]


def encoded(file: File, properties: Properties) -> bytes:
    """The note that goes with *file*."""
    return json.dumps({"version": file.version, "properties": dict(properties)}, indent=1).encode()


def read(folder: Folder, name: str, file: File) -> dict[str, str]:
    """The properties of *file*, called *name*; none if the note is of another version."""
    try:
        note = json.loads(folder.get(note_name(name)))
        if note["version"] == file.version:
            return {str(key): str(value) for key, value in note["properties"].items()}
    except (exceptions.NotFound, ValueError, TypeError, LookupError, AttributeError):
        pass
    return {}


def mtime_ns(folder: Folder, name: str, file: File) -> int:
    """The mtime the image was given, or else its file's."""
    try:
        return mtime_property(read(folder, name, file), file.mtime_ns)
    except exceptions.Invalid:
        return file.mtime_ns


def write(folder: Folder, temporary: str, name: str, file: File, properties: Properties) -> None:
    """Make *properties* those of *file*, in one step, by way of the file *temporary*."""
    folder.put(temporary, encoded(file, properties))
    folder.move(temporary, note_name(name), replace=True)


def move(folder: Folder, source: str, target: str) -> None:
    """The image in *source* is called *target* now."""
    try:
        folder.move(note_name(source), note_name(target), replace=True)
    except exceptions.NotFound:
        remove(folder, target)


def remove(folder: Folder, name: str) -> None:
    with contextlib.suppress(exceptions.NotFound):
        folder.delete(note_name(name))
