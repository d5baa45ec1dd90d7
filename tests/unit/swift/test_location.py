# SPDX-License-Identifier: Apache-2.0
"""URIs: the three forms Glance writes, and what is none of them."""

import pytest

from storefs import exceptions
from storefs.drivers.swift.location import SwiftLocation


def _parsed(uri: str) -> SwiftLocation:
    location = SwiftLocation(None)
    location.parse_uri(uri)
    return location


def test_credentials_as_glance_33_writes_them() -> None:
    uri = "swift+http://service%3Aglance:pass%40word@127.0.0.1:5000/v3/glance/image"
    found = _parsed(uri)
    assert (found.user, found.key) == ("service:glance", "pass@word")
    assert found.swift_url == "http://127.0.0.1:5000/v3"
    assert (found.container, found.obj, found.image_id) == ("glance", "image", "image")
    assert found.get_uri() == uri
    assert "pass" not in found.safe_uri()
    assert "pass" not in repr(found)


def test_credentials_with_a_colon_that_is_not_quoted() -> None:
    found = _parsed("swift://tenant:user:key@auth.example.com/v1/container/image")
    assert (found.user, found.key) == ("tenant:user", "key")
    assert found.swift_url == "https://auth.example.com/v1"


def test_a_reference() -> None:
    found = _parsed("swift+config://ref1/glance/per%20cent")
    assert (found.reference, found.container, found.obj) == ("ref1", "glance", "per cent")
    assert found.get_uri() == "swift+config://ref1/glance/per%20cent"


def test_the_url_of_an_account() -> None:
    uri = "swift+https://storage.example.com/v1/AUTH_1/glance_image/image"
    found = _parsed(uri)
    assert found.user is None
    assert found.swift_url == "https://storage.example.com/v1/AUTH_1"
    assert found.get_uri() == uri


@pytest.mark.parametrize(
    "uri",
    [
        "swift://",
        "swift://host",
        "swift://host/container",
        "swift://host/container/",
        "swift://host//image",
        "swift+config://ref1/image",
        "swift+config://user@ref1/container/image",
        "swift+http://user:key@http://host/v1/container/image",
        "swift+http://user:secret@word@host/v1/container/image",
        "swift+http://user@host/v1/container/image",
        "swift+http://:key@host/v1/container/image",
        "swift+http://host/v1/container/..",
        "swift+http://host/v1/container/a%2Fb",
        "swift+http://host/v1/container/%ff",
        "swift+http://host/v1/con tainer/image",
        "swift+file://host/v1/container/image",
    ],
)
def test_what_is_no_location_is_refused_and_no_secret_told(uri: str) -> None:
    with pytest.raises(exceptions.BadStoreUri) as caught:
        _parsed(uri)
    assert "secret" not in str(caught.value)
    assert "key" not in str(caught.value).replace("user:key@", "")
