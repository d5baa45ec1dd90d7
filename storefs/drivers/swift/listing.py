# SPDX-License-Identifier: Apache-2.0
"""The images of an account, page by page; segments are none.

A listing does not tell everything: large objects of the one kind are shown with no
bytes, and so, at Ceph, are those of the other, or with as many as their manifest
has. All of these have one thing in common: the MD5 of nothing. They are asked for.
"""

import dataclasses
import hashlib
import itertools
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from storefs import exceptions
from storefs.drivers.base import ImageInfo
from storefs.drivers.mtimes import Mtimes, parse_iso
from storefs.drivers.swift.client import PAGE, SwiftClient
from storefs.drivers.swift.containers import Containers
from storefs.drivers.swift.errors import no_container
from storefs.drivers.swift.object import SwiftObject, find_if_any
from storefs.drivers.swift.segments import is_segment

_T = TypeVar("_T")

_NOTHING = hashlib.md5(b"", usedforsecurity=False).hexdigest()

#: What Glance calls segments: they are there before the image they are of.
_GLANCE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-\d{5}")

#: How many requests are made at once, for objects or containers.
_LANES = 4


class SwiftListing:
    """All images in *containers*. Without *needed* a container that is missing is an empty one."""

    def __init__(
        self, client: SwiftClient, containers: Containers, mtimes: Mtimes, *, needed: bool
    ) -> None:
        self._client = client
        self._containers = containers
        self._mtimes = mtimes
        self._needed = needed

    def __iter__(self) -> Iterator[ImageInfo]:
        if not self._containers.several:
            try:
                yield from self._images(self._containers.name)
            except exceptions.NotFound as exc:
                if self._needed:
                    raise no_container(self._containers.name) from exc
            return
        with ThreadPoolExecutor(_LANES) as pool:
            for some in _in_batches(self._containers.among(self._client), 4 * _LANES):
                for found in pool.map(self._placed, some):
                    yield from found

    def _placed(self, container: str) -> list[ImageInfo]:
        """Images that are where they belong: others could not be opened by their names."""
        try:
            prefix = ""
            if self._containers.multi_tenant:  # the one image, but not its segments
                prefix = container.removeprefix(f"{self._containers.name}_")
            found = list(self._images(container, prefix))
        except exceptions.NotFound:  # it went meanwhile
            return []
        return [info for info in found if _belongs(self._containers, info.image_id, container)]

    def _images(self, container: str, prefix: str = "") -> Iterator[ImageInfo]:
        prefixes: set[str] = set()
        entries = self._client.entries(container, prefix=prefix, flat=False)
        for page in _in_batches(entries, PAGE):
            large = self._asked(container, page)
            prefixes.update(_prefix(found) for found in large.values() if found.manifest)
            for entry in page:
                name = entry.get("name") or entry["subdir"]
                if not _is_hidden(name, prefixes):
                    yield self._info(name, entry, large.get(name))

    def _asked(self, container: str, page: Iterable[Mapping[str, Any]]) -> dict[str, SwiftObject]:
        names = [entry["name"] for entry in page if entry.get("hash") == _NOTHING]
        with ThreadPoolExecutor(_LANES) as pool:
            found = pool.map(lambda name: find_if_any(self._client, container, name), names)
            return {one.name: one for one in found if one is not None}

    def _info(self, name: str, entry: Mapping[str, Any], asked: SwiftObject | None) -> ImageInfo:
        if asked is not None:
            return asked.info
        version = (entry.get("slo_etag") or entry.get("hash", "")).strip('"')
        stored = parse_iso(entry.get("last_modified", ""))
        info = ImageInfo(name, entry.get("bytes"), version, stored)
        mtime_ns = self._mtimes.of(name, version)
        return dataclasses.replace(info, mtime_ns=mtime_ns) if mtime_ns else info


def _belongs(containers: Containers, image_id: str, container: str) -> bool:
    try:
        return containers.of(image_id) == container
    except exceptions.Invalid:
        return False


def _prefix(found: SwiftObject) -> str:
    """What the names of its segments begin with, if they are in its own container."""
    container, _, prefix = urllib.parse.unquote(found.manifest).lstrip("/").partition("/")
    return prefix if container == found.container else "/"


def _is_hidden(name: str, prefixes: Iterable[str]) -> bool:
    ours = name == ".segments/" or _GLANCE.fullmatch(name) is not None
    return ours or any(is_segment(name, prefix) for prefix in prefixes)


def _in_batches(items: Iterable[_T], length: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, length)):
        yield batch
