# SPDX-License-Identifier: Apache-2.0

from typing import Any

import pytest

from storefs import exceptions, location
from storefs.configured_store import OpaqueLocation
from storefs.drivers.memory import MemoryLocation


def entry(store: Any = None) -> location.StoreEntry:
    return {"store": store, "location_class": MemoryLocation, "store_entry": "memory"}


def test_location_of_a_store() -> None:
    location.register_scheme_backend_map({"memory": {"a": entry()}})
    found = location.get_location_from_uri_and_backend("memory://x", "a", conf="c")
    assert (found.store_name, found.backend_group, found.conf) == ("memory", "a", "c")
    assert found.get_store_uri() == "memory://x"
    assert found.get_uri() is None
    assert isinstance(found.store_location, MemoryLocation)
    assert found.store_location.image_id == "x"


@pytest.mark.parametrize(
    ("uri", "backend", "named"),
    [("nope://x", "a", "nope"), ("memory://x", "b", "b"), ("plain", "a", "plain")],
)
def test_what_is_unknown_is_named(uri: str, backend: str, named: str) -> None:
    location.register_scheme_backend_map({"memory": {"a": entry()}})
    with pytest.raises(exceptions.UnknownScheme, match=f"Unknown scheme '{named}'"):
        location.get_location_from_uri_and_backend(uri, backend)


def test_registering_merges_and_the_later_entry_counts() -> None:
    location.register_scheme_backend_map({"memory": {"a": entry(1), "b": entry(2)}})
    location.register_scheme_backend_map({"memory": {"b": entry(3)}, "other": {"c": entry(4)}})
    known = location.SCHEME_TO_CLS_BACKEND_MAP
    assert [e["store"] for e in known["memory"].values()] == [1, 3]
    assert set(known) == {"memory", "other"}


def test_single_store_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "SCHEME_TO_CLS_MAP", {})
    with pytest.raises(exceptions.UnknownScheme):
        location.get_location_from_uri("memory://x")
    location.register_scheme_map({"memory": entry()})
    assert location.get_location_from_uri("memory://x").get_store_uri() == "memory://x"


def test_specs_are_processed_only_if_there_are_any() -> None:
    assert MemoryLocation({"image_id": "x"}).get_uri() == "memory://x"
    assert MemoryLocation({}).image_id == ""


def test_base_class_asks_for_both_directions() -> None:
    plain = location.StoreLocation({})
    with pytest.raises(NotImplementedError, match="get_uri"):
        plain.get_uri()
    with pytest.raises(NotImplementedError, match="parse_uri"):
        plain.parse_uri("x")


def test_validate_schemas_lists_what_is_allowed() -> None:
    location.StoreLocation.validate_schemas("a://x", ("a://", "b://"))
    with pytest.raises(exceptions.BadStoreUri, match="a://, b://"):
        location.StoreLocation.validate_schemas("c://x", ("a://", "b://"))


def test_repr_of_an_opaque_location_shows_no_credentials() -> None:
    opaque = OpaqueLocation({})
    opaque.parse_uri("s3://key:secret@host/bucket/x")
    assert opaque.get_uri() == "s3://key:secret@host/bucket/x"
    assert "secret" not in repr(opaque)
