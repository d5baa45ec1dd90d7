# SPDX-License-Identifier: Apache-2.0
"""Images as objects of one bucket, at Amazon or any server that speaks S3.

An object is read by plain ranged GETs, signed once for all of them, and written by one PUT or
a multipart upload; botocore is asked for credentials and signatures alone.
Hashes and mtime are the object's tags. Names: a driver serves the bucket of its
options, and reads the locations Glance wrote for other buckets and servers.
"""

from collections.abc import Iterator, Mapping

from storefs import exceptions
from storefs.drivers.base import (
    Driver,
    ImageInfo,
    Options,
    Reader,
    SupportsAdd,
    SupportsCopy,
    SupportsDelete,
    SupportsList,
    SupportsProperties,
    Writer,
    check_name,
    mtime_property,
)
from storefs.drivers.mtimes import Mtimes
from storefs.drivers.s3 import tags as s3_tags
from storefs.drivers.s3.bucket import Buckets, etag_of, find, make_bucket
from storefs.drivers.s3.copy import copy_object
from storefs.drivers.s3.listing import list_images
from storefs.drivers.s3.location import SCHEMES, S3Location
from storefs.drivers.s3.options import OPTIONS
from storefs.drivers.s3.parts import MAX_SIZE, Cut, MiB
from storefs.drivers.s3.reader import S3Object, S3Reader
from storefs.drivers.s3.uploads import upload_journal
from storefs.drivers.s3.writer import S3Target, S3Writer
from storefs.drivers.state import state_directory

#: The longest key, bytes of UTF-8.
_LONGEST_KEY = 1024


class S3Driver(
    Driver[S3Location],
    SupportsAdd[S3Location],
    SupportsDelete[S3Location],
    SupportsList,
    SupportsCopy[S3Location],
    SupportsProperties[S3Location],
):
    """One bucket. Renaming is a copy and a deletion, and therefore not here."""

    SCHEMES = SCHEMES
    LOCATION = S3Location
    OPTIONS = OPTIONS
    DETAILS = {
        "s3_store_large_object_size": ("s3_store_large_object_size", MiB),
        "s3_store_large_object_chunk_size": ("s3_store_large_object_chunk_size", MiB),
        "s3_store_thread_pools": "s3_store_thread_pools",
    }

    def __init__(self, options: Options, store_id: str) -> None:
        super().__init__(options, store_id)
        self._buckets = Buckets(options, store_id)
        self._client = self._buckets.own
        self._mtimes = Mtimes()
        self._journal = upload_journal(state_directory(), self._client)
        self._target = S3Target(
            self._client,
            self._journal,
            lambda key: etag_of(self._client, key),
            self._mtimes,
            checksums=_sends_checksums(options),
        )
        if self.writable is None:
            self._journal.sweep_aside()

    @property
    def url_prefix(self) -> str:
        endpoint = self._buckets.endpoint
        return f"{endpoint.scheme}://{endpoint.netloc}{endpoint.prefix}/{self._client.bucket}/"

    @property
    def writable(self) -> str | None:
        if self._client.signer.anonymous:
            return "there are no credentials: set s3_store_access_key and s3_store_secret_key"
        return None

    def locate(self, image_id: str) -> S3Location:
        check_name(image_id, "S3", _LONGEST_KEY)
        endpoint = self._buckets.endpoint
        specs = {
            "scheme": endpoint.scheme,
            "netloc": endpoint.netloc,
            "prefix": endpoint.prefix,
            "bucket": self._client.bucket,
            "key": image_id,
        }
        return S3Location(specs, backend_group=self.store_id)

    def stat(self, location: S3Location) -> ImageInfo:
        return self._find(location).info

    def open(self, location: S3Location) -> Reader:
        found = self._find(location)
        connections: int = self.options.s3_store_read_connections
        return S3Reader(self._buckets.of(location), location.key, found, connections)

    def list(self) -> Iterator[ImageInfo]:
        return list_images(self._client, self._mtimes)

    def create(self, location: S3Location, size: int | None, *, replace: bool = False) -> Writer:
        if size is not None and size > MAX_SIZE:
            raise exceptions.ImageTooLarge(f"S3 holds images of {MAX_SIZE} bytes at most")
        if self.options.s3_store_create_bucket_on_put and not self._client.seen:
            make_bucket(self._client, self._buckets.region)
        if not replace and self._exists(location.key):
            raise exceptions.Duplicate(image=location.image_id)
        options = self.options
        cut = Cut.of(options.s3_store_large_object_chunk_size * MiB, size)
        known_long = size is not None and size > cut.part_size(0)
        return S3Writer(
            self._target,
            location.key,
            cut,
            options.s3_store_thread_pools,
            replace=replace,
            hold=not known_long and options.s3_store_large_object_size > 0,
        )

    def delete(self, location: S3Location) -> None:
        client = self._buckets.of(location)
        find(client, location.key)
        client.call("DELETE", location.key)

    def copy(self, source: S3Location, target: S3Location) -> None:
        found = find(self._client, source.key)
        if source.key == target.key:
            return
        assert found.info.size is not None
        self._client.note(target.key, absent=False)
        try:
            copy_object(
                self._client, self._journal, source.key, target.key, found.etag, found.info.size
            )
        except exceptions.Duplicate as exc:
            raise exceptions.ImageChanged(image=source.image_id) from exc

    def properties(self, location: S3Location) -> Mapping[str, str]:
        tags = s3_tags.read_tags(self._buckets.of(location), location.key)
        return s3_tags.properties_of(tags)

    def set_properties(self, location: S3Location, properties: Mapping[str, str]) -> None:
        mtime_property(properties, 0)
        s3_tags.check(properties)
        client = self._buckets.of(location)
        tags = s3_tags.read_tags(client, location.key)
        s3_tags.write_tags(client, location.key, {**tags, **s3_tags.tags_of(properties)})
        self._mtimes.forget(location.key)

    def close(self) -> None:
        self._buckets.close()
        self._journal.close()

    def _exists(self, key: str) -> bool:
        return not self._client.absent(key) and etag_of(self._client, key) is not None

    def _find(self, location: S3Location) -> S3Object:
        """What there is, with the mtime it was given."""
        client = self._buckets.of(location)
        found = find(client, location.key)
        if not found.tagged:
            return found
        mtime_ns = self._mtimes.fresh(location.key, found.info.version)
        if mtime_ns is None:
            mtime_ns = s3_tags.read_mtime(client, location.key, found.info.mtime_ns)
            self._mtimes.learn(location.key, found.info.version, mtime_ns)
        return found.at(mtime_ns)


def _sends_checksums(options: Options) -> bool:
    wanted: str = options.s3_store_request_checksum_calculation
    return bool(options.s3_store_enable_data_integrity_protection) and wanted == "when_supported"
