# SPDX-License-Identifier: Apache-2.0
"""Both forms of Glance's URIs, and ours for a name whose volume nobody knows yet."""

import pytest

from storefs import exceptions
from storefs.drivers.cinder.location import CinderLocation

VOLUME = "0f3c8a5e-9d64-4f3c-8d5a-2f7f4b1f2a10"


def _parsed(uri: str) -> CinderLocation:
    location = CinderLocation(None)
    location.parse_uri(uri)
    return location


@pytest.mark.parametrize("uri", [f"cinder://{VOLUME}", f"cinder://fast/{VOLUME}"])
def test_what_glance_wrote_is_read(uri: str) -> None:
    location = _parsed(uri)
    assert (location.volume_id, location.image_id) == (VOLUME, "")
    assert location.get_uri() == uri


def test_a_name_is_told_from_a_volume_although_glance_s_names_are_uuids() -> None:
    location = _parsed(f"cinder://fast/image-{VOLUME}")
    assert (location.volume_id, location.image_id) == ("", VOLUME)


def test_a_location_that_learns_its_volume_has_glance_s_uri() -> None:
    location = CinderLocation({"store": "fast", "image_id": "two words"})
    assert location.get_uri() == "cinder://fast/image-two%20words"
    location.volume_id = VOLUME
    assert location.get_uri() == f"cinder://fast/{VOLUME}"


@pytest.mark.parametrize(
    "uri",
    [
        "cinder://",
        "cinder://fast/",
        "cinder://not-a-uuid",
        "cinder://a/b/" + VOLUME,
        "cinder://with blank/" + VOLUME,
        "cinder://fast/image-",
        "cinder://fast/image-a%2Fb",
        "cinder://fast/image-%ff",
        "cinder://fast/" + VOLUME.replace("-", ""),
        "rbd://" + VOLUME,
    ],
)
def test_what_is_malformed_is_refused(uri: str) -> None:
    with pytest.raises(exceptions.BadStoreUri):
        _parsed(uri)
