# SPDX-License-Identifier: Apache-2.0
"""A store's options: what they mean, and what is said when they cannot work."""

import builtins
import pathlib
from typing import Any

import pytest

from storefs import exceptions
from storefs.driver import Store
from storefs.drivers.s3 import S3Driver
from storefs.drivers.s3.endpoint import Endpoint
from tests.contract.harness import configured, options_of
from tests.contract.images import add, pattern, read
from tests.servers.fault_proxy import FaultProxy
from tests.servers.s3_client import Bucket
from tests.unit.s3.conftest import Make

MiB = 1024 * 1024

GIVEN = {
    "s3_store_host": "s3.example.org",
    "s3_store_bucket": "images",
    "s3_store_access_key": "AK01",
    "s3_store_secret_key": "secret-word",
}

#: Glance's names with Glance's defaults.
DEFAULTS = {
    "s3_store_region_name": "",
    "s3_store_create_bucket_on_put": False,
    "s3_store_bucket_url_format": "auto",
    "s3_store_large_object_size": 100,
    "s3_store_large_object_chunk_size": 10,
    "s3_store_thread_pools": 10,
    "s3_store_cacert": "",
    "s3_store_enable_data_integrity_protection": False,
    "s3_store_request_checksum_calculation": "when_required",
    "s3_store_response_checksum_validation": "when_required",
}


def test_names_and_defaults_are_glance_s() -> None:
    options = options_of(S3Driver)
    assert {name: getattr(options, name) for name in DEFAULTS} == DEFAULTS
    assert {o.dest for o in S3Driver.OPTIONS if o.secret} == {
        "s3_store_access_key",
        "s3_store_secret_key",
    }


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"s3_store_host": None}, "s3_store_host is not set"),
        ({"s3_store_bucket": None}, "s3_store_bucket is not set"),
        ({"s3_store_host": "ftp://host"}, "s3_store_host: "),
        ({"s3_store_host": "http://host:port"}, "s3_store_host: "),
        ({"s3_store_host": "http://user:secret-word@host"}, "s3_store_access_key"),
        ({"s3_store_bucket": "a/b"}, "s3_store_bucket: "),
        ({"s3_store_secret_key": None}, "go together"),
        ({"s3_store_access_key": None}, "go together"),
        ({"s3_store_cacert": "/nowhere/ca.pem"}, "s3_store_cacert: "),
    ],
)
def test_an_option_that_cannot_work_is_named(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(exceptions.BadStoreConfiguration, match=says) as caught:
        configured(S3Driver, **{**GIVEN, **wrong})
    assert "secret-word" not in f"{caught.value!r}"


def test_a_missing_botocore_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("botocore"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(exceptions.DriverLoadFailure, match="botocore"):
        configured(S3Driver, **GIVEN)


@pytest.mark.parametrize(
    ("host", "scheme", "url", "region", "virtual"),
    [
        ("host", "s3", "http://host", "us-east-1", False),
        ("http://host:9000/", "s3+http", "http://host:9000", "us-east-1", False),
        ("https://host/s3", "s3+https", "https://host/s3", "us-east-1", False),
        *(
            (f"https://{name}", "s3+https", f"https://{name}", region, True)
            for name, region in {
                "s3.amazonaws.com": "us-east-1",
                "s3.eu-west-1.amazonaws.com": "eu-west-1",
                "s3-us-west-2.amazonaws.com": "us-west-2",
                "s3.dualstack.eu-central-1.amazonaws.com": "eu-central-1",
                "s3.us-gov-west-1.amazonaws.com": "us-gov-west-1",
                "s3.cn-north-1.amazonaws.com.cn": "cn-north-1",
            }.items()
        ),
    ],
)
def test_a_host_tells_url_region_and_style(
    host: str, scheme: str, url: str, region: str, virtual: bool
) -> None:
    endpoint = Endpoint.of(host)
    assert (endpoint.scheme, endpoint.url, endpoint.region) == (scheme, url, region)
    assert endpoint.virtual("images", "auto") == virtual
    assert not endpoint.virtual("with.dots", "auto")
    assert endpoint.virtual("images", "virtual")
    assert not endpoint.virtual("images", "path")


def test_locations_and_prefix_carry_the_host_s_path() -> None:
    driver = configured(S3Driver, **{**GIVEN, "s3_store_host": "https://host:81/deep/s3"})
    assert driver.url_prefix == "s3+https://host:81/deep/s3/images/"
    assert driver.locate("a b").get_uri() == "s3+https://host:81/deep/s3/images/a%20b"
    assert driver._client.url("a b") == "https://host:81/deep/s3/images/a%20b"
    driver.close()


def test_virtual_addressing_puts_the_bucket_into_the_host() -> None:
    driver = configured(S3Driver, **{**GIVEN, "s3_store_bucket_url_format": "virtual"})
    assert driver._client.url("key", {"uploads": ""}) == "http://images.s3.example.org/key?uploads="
    driver.close()


def test_the_environment_s_credentials_are_taken(
    make: Make, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.secret_key)
    driver = make(s3_store_access_key=None, s3_store_secret_key=None)
    assert driver.writable is None
    add(driver, "image", b"bytes")
    assert bucket.get("image") == b"bytes"


def test_a_profile_s_credentials_are_taken(
    make: Make, bucket: Bucket, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "credentials").write_text(
        f"[lab]\naws_access_key_id = {bucket.access_key}\n"
        f"aws_secret_access_key = {bucket.secret_key}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "lab")
    bucket.put("image", b"bytes")
    assert read(make(s3_store_access_key=None, s3_store_secret_key=None), "image") == b"bytes"
    monkeypatch.setenv("AWS_PROFILE", "unknown")
    with pytest.raises(exceptions.BadStoreConfiguration, match="unknown"):
        make(s3_store_access_key=None, s3_store_secret_key=None)


def test_credentials_that_expire_are_renewed_and_the_token_is_sent(
    make: Make, proxy: FaultProxy, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a process, as SSO helpers do; each run gives another token for a second."""
    helper = tmp_path / "helper"
    helper.write_text(
        "#!/bin/sh\n"
        f"echo run >>{tmp_path}/runs\n"
        f"n=$(wc -l <{tmp_path}/runs)\n"
        "e=$(date -u -d '+1 second' +%Y-%m-%dT%H:%M:%SZ)\n"
        'echo "{\\"Version\\": 1, \\"AccessKeyId\\": \\"AK\\", \\"SecretAccessKey\\": \\"SK\\",'
        ' \\"SessionToken\\": \\"token-$n\\", \\"Expiration\\": \\"$e\\"}"\n'
    )
    helper.chmod(0o755)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {helper}\n")
    driver = make(s3_store_host=proxy.url, s3_store_access_key=None, s3_store_secret_key=None)
    proxy.refuse(404, "NoSuchKey", times=100)
    for _ in range(2):
        with pytest.raises(exceptions.NotFound):
            driver.stat(driver.locate("image"))
    tokens = [r.headers["x-amz-security-token"] for r in proxy.requests]
    assert len(set(tokens)) == len(tokens) > 1


def test_no_record_shows_a_secret_or_a_token(
    make: Make,
    proxy: FaultProxy,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-word")
    caplog.set_level("DEBUG")
    driver = make(s3_store_host=proxy.url, s3_store_access_key=None, s3_store_secret_key=None)
    proxy.refuse(403, "ExpiredToken", times=100)
    with pytest.raises(exceptions.NotAuthenticated) as caught:
        driver.stat(driver.locate("image"))
    assert proxy.requests[0].headers["x-amz-security-token"] == "token-word"
    for secret in (bucket.secret_key, "token-word"):
        assert secret not in f"{caught.value!r} {caplog.text}"


def test_a_public_bucket_is_read_without_credentials(make: Make, bucket: Bucket) -> None:
    bucket.put("image", pattern(1000))
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", '
        '"Action": ["s3:GetObject", "s3:ListBucket"], '
        f'"Resource": ["arn:aws:s3:::{bucket.name}", "arn:aws:s3:::{bucket.name}/*"]}}]}}'
    )
    bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=policy)
    driver = make(s3_store_access_key=None, s3_store_secret_key=None)
    assert read(driver, "image") == pattern(1000)
    assert [info.image_id for info in driver.list()] == ["image"]
    assert "no credentials" in (driver.writable or "")


def test_an_anonymous_store_is_read_only_and_says_why() -> None:
    class Given(Store):
        driver_class = S3Driver

    from oslo_config import cfg

    conf = cfg.ConfigOpts()
    store = Given(conf, "public")
    conf([], default_config_files=[])
    conf.set_override("s3_store_host", "127.0.0.1:1", group="public")
    conf.set_override("s3_store_bucket", "images", group="public")
    store.configure()
    assert store.state.name == "read-only"
    assert "s3_store_access_key" in store.state.reason
    store.close()


def test_a_bucket_is_created_on_the_first_put(make: Make, bucket: Bucket) -> None:
    name = bucket.name + "-new"
    driver = make(s3_store_bucket=name)
    with pytest.raises(exceptions.BadStoreConfiguration, match="s3_store_create_bucket_on_put"):
        add(driver, "image", b"bytes")
    driver = make(s3_store_bucket=name, s3_store_create_bucket_on_put=True)
    add(driver, "image", b"bytes")
    assert read(driver, "image") == b"bytes"
    add(driver, "another", b"bytes")
    bucket.client.delete_object(Bucket=name, Key="image")
    bucket.client.delete_object(Bucket=name, Key="another")
    bucket.client.delete_bucket(Bucket=name)


@pytest.mark.parametrize("size", [1000, 6 * MiB])
def test_checksums_are_sent_where_asked_for(
    make: Make, proxy: FaultProxy, bucket: Bucket, size: int
) -> None:
    driver = make(
        s3_store_host=proxy.url,
        s3_store_enable_data_integrity_protection=True,
        s3_store_request_checksum_calculation="when_supported",
    )
    add(driver, "image", pattern(size))
    sent = [r for r in proxy.asked("PUT") if r.length > 500]
    assert sent
    assert all("x-amz-checksum-crc32" in r.headers for r in sent)
    assert bucket.get("image") == pattern(size)
    proxy.requests.clear()
    add(make(s3_store_host=proxy.url), "plain", pattern(size))
    assert not any("x-amz-checksum-crc32" in r.headers for r in proxy.requests)


@pytest.mark.parametrize(("threshold", "parts"), [(100, 0), (0, 1)])
def test_the_threshold_of_zero_sends_all_in_parts(
    make: Make, proxy: FaultProxy, bucket: Bucket, threshold: int, parts: int
) -> None:
    driver = make(s3_store_host=proxy.url, s3_store_large_object_size=threshold)
    add(driver, "image", b"bytes")
    assert len(proxy.asked("PUT", "partNumber")) == parts
    add(driver, "empty", b"")
    assert bucket.get("empty") == b""
