# SPDX-License-Identifier: Apache-2.0
"""Names and URIs: every odd name is a name, and none leads out of the store."""

import pytest

from storefs import exceptions
from storefs.drivers.base import SupportsAdd, SupportsList
from tests.contract.harness import Harness
from tests.contract.images import add, listed, read

ODD = [
    "two words",
    " leading and trailing ",
    "per%cent",
    "per%20cent",
    "what?",
    "a#b",
    "a&b=c;d+e",
    "grüße-日本語",
    "-rf",
    "--help",
    "~user",
    "back\\slash",
    "quote'\"`$(x)",
    "new\nline",
    "n" * 200,
    "...",
    ".hidden",
    "a:b@c",
]

ESCAPES = ["../outside", "..", ".", "", "/etc/passwd", "a/../../outside", "sub/image", "nul\0byte"]


@pytest.mark.needs.with_args(SupportsAdd)
@pytest.mark.parametrize("image_id", ODD)
def test_an_odd_name_is_a_name(harness: Harness, image_id: str) -> None:
    add(harness.driver, image_id, b"bytes")
    assert read(harness.driver, image_id) == b"bytes"
    assert harness.driver.stat(harness.driver.locate(image_id)).image_id == image_id
    if isinstance(harness.driver, SupportsList):
        assert listed(harness.driver) == {image_id: 5}


@pytest.mark.needs.with_args(SupportsAdd)
@pytest.mark.parametrize("image_id", ["image", *ODD])
def test_a_uri_parsed_leads_to_the_same_image(harness: Harness, image_id: str) -> None:
    add(harness.driver, image_id, image_id.encode())
    uri = harness.driver.locate(image_id).get_uri()
    assert uri.startswith(harness.driver.url_prefix)
    parsed = harness.driver.LOCATION(None)
    parsed.parse_uri(uri)
    assert parsed.get_uri() == uri
    assert harness.driver.stat(parsed).image_id == image_id
    reader = harness.driver.open(parsed)
    assert bytes(reader.pread(1000, 0)) == image_id.encode()
    reader.close()


def test_the_uri_of_a_seeded_image_leads_to_it(harness: Harness) -> None:
    harness.seed("image", b"bytes")
    parsed = harness.driver.LOCATION(None)
    parsed.parse_uri(harness.driver.locate("image").get_uri())
    found, named = (harness.driver.stat(at) for at in (parsed, harness.driver.locate("image")))
    assert (found.size, found.version) == (named.size, named.version)


@pytest.mark.needs.with_args(SupportsAdd)
@pytest.mark.parametrize("image_id", ESCAPES)
def test_a_name_that_leads_elsewhere_is_invalid(harness: Harness, image_id: str) -> None:
    with pytest.raises(exceptions.Invalid):
        harness.driver.locate(image_id)


@pytest.mark.parametrize("uri", ["", "nonsense", "unknown://x/y", "://", "mailto:a@b"])
def test_a_uri_of_another_kind_is_refused(harness: Harness, uri: str) -> None:
    with pytest.raises(exceptions.BadStoreUri):
        harness.driver.LOCATION(None).parse_uri(uri)


def test_a_scheme_alone_is_refused(harness: Harness) -> None:
    with pytest.raises(exceptions.BadStoreUri):
        harness.driver.LOCATION(None).parse_uri(f"{harness.driver.SCHEMES[0]}://")


def test_a_repr_shows_no_more_than_the_safe_uri(harness: Harness) -> None:
    location = harness.driver.locate("image")
    assert location.safe_uri() in repr(location)
    for secret in harness.secrets:
        assert secret not in repr(location)
        assert secret not in repr(harness.driver)
        assert secret not in repr(harness.driver.options)


def test_no_error_tells_a_secret(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(exceptions.NotFound) as caught:
        harness.driver.stat(harness.driver.locate("nowhere"))
    for secret in harness.secrets:
        assert secret not in f"{caught.value!r} {caught.value} {caplog.text}"
