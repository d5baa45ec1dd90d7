# SPDX-License-Identifier: Apache-2.0
"""``rbd://image`` and ``rbd://fsid/pool/image/snap``."""

import pytest

from storefs import exceptions
from storefs.drivers.rbd.location import RbdLocation

FSID = "f0310351-777c-44e0-a66c-7f8ab9925a76"


def parsed(uri: str) -> RbdLocation:
    location = RbdLocation(None)
    location.parse_uri(uri)
    return location


def test_the_short_form_means_the_store_s_pool_and_snap() -> None:
    location = parsed("rbd://image")
    assert (location.fsid, location.pool, location.image) == (None, None, "image")
    assert location.snapshot == "snap"
    assert location.get_uri() == "rbd://image"


def test_the_long_form_names_everything() -> None:
    location = parsed(f"rbd://{FSID}/images/image/other")
    found = location.fsid, location.pool, location.image, location.snapshot
    assert found == (FSID, "images", "image", "other")
    assert location.get_uri() == f"rbd://{FSID}/images/image/other"


def test_parts_are_quoted_as_glance_does() -> None:
    specs = {"fsid": FSID, "pool": "a/b", "image": "ä b@%", "snapshot": "snap"}
    uri = RbdLocation(specs).get_uri()
    assert uri == f"rbd://{FSID}/a%2Fb/%C3%A4%20b%40%25/snap"
    again = parsed(uri)
    assert (again.pool, again.image) == ("a/b", "ä b@%")


def test_a_location_that_was_not_parsed_names_the_cluster_once_it_is_known() -> None:
    known: list[str] = []
    specs = {"fsid": lambda: known[0] if known else None, "pool": "images", "image": "image"}
    location = RbdLocation(specs)
    assert location.get_uri() == "rbd://image"
    known.append(FSID)
    assert location.get_uri() == f"rbd://{FSID}/images/image/snap"


@pytest.mark.parametrize(
    "rest",
    ["", "a/b", "a/b/c", "a/b/c/d/e", "/b/c/d", "a//c/d", "a/b/c/", "%ff", "a b", "..", "%2F"],
)
def test_other_forms_are_refused(rest: str) -> None:
    with pytest.raises(exceptions.BadStoreUri, match="RBD location"):
        parsed(f"rbd://{rest}")
