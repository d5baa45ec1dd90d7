# SPDX-License-Identifier: Apache-2.0
"""Metadata: a POST takes away what it does not name, and other programs' stay."""

import pytest

from storefs import exceptions
from storefs.drivers.swift import SwiftDriver
from storefs.drivers.swift import metadata as swift_metadata
from storefs.drivers.swift.options import MB
from tests.contract.images import add, pattern, read
from tests.servers.swift_client import Container

MTIME = {"mtime_ns": "1600000000123456789"}


def test_what_others_keep_with_an_object_stays(driver: SwiftDriver, container: Container) -> None:
    theirs = {
        "X-Object-Meta-Colour": "blue",
        "Content-Type": "application/x-qemu-disk",
        "Content-Encoding": "identity",
        "Content-Disposition": "attachment",
        "X-Delete-At": "4000000000",
    }
    container.put("image", b"bytes", theirs)
    driver.set_properties(driver.locate("image"), {"md5": "1", **MTIME})
    headers = container.head("image")
    assert {name: headers.get(name) for name in theirs} == theirs
    assert headers["X-Object-Meta-Storefs-Md5"] == "1"


@pytest.mark.parametrize("kind", ["ours", "static", "dynamic"])
def test_large_objects_stay_large_objects(
    driver: SwiftDriver, container: Container, kind: str
) -> None:
    data = pattern(2 * MB)
    if kind == "ours":
        add(driver, "image", data)
    else:
        put = container.put_static if kind == "static" else container.put_dynamic
        put("image", [data[:MB], data[MB:]])
    location = driver.locate("image")
    before = driver.stat(location).version
    driver.set_properties(location, MTIME)
    assert driver.stat(location).version == before
    assert driver.stat(location).mtime_ns == 1600000000123456789
    assert read(driver, "image") == data
    driver.delete(location)
    assert container.names() == []


def test_the_mtime_is_the_one_the_swift_command_keeps(
    driver: SwiftDriver, container: Container
) -> None:
    container.put("theirs", b"bytes", {"X-Object-Meta-Mtime": "1600000000.123456"})
    assert driver.stat(driver.locate("theirs")).mtime_ns == 1600000000123456000
    add(driver, "ours", b"bytes")
    driver.set_properties(driver.locate("ours"), MTIME)
    assert container.head("ours")["X-Object-Meta-Mtime"] == "1600000000.123456789"


@pytest.mark.parametrize("mtime_ns", [0, 1, -1, -1_500_000_000, 2**62])
def test_any_mtime_comes_back(mtime_ns: int) -> None:
    headers = swift_metadata.headers_of({"mtime_ns": str(mtime_ns)})
    assert swift_metadata.given_mtime(headers | {"X-Other": "1"}) == mtime_ns


@pytest.mark.parametrize("text", ["", "yesterday", "nan", "inf", "1e999999"])
def test_an_mtime_that_is_none_is_not_one(text: str) -> None:
    assert swift_metadata.nanoseconds(text) is None


@pytest.mark.parametrize(
    "properties",
    [{"md5": "x" * 257}, {"md5": "grün"}, {"md5": "a\nb"}, {"No-Name": "x"}, {"md5": " x"}],
)
def test_what_swift_cannot_keep_is_invalid(
    driver: SwiftDriver, container: Container, properties: dict[str, str]
) -> None:
    container.put("image", b"bytes")
    with pytest.raises(exceptions.Invalid):
        driver.set_properties(driver.locate("image"), properties)
