# SPDX-License-Identifier: Apache-2.0
"""S3's URIs, those with credentials in them included, and which server they may lead to."""

import urllib.parse

import pytest

from storefs import exceptions
from storefs.drivers.s3.location import S3Location
from tests.contract.images import read
from tests.servers.s3_client import Bucket
from tests.unit.s3.conftest import Make

SECRET = "Sec/ret+wo:rd=="

#: URI -> netloc, prefix, bucket, key
URIS = {
    "s3://host/bucket/key": ("host", "", "bucket", "key"),
    "s3+http://host:7480/bucket/key": ("host:7480", "", "bucket", "key"),
    "s3+https://host/some/prefix/bucket/key": ("host", "/some/prefix", "bucket", "key"),
    "s3://[::1]:9000/bucket/key": ("[::1]:9000", "", "bucket", "key"),
    "s3://host/bucket/a%2Fb%40c": ("host", "", "bucket", None),
    "s3://host:9000/bucket/a@b": ("host:9000", "", "bucket", "a@b"),
    "s3://host/bucket/gr%C3%BC%C3%9Fe": ("host", "", "bucket", "grüße"),
}


def _parsed(uri: str) -> S3Location:
    location = S3Location(None)
    location.parse_uri(uri)
    return location


@pytest.mark.parametrize("uri", [uri for uri in URIS if URIS[uri][3]])
def test_a_uri_has_its_parts(uri: str) -> None:
    location = _parsed(uri)
    assert (location.netloc, location.prefix, location.bucket, location.key) == URIS[uri]
    assert location.access_key is None
    assert _parsed(location.get_uri()).get_uri() == location.get_uri()


@pytest.mark.parametrize("scheme", ["s3", "s3+http", "s3+https"])
@pytest.mark.parametrize("secret", [SECRET, urllib.parse.quote(SECRET, safe="")])
def test_an_old_uri_is_parsed_and_its_secret_never_shown(scheme: str, secret: str) -> None:
    location = _parsed(f"{scheme}://AK01:{secret}@host:7480/bucket/0b1c-22")
    assert (location.netloc, location.bucket, location.key) == ("host:7480", "bucket", "0b1c-22")
    assert (location.access_key, location.secret_key) == ("AK01", SECRET)
    for shown in (location.get_uri(), location.safe_uri(), repr(location)):
        assert shown.find(secret) == shown.find("AK01") == -1
    assert location.get_uri() == f"{scheme}://host:7480/bucket/0b1c-22"


@pytest.mark.parametrize(
    "uri",
    [
        "s3://host/bucket",
        "s3://host//key",
        "s3://host/bucket/",
        "s3://s3://host/bucket/key",
        "s3+ftp://host/bucket/key",
        "s3://host/bucket/..",
        "s3://host/bucket/a%2Fb",
        "s3://host/bucket/a b",
        "s3://host/bucket/%ff",
        "s3://only@host/bucket/key",
    ],
)
def test_a_malformed_uri_is_refused_without_repeating_it(uri: str) -> None:
    with pytest.raises(exceptions.BadStoreUri):
        _parsed(uri)


def test_a_malformed_old_uri_does_not_show_its_secret() -> None:
    with pytest.raises(exceptions.BadStoreUri) as caught:
        _parsed(f"s3://AK01:{SECRET}@host/key")
    assert "ret+wo" not in f"{caught.value!r}"


def test_old_credentials_give_way_to_the_store_s(make: Make, bucket: Bucket) -> None:
    bucket.put("image", b"bytes")
    driver = make()
    host = bucket.url.removeprefix("http://")
    location = _parsed(f"s3://OLD:gone@{host}/{bucket.name}/image")
    assert bytes(driver.open(location).pread(10, 0)) == b"bytes"


def test_another_server_is_asked_with_the_uri_s_own_credentials_only(
    make: Make, bucket: Bucket
) -> None:
    bucket.put("image", b"bytes")
    driver = make(s3_store_host="http://127.0.0.1:1", s3_store_access_key="a")
    host = bucket.url.removeprefix("http://")
    where = f"{host}/{bucket.name}/image"
    with pytest.raises(exceptions.BadStoreUri, match=r"not at 127\.0\.0\.1:1"):
        driver.stat(_parsed(f"s3://{where}"))
    keys = f"{bucket.access_key}:{bucket.secret_key}"
    assert bytes(driver.open(_parsed(f"s3://{keys}@{where}")).pread(10, 0)) == b"bytes"


def test_other_buckets_of_the_server_can_be_read(make: Make, bucket: Bucket) -> None:
    other = Bucket(bucket.url, bucket.access_key, bucket.secret_key)
    try:
        other.put("image", b"other")
        bucket.put("image", b"bytes")
        driver = make()
        location = _parsed(f"s3://{bucket.url.removeprefix('http://')}/{other.name}/image")
        assert bytes(driver.open(location).pread(10, 0)) == b"other"
        assert read(driver, "image") == b"bytes"
    finally:
        other.remove()
