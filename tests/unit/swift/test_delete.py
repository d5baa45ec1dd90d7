# SPDX-License-Identifier: Apache-2.0
"""Deleting and copying: segments go along, and nobody else's."""

from collections.abc import Callable

import pytest

from storefs import exceptions
from storefs.drivers.swift import SwiftDriver
from storefs.drivers.swift.options import MB
from tests.conftest import ExpectLog
from tests.contract.images import add, pattern, read
from tests.mount.requirements import needed
from tests.mount.tools import await_true
from tests.servers import swift_client
from tests.servers.fault_proxy import FaultProxy
from tests.servers.swift_client import Container
from tests.unit.swift.conftest import Make


def _delete(driver: SwiftDriver, name: str = "image") -> None:
    driver.delete(driver.locate(name))


def test_the_segments_of_a_dynamic_object_go_and_neighbours_stay(
    driver: SwiftDriver, container: Container, expect_log: ExpectLog
) -> None:
    """Swift reads image-server as a part of image, and so did Glance delete it."""
    container.put_dynamic("image", [b"one", b"two"])
    container.put("image-server", b"another image")
    _delete(driver)
    expect_log("1 objects that its manifest reads, too, stay")
    assert container.names() == ["image-server"]


def test_the_segments_of_a_static_object_in_another_container_go(
    driver: SwiftDriver, container: Container
) -> None:
    other = Container(container.account)
    other.put("segment", b"bytes")
    row = f'[{{"path": "/{other.name}/segment"}}]'
    container.ask("PUT", "image", "multipart-manifest=put", body=row.encode())
    _delete(driver)
    assert (container.names(), other.names()) == ([], [])
    other.remove()


def test_manifests_of_manifests_are_deleted_by_the_server(
    driver: SwiftDriver, container: Container
) -> None:
    container.put_static("inner", [b"one", b"two"])
    row = f'[{{"path": "/{container.name}/inner"}}]'
    container.ask("PUT", "image", "multipart-manifest=put", body=row.encode())
    assert read(driver, "image") == b"onetwo"
    _delete(driver)
    assert container.names() == []


def test_the_image_goes_before_its_segments(
    driver: SwiftDriver, container: Container, proxy: FaultProxy
) -> None:
    add(driver, "image", pattern(2 * MB))
    proxy.requests.clear()
    _delete(driver)
    asked = [r.method for r in proxy.requests if r.method in {"DELETE", "POST"}]
    assert asked == ["DELETE", "POST"]


def test_segments_that_stay_are_told_and_removed_at_the_next_start(
    driver: SwiftDriver,
    container: Container,
    proxy: FaultProxy,
    restarted: Callable[[], SwiftDriver],
    expect_log: ExpectLog,
) -> None:
    add(driver, "image", pattern(2 * MB))
    report = (
        b'{"Response Status": "400 Bad Request", "Number Deleted": 0, "Errors": [["x", "503"]]}'
    )
    proxy.fault(method="POST", word="bulk-delete", page=(200, report, {}))
    _delete(driver)
    expect_log("segments stay until storefs starts again")
    with pytest.raises(exceptions.NotFound):
        driver.stat(driver.locate("image"))
    assert len(container.segments()) == 2
    driver.close()
    restarted()
    await_true(lambda: container.names() == [], "the end of the segments")


@pytest.mark.parametrize("server", ["tempauth", "rgw"])
@pytest.mark.parametrize("kind", ["ours", "static", "dynamic", "plain"])
def test_a_copy_shares_nothing_with_what_was_copied(make: Make, server: str, kind: str) -> None:
    account = needed(f"swift-{server}", getattr(swift_client, server))
    container = Container(account)
    driver = make(**container.options)
    data = pattern(2 * MB)
    if kind == "ours":
        add(driver, "image", data)
    elif kind == "plain":
        container.put("image", data)
    else:
        put = container.put_static if kind == "static" else container.put_dynamic
        put("image", [data[:MB], data[MB:]])
    driver.set_properties(driver.locate("image"), {"md5": "1", "mtime_ns": "1000"})
    if (server, kind) == ("rgw", "static"):  # Ceph does not tell what it consists of
        with pytest.raises(exceptions.BackendException, match="does not tell its segments"):
            driver.copy(driver.locate("image"), driver.locate("copy"))
    else:
        driver.copy(driver.locate("image"), driver.locate("copy"))
        _delete(driver)
        assert read(driver, "copy") == data
        kept = driver.properties(driver.locate("copy"))
        assert (kept["md5"], kept["mtime_ns"]) == ("1", "1000")
        _delete(driver, "copy")
        assert container.names() == []
    container.remove()


def test_ceph_deletes_what_others_made_of_segments(make: Make) -> None:
    container = Container(needed("swift-rgw", swift_client.rgw))
    driver = make(**container.options)
    container.put_static("image", [b"one", b"two"])
    assert read(driver, "image") == b"onetwo"
    _delete(driver)
    assert container.names() == []
    container.remove()


def test_a_copy_that_fails_leaves_nothing(
    driver: SwiftDriver, container: Container, proxy: FaultProxy
) -> None:
    add(driver, "image", pattern(3 * MB))
    before = container.names()
    proxy.fault(method="PUT", word="multipart-manifest", page=(413, b"", {}))
    with pytest.raises(exceptions.ImageTooLarge):
        driver.copy(driver.locate("image"), driver.locate("copy"))
    assert container.names() == before


def test_what_a_copy_replaces_goes_with_its_segments(
    driver: SwiftDriver, container: Container
) -> None:
    add(driver, "image", b"short")
    add(driver, "copy", pattern(2 * MB))
    driver.copy(driver.locate("image"), driver.locate("copy"))
    assert container.names() == ["copy", "image"]
