# SPDX-License-Identifier: Apache-2.0
"""Questions to a store about an image that may be there already. All block."""

import hashlib
from collections.abc import Mapping
from typing import Any

from storefs import exceptions
from storefs.driver import Store
from storefs.drivers.base import ImageInfo, SupportsDelete, SupportsProperties
from storefs.streams.spool import Record
from storefs.upload import DEFAULT_ALGORITHM, UploadResult

#: How much is read at a time where an image has to be read to know it, bytes.
READ_SIZE = 4 * 1024 * 1024


def stored_already(store: Store, name: str, uploaded: Mapping[str, Any]) -> ImageInfo | None:
    """What the store knows of *name*, if its bytes are those of the upload.

    *uploaded* is ``size``, ``os_hash_algo`` and ``os_hash_value``. Where the store
    keeps no hashes with its images the image is read.
    """
    location = store.locate(name)
    try:
        info = store.driver.stat(location)
        if info.size != uploaded["size"]:
            return None
        known = _kept(store, name)
        if known.get("os_hash_algo") != uploaded["os_hash_algo"]:
            known = {"os_hash_value": _hash(store, name, uploaded["os_hash_algo"])}
    except exceptions.NotFound:
        return None
    return info if known.get("os_hash_value") == uploaded["os_hash_value"] else None


def identity_of(result: UploadResult) -> dict[str, Any]:
    """What `stored_already` knows it by once it is published."""
    return {
        "size": result.size,
        "os_hash_algo": result.algorithm,
        "os_hash_value": result.multihash,
    }


def identity(store: Store, name: str) -> dict[str, Any]:
    """What `stored_already` knows the image by that has the name now; `NotFound`.

    Where the store keeps no hashes with its images it is read.
    """
    info, known = store.driver.stat(store.locate(name)), _kept(store, name)
    algorithm, value = known.get("os_hash_algo"), known.get("os_hash_value")
    if not algorithm or not value:
        algorithm = DEFAULT_ALGORITHM
        value = _hash(store, name, algorithm)
    return {"size": info.size, "os_hash_algo": algorithm, "os_hash_value": value}


def set_mtime(store: Store, name: str, mtime_ns: int | None) -> ImageInfo:
    """Keep *mtime_ns* with the image where the store can; what it then knows of it."""
    driver, location = store.driver, store.locate(name)
    if mtime_ns is not None and store.supports(SupportsProperties):
        assert isinstance(driver, SupportsProperties)
        driver.set_properties(location, {"mtime_ns": str(mtime_ns)})
    return driver.stat(location)


def version_of(store: Store, name: str) -> str | None:
    """The version that is there now, None if there is no image."""
    try:
        return store.driver.stat(store.locate(name)).version
    except exceptions.NotFound:
        return None


def delete_version(store: Store, record: Record) -> None:
    """Delete what *record* was written over, or became; another version is another's."""
    driver, ours = store.driver, record.base
    if record.uploaded is not None:
        info = stored_already(store, record.image, record.uploaded)
        ours = info.version if info is not None else ours
    if ours is not None and version_of(store, record.image) == ours:
        assert isinstance(driver, SupportsDelete)
        driver.delete(store.locate(record.image))


def _kept(store: Store, name: str) -> Mapping[str, str]:
    driver = store.driver
    if not store.supports(SupportsProperties):
        return {}
    assert isinstance(driver, SupportsProperties)
    return driver.properties(store.locate(name))


def _hash(store: Store, name: str, algorithm: str) -> str:
    reader = store.driver.open(store.locate(name))
    try:
        digest, offset = hashlib.new(algorithm, usedforsecurity=False), 0
        while data := reader.pread(READ_SIZE, offset):
            digest.update(data)
            offset += len(data)
        return digest.hexdigest()
    finally:
        reader.close()
