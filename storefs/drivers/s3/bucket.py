# SPDX-License-Identifier: Apache-2.0
"""Which bucket a location means, and what is in it under one key."""

import collections
import contextlib
import threading
import xml.etree.ElementTree as ET

from storefs import exceptions
from storefs.drivers.base import ImageInfo, Options
from storefs.drivers.http_pool import HttpSettings
from storefs.drivers.http_transport import Transport
from storefs.drivers.mtimes import parse_http
from storefs.drivers.s3 import errors
from storefs.drivers.s3.client import S3Client
from storefs.drivers.s3.endpoint import DEFAULT_REGION, Endpoint
from storefs.drivers.s3.location import S3Location
from storefs.drivers.s3.reader import S3Object
from storefs.drivers.s3.signing import Signer

#: The waits while a server is busy, seconds: longer ones each time, as Amazon asks for.
_BACK_OFF = (0.05, 0.2, 0.8, 2.0, 4.0)

#: How many clients for other buckets and credentials are kept.
_OTHERS = 16


class Buckets:
    """The store's own bucket, and those that old locations lead to.

    Raises `BadStoreConfiguration` with the option that is wrong.
    """

    def __init__(self, options: Options, store_id: str) -> None:
        self._options = options
        self._store_id = store_id
        self.endpoint = self._endpoint()
        self.region: str = options.s3_store_region_name or self.endpoint.region
        if bool(options.s3_store_access_key) != bool(options.s3_store_secret_key):
            raise self._bad("s3_store_access_key and s3_store_secret_key go together")
        self._transport = self._connected()
        signer = Signer(options.s3_store_access_key, options.s3_store_secret_key, self.region)
        self.own = self._client(self.endpoint, self._bucket(), signer)
        self._others: collections.OrderedDict[tuple[str, ...], S3Client] = collections.OrderedDict()
        self._lock = threading.Lock()

    def of(self, location: S3Location) -> S3Client:
        """The client for *location*; `BadStoreUri` for one at a server we have no keys for.

        The store's keys are said to the store's server alone; there they count, too,
        for locations that still hold keys.
        """
        ours = location.netloc.lower() == self.endpoint.netloc.lower()
        if ours and location.bucket == self.own.bucket:
            return self.own
        keys = ("", "") if ours else (location.access_key or "", location.secret_key or "")
        if not ours and not all(keys):
            raise exceptions.BadStoreUri(
                f"{location.safe_uri()} is not at {self.endpoint.netloc}, the server of store "
                f"{self._store_id}"
            )
        return self._other(location, keys, ours=ours)

    def close(self) -> None:
        self._transport.close()

    def _other(self, location: S3Location, keys: tuple[str, str], *, ours: bool) -> S3Client:
        name = (location.get_uri().rpartition("/")[0], *keys)
        with self._lock:
            if name not in self._others:
                self._others[name] = self._new_other(location, keys, ours=ours)
            self._others.move_to_end(name)
            while len(self._others) > _OTHERS:
                self._others.popitem(last=False)
            return self._others[name]

    def _new_other(self, location: S3Location, keys: tuple[str, str], *, ours: bool) -> S3Client:
        if ours:
            return self._client(self.endpoint, location.bucket, self.own.signer)
        scheme = "https" if location.scheme == "s3+https" else "http"
        endpoint = Endpoint.of(f"{scheme}://{location.netloc}{location.prefix}")
        return self._client(endpoint, location.bucket, Signer(*keys, endpoint.region))

    def _client(self, endpoint: Endpoint, bucket: str, signer: Signer) -> S3Client:
        virtual = endpoint.virtual(bucket, self._options.s3_store_bucket_url_format)
        return S3Client(self._transport, signer, endpoint.url, bucket, virtual=virtual)

    def _endpoint(self) -> Endpoint:
        if not self._options.s3_store_host:
            raise self._bad("s3_store_host is not set")
        try:
            return Endpoint.of(self._options.s3_store_host)
        except ValueError as exc:
            raise self._bad(f"s3_store_host: {exc}") from exc

    def _bucket(self) -> str:
        bucket: str | None = self._options.s3_store_bucket
        if not bucket:
            raise self._bad("s3_store_bucket is not set")
        if "/" in bucket:
            raise self._bad("s3_store_bucket: the name of a bucket holds no /")
        return bucket

    def _connected(self) -> Transport:
        options = self._options
        settings = HttpSettings(
            connect_timeout=options.s3_store_connect_timeout,
            read_timeout=options.s3_store_read_timeout,
            max_redirects=None,
            max_connections=options.s3_store_thread_pools + options.s3_store_read_connections,
            back_off=_BACK_OFF,
            ca_file=options.s3_store_cacert or None,
            tls_hint=": name its authority in s3_store_cacert",
        )
        try:
            return Transport(settings, errors.explain)
        except OSError as exc:
            raise self._bad(f"s3_store_cacert: {exc.strerror or exc}") from exc

    def _bad(self, reason: str) -> exceptions.BadStoreConfiguration:
        return exceptions.BadStoreConfiguration(store_name=self._store_id, reason=reason)


def find(client: S3Client, key: str) -> S3Object:
    """What is there under *key*, by one HEAD; `NotFound`.

    The answer to a HEAD has no page that says why: a GET is asked for the reason,
    unless it is certain that the bucket is there and the object is not.
    """
    try:
        reply = client.call("HEAD", key)
    except exceptions.NotFound:
        if not client.seen:
            _ask_why(client, key)
        client.note(key, absent=True)
        raise
    except (
        exceptions.BadStoreConfiguration,
        exceptions.BadStoreUri,
        exceptions.Forbidden,
        exceptions.NotAuthenticated,
    ):
        _ask_why(client, key)
        raise
    headers = reply.headers
    etag = headers.get("ETag", "")
    size = int(headers.get("Content-Length", "0"))
    mtime_ns = parse_http(headers.get("Last-Modified", ""))
    return S3Object(
        ImageInfo(key, size, etag.strip('"'), mtime_ns),
        etag,
        headers.get("x-amz-version-id", ""),
        tagged=headers.get("x-amz-tagging-count", "0") != "0",
    )


def etag_of(client: S3Client, key: str) -> str | None:
    """The ETag of what is there, unquoted; None if there is nothing."""
    try:
        return find(client, key).info.version
    except exceptions.NotFound:
        return None


def make_bucket(client: S3Client, region: str) -> None:
    """Create the bucket unless we have it."""
    body = None
    if region != DEFAULT_REGION:
        root = ET.Element("CreateBucketConfiguration")
        ET.SubElement(root, "LocationConstraint").text = region
        body = ET.tostring(root)
    try:
        client.call("HEAD")
    except exceptions.NotFound:
        with contextlib.suppress(exceptions.Duplicate):  # somebody was quicker
            client.call("PUT", body=body)


def _ask_why(client: S3Client, key: str) -> None:
    client.call("GET", key, headers={"Range": "bytes=0-0"})
