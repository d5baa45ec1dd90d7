# SPDX-License-Identifier: Apache-2.0
"""Listing: every image of every container, with its size, and no segment."""

import itertools
import json
import uuid
from collections.abc import Iterator

import pytest

from storefs import exceptions
from storefs.drivers.mtimes import parse_iso
from storefs.drivers.swift import SwiftDriver
from storefs.drivers.swift import client as requests
from storefs.drivers.swift import listing as swift_listing
from storefs.drivers.swift.options import MB
from tests.contract.images import add, listed, pattern, read
from tests.mount.requirements import needed
from tests.servers import shared, swift_client
from tests.servers.fault_proxy import FaultProxy
from tests.servers.swift_client import Account, Container
from tests.unit.swift.conftest import Make

RGW = "swift-rgw"


@pytest.fixture(params=["tempauth", "rgw"])
def account(request: pytest.FixtureRequest) -> Account:
    """They list large objects in different ways."""
    if request.param == "rgw":
        return needed(RGW, swift_client.rgw)
    return needed("swift-tempauth", swift_client.tempauth)


@pytest.fixture
def either(account: Account) -> Iterator[Container]:
    container = Container(account)
    yield container
    container.remove()


def test_large_objects_have_their_true_size_and_no_segments(either: Container, make: Make) -> None:
    driver = make(**either.options)
    glance = str(uuid.uuid4())
    add(driver, "ours", pattern(2 * MB + 1))
    either.put_static("static", [b"12345", b"67890"])
    either.put_dynamic("dynamic", [b"12345", b"678"])
    either.put_dynamic("dynamic-server", [b"1234"])
    either.put(f"{glance}-00001", b"a segment whose manifest is not there yet")
    either.put("empty", b"")
    assert listed(driver) == {
        "ours": 2 * MB + 1,
        "static": 10,
        "dynamic": 12,  # with dynamic-server-00001, as Swift reads it
        "dynamic-server": 4,
        "empty": 0,
        "segments-of/": None,
    }
    for info in driver.list():
        if "/" not in info.image_id:
            known = driver.stat(driver.locate(info.image_id))
            assert (info.size, info.version) == (known.size, known.version)


def test_pages_follow_each_other(
    either: Container, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "PAGE", 2)
    monkeypatch.setattr(swift_listing, "PAGE", 2)
    driver = make(**either.options)
    names = ["a", "b-/1", "b-/2", "b-/3", "c", "dlo", "e", "f", "grüße", "z"]
    for name in names:
        either.put(name, b"x")
    add(driver, "image", pattern(3 * MB))
    either.put_dynamic("dlo", [b"1", b"2", b"3"])
    found = sorted(listed(driver))
    assert found == sorted(["a", "b-/", "c", "dlo", "e", "f", "grüße", "image", "z"])


def test_a_page_is_asked_for_when_it_is_needed(
    driver: SwiftDriver,
    container: Container,
    proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requests, "PAGE", 5)
    monkeypatch.setattr(swift_listing, "PAGE", 5)
    for number in range(20):
        container.put(f"image-{number:02}", b"x")
    assert len(list(itertools.islice(driver.list(), 3))) == 3
    assert len(proxy.asked("GET", "format=json")) == 1


@pytest.fixture
def prefix(account: Account) -> Iterator[str]:
    """What the names of several containers begin with."""
    prefix = f"storefs{uuid.uuid4().hex[:8]}"
    yield prefix
    whole = Container(account, "", make=False)
    answer = whole.pool.request(
        "GET",
        f"{account.url}?format=json&prefix={prefix}",
        headers={"X-Auth-Token": account.token},
    )
    for entry in json.loads(answer.data):
        Container(account, entry["name"], make=False).remove()


def test_images_are_spread_over_containers_by_their_names(
    account: Account, make: Make, prefix: str
) -> None:
    driver = make(
        **account.options,
        swift_store_container=prefix,
        swift_store_multiple_containers_seed=10,
        swift_store_create_container_on_put=True,
    )
    assert list(driver.list()) == []
    names = ["fdae39a1-bac5-4238-aba4-69bcc726e848", "0dae39a1-bac5-4238-aba4-69bcc726e848", "x"]
    for name in names:
        add(driver, name, pattern(2 * MB, len(name)))
    assert driver.locate(names[0]).container == f"{prefix}_fdae39a1-ba"
    assert driver.locate("FDAE39A1-BAC5").container == f"{prefix}_fdae39a1-ba"
    assert listed(driver) == dict.fromkeys(names, 2 * MB)
    assert all(read(driver, name) == pattern(2 * MB, len(name)) for name in names)
    # an image that is not where its name says is none that could be opened
    Container(account, f"{prefix}_other").put("stray", b"bytes")
    assert listed(driver).keys() == set(names)
    driver.delete(driver.locate("x"))
    assert listed(driver).keys() == set(names[:2])


def test_each_tenant_s_image_has_a_container_of_its_own(
    account: Account, make: Make, prefix: str
) -> None:
    driver = make(**account.options, swift_store_container=prefix, swift_store_multi_tenant=True)
    for number in range(20):
        add(driver, f"image-{number}", pattern(1000 * number))
    add(driver, "large", pattern(2 * MB))
    sizes = {f"image-{number}": 1000 * number for number in range(20)}
    assert listed(driver) == {**sizes, "large": 2 * MB}
    for name in (*sizes, "large"):
        driver.delete(driver.locate(name))
    assert listed(driver) == {}
    assert list(driver._target.client.entries(prefix=prefix)) == []


def test_a_container_s_name_can_be_too_long(make: Make, container: Container) -> None:
    driver = make(**container.options, swift_store_multi_tenant=True)
    with pytest.raises(exceptions.Invalid, match="256 bytes"):
        driver.locate("n" * 300)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("2026-11-21T06:12:52.782100", 1795241572782100000),
        ("2026-11-21T06:12:52.782Z", 1795241572782000000),
        ("yesterday", 0),
    ],
)
def test_times_of_listings(text: str, nanoseconds: int) -> None:
    assert parse_iso(text) == nanoseconds


def test_the_shared_servers_are_what_they_are_taken_for() -> None:
    assert shared.swift().auth_url.endswith("/auth/v1.0")
