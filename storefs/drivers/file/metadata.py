# SPDX-License-Identifier: Apache-2.0
"""filesystem_store_metadata_file: what Glance tells of the mount an image lies in."""

import json
import os
from collections.abc import Mapping
from typing import Any

from storefs import exceptions

#: Mount point, split at its slashes -> its entry in the file.
Mountpoints = Mapping[tuple[str, ...], Mapping[str, Any]]


def metadata_of(path: str, known: Mountpoints) -> dict[str, Any]:
    """The entry of the mount *path* lies in, the nearest if they nest; a copy."""
    parts = tuple(path.split("/"))
    matching = [point for point in known if parts[: len(point)] == point]
    return dict(known[max(matching, key=len)]) if matching else {}


def mountpoints(path: str | None, store_id: str) -> Mountpoints:
    """What the file at *path* says; `BadStoreConfiguration`."""
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        entries = [content] if isinstance(content, dict) else list(content)
        return {_parts(entry): entry for entry in entries}
    except (OSError, ValueError, TypeError, KeyError) as exc:
        raise exceptions.BadStoreConfiguration(
            store_name=store_id,
            reason=f"filesystem_store_metadata_file {path} must be a JSON object, or a list of "
            f"objects, with the strings 'id' and 'mountpoint': {exc!r}",
        ) from exc


def _parts(entry: Any) -> tuple[str, ...]:
    if not isinstance(entry["id"], str) or not isinstance(entry["mountpoint"], str):
        raise TypeError(f"not strings in {entry!r}")
    return tuple(os.path.normpath(entry["mountpoint"]).split("/"))
