# SPDX-License-Identifier: Apache-2.0
"""What is on its way into the stores, as one can read it in the mount."""

import json
from typing import Any

from storefs.streams.files import Files
from storefs.streams.publication import Publication
from storefs.streams.spooled import Spooled


def report(files: Files) -> str:
    """One JSON object a line: store, image, state, bytes, stored (bytes), error."""
    lines = [_stream(publication) for publication in files.streaming.all()]
    lines += [_spooled(spooled) for spooled in files.spooling.all() if not spooled.nameless]
    return "".join(json.dumps(line) + "\n" for line in lines if line["state"] != "clean")


def _stream(publication: Publication) -> dict[str, Any]:
    return _line(
        publication.store.backend_group,
        publication.image_id,
        publication.state,
        publication.size,
        publication.position,
        None,
    )


def _spooled(spooled: Spooled) -> dict[str, Any]:
    state = spooled.state if spooled.changed or spooled.promised is not None else "clean"
    return _line(
        spooled.node.store_id,
        spooled.image_id,
        state,
        spooled.size,
        spooled.stored,
        spooled.error,
    )


def _line(
    store: str | None, image: str, state: str, size: int, stored: int, error: Exception | None
) -> dict[str, Any]:
    told = None if error is None else str(error)
    return {
        "store": store,
        "image": image,
        "state": state,
        "bytes": size,
        "stored": stored,
        "error": told,
    }
