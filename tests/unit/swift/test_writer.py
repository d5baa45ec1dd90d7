# SPDX-License-Identifier: Apache-2.0
"""Writing: one object or segments, published once, and nothing left of what failed."""

import hashlib
import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.swift import SwiftDriver
from storefs.drivers.swift.options import MB
from tests.conftest import ExpectLog
from tests.contract.images import add, pattern, read, write
from tests.mount.tools import await_true
from tests.servers.fault_proxy import FaultProxy
from tests.servers.swift_client import Container
from tests.unit.swift.conftest import Make

SEGMENT = MB

Restarted = Callable[[], SwiftDriver]


def _create(driver: SwiftDriver, size: int | None = None, **how: Any) -> Any:
    return driver.create(driver.locate("image"), size, **how)


def _uploads(container: Container) -> set[str]:
    return {name.rpartition("/")[0] for name in container.segments()}


def test_a_short_image_is_one_put_with_its_metadata(
    driver: SwiftDriver, container: Container, proxy: FaultProxy
) -> None:
    result = add(driver, "image", b"bytes")
    (put,) = proxy.asked("PUT")
    assert put.headers["if-none-match"] == "*"
    assert put.headers["etag"] == result.checksum
    headers = container.head("image")
    assert headers["X-Object-Meta-Storefs-Md5"] == result.checksum
    assert headers["X-Object-Meta-Storefs-Os-Hash-Value"] == result.multihash
    assert container.segments() == []


def test_an_image_below_the_large_object_size_is_one_put(make: Make, container: Container) -> None:
    driver = make(**container.options, swift_store_large_object_size=5)
    add(driver, "image", pattern(3 * SEGMENT))
    add(driver, "larger", pattern(7 * SEGMENT + 1))
    assert "X-Static-Large-Object" not in container.head("image")
    assert container.head("larger")["X-Static-Large-Object"] == "True"
    sizes = [len(container.get(name)) for name in container.segments()]
    assert sizes == [SEGMENT] * 7 + [1]
    assert read(driver, "larger") == pattern(7 * SEGMENT + 1)


def test_an_image_of_exactly_the_large_object_size_is_in_segments(
    driver: SwiftDriver, container: Container
) -> None:
    add(driver, "image", pattern(SEGMENT))
    assert container.head("image")["X-Static-Large-Object"] == "True"


@pytest.mark.parametrize("told", [True, False], ids=["size", "no-size"])
def test_the_last_segment_announces_its_own_length(
    driver: SwiftDriver, container: Container, proxy: FaultProxy, told: bool
) -> None:
    data = pattern(2 * SEGMENT + 77)
    result = add(driver, "image", data, size=len(data) if told else None)
    sent = sorted(r.length for r in proxy.asked("PUT", ".segments"))
    assert sent == [77, SEGMENT, SEGMENT]
    rows = json.loads(container.ask("GET", "image", "multipart-manifest=get&format=raw").data)
    assert [row["size_bytes"] for row in rows] == [SEGMENT, SEGMENT, 77]
    md5s = [hashlib.md5(data[n : n + SEGMENT]).hexdigest() for n in range(0, len(data), SEGMENT)]
    assert [row["etag"] for row in rows] == md5s
    assert container.head("image")["X-Object-Meta-Storefs-Md5"] == result.checksum


def test_every_segment_is_compared_by_the_server(driver: SwiftDriver, proxy: FaultProxy) -> None:
    data = pattern(2 * SEGMENT)
    add(driver, "image", data)
    etags = {r.headers["etag"] for r in proxy.asked("PUT", ".segments")}
    assert etags == {hashlib.md5(data[n:][:SEGMENT]).hexdigest() for n in (0, SEGMENT)}


def test_what_did_not_arrive_as_it_was_sent_is_sent_again(
    driver: SwiftDriver, proxy: FaultProxy
) -> None:
    proxy.fault(method="PUT", word=".segments", page=(422, b"", {}))
    add(driver, "image", pattern(2 * SEGMENT))
    assert len(proxy.asked("PUT", ".segments")) == 3
    assert read(driver, "image") == pattern(2 * SEGMENT)


def test_zeros_nobody_wrote_are_stored_once(
    driver: SwiftDriver, container: Container, proxy: FaultProxy
) -> None:
    data = pattern(SEGMENT) + bytes(5 * SEGMENT) + b"end"
    writer = _create(driver)
    writer.pwrite(memoryview(data[:SEGMENT]), 0)
    for number in range(1, 6):
        writer.skip(SEGMENT, number * SEGMENT)
    writer.pwrite(memoryview(b"end"), 6 * SEGMENT)
    writer.commit(len(data))
    assert len(container.segments()) == 3
    assert read(driver, "image") == data
    driver.delete(driver.locate("image"))
    assert container.names() == []


def test_the_segments_of_what_is_replaced_go(driver: SwiftDriver, container: Container) -> None:
    add(driver, "image", pattern(2 * SEGMENT, 1))
    before = _uploads(container)
    add(driver, "image", pattern(3 * SEGMENT, 2), replace=True)
    after = _uploads(container)
    assert len(after) == 1
    assert not after & before
    add(driver, "image", b"short", replace=True)
    assert container.names() == ["image"]


def test_segments_of_others_go_when_their_image_is_replaced(
    driver: SwiftDriver, container: Container
) -> None:
    container.put_static("image", [b"one", b"two"])
    container.put_dynamic("other", [b"three", b"four"])
    add(driver, "image", b"short", replace=True)
    add(driver, "other", b"short", replace=True)
    assert container.names() == ["image", "other"]


def test_what_cannot_be_removed_is_told_and_removed_at_the_next_start(
    driver: SwiftDriver,
    container: Container,
    proxy: FaultProxy,
    restarted: Restarted,
    expect_log: ExpectLog,
    tmp_path: pathlib.Path,
) -> None:
    add(driver, "image", pattern(2 * SEGMENT, 1))
    fault = proxy.fault(method="POST", word="bulk-delete", page=(503, b"", {}), times=9)
    add(driver, "image", pattern(SEGMENT, 2), replace=True)
    fault.times = 0
    expect_log("segments stay until storefs starts again")
    assert len(_uploads(container)) == 2
    driver.close()
    other = restarted()
    await_true(lambda: len(_uploads(container)) == 1, "the end of the segments")
    assert read(other, "image") == pattern(SEGMENT, 2)


def test_an_answer_that_got_lost_is_no_duplicate(
    driver: SwiftDriver, container: Container, proxy: FaultProxy
) -> None:
    proxy.fault(method="PUT", word="multipart-manifest", lose=True)
    add(driver, "image", pattern(2 * SEGMENT))
    assert read(driver, "image") == pattern(2 * SEGMENT)
    proxy.fault(method="PUT", word="/short", lose=True)
    add(driver, "short", b"bytes")
    assert read(driver, "short") == b"bytes"


def test_a_name_taken_in_the_last_moment_is_a_duplicate(
    driver: SwiftDriver, container: Container, proxy: FaultProxy
) -> None:
    """After our own last look: the server itself compares."""
    writer = _create(driver)
    write(writer, pattern(2 * SEGMENT))
    fault = {"method": "PUT", "word": "multipart-manifest"}
    proxy.fault(**fault, then=lambda: container.put("image", b"early"))
    with pytest.raises(exceptions.Duplicate):
        writer.commit(2 * SEGMENT)
    writer.abort()
    assert container.names() == ["image"]
    assert read(driver, "image") == b"early"


def test_while_it_is_uncertain_whether_it_was_published_no_segment_goes(
    driver: SwiftDriver,
    container: Container,
    proxy: FaultProxy,
    restarted: Restarted,
    expect_log: ExpectLog,
    tmp_path: pathlib.Path,
) -> None:
    writer = _create(driver)
    write(writer, pattern(2 * SEGMENT))
    proxy.fault(method="PUT", word="multipart-manifest", lose=True)
    proxy.fault(method="PUT", word="multipart-manifest", reset=True, times=9)
    with pytest.raises(exceptions.RemoteServiceUnavailable):
        writer.commit(2 * SEGMENT)
    writer.abort()
    expect_log("did not say whether it published it")
    driver.close()
    other = restarted()
    await_true(lambda: not list(tmp_path.glob("state/*")), "the end of the journal")
    assert read(other, "image") == pattern(2 * SEGMENT)


def test_what_was_not_published_then_is_removed_at_the_next_start(
    driver: SwiftDriver,
    container: Container,
    proxy: FaultProxy,
    restarted: Restarted,
    expect_log: ExpectLog,
) -> None:
    writer = _create(driver)
    write(writer, pattern(2 * SEGMENT))
    proxy.fault(method="PUT", word="multipart-manifest", reset=True, times=9)
    with pytest.raises(exceptions.RemoteServiceUnavailable):
        writer.commit(2 * SEGMENT)
    writer.abort()
    expect_log("did not say whether it published it")
    assert len(container.segments()) == 2
    driver.close()
    restarted()
    await_true(lambda: container.names() == [], "the end of the segments")


def test_segments_of_a_killed_process_are_removed_at_the_next_start(
    restarted: Restarted, container: Container
) -> None:
    first = restarted()
    add(first, "image", pattern(2 * SEGMENT, 1))
    writer = _create(first, replace=True)
    write(writer, pattern(2 * SEGMENT, 2))
    assert len(_uploads(container)) == 2
    first.close()  # as the kernel does: the journal is let go of, with the upload open in it
    restarted()
    await_true(lambda: len(_uploads(container)) == 1, "the end of the segments")
    assert read(first, "image") == pattern(2 * SEGMENT, 1)


@pytest.mark.parametrize("status", [400, 403, 413, 507])
def test_a_manifest_that_is_refused_leaves_nothing(
    driver: SwiftDriver, container: Container, proxy: FaultProxy, status: int
) -> None:
    proxy.fault(method="PUT", word="multipart-manifest", page=(status, b"no", {}), times=9)
    with pytest.raises(exceptions.GlanceStoreException):
        add(driver, "image", pattern(2 * SEGMENT))
    assert container.names() == []


def test_a_segment_that_is_refused_leaves_nothing(
    driver: SwiftDriver, container: Container, proxy: FaultProxy
) -> None:
    proxy.fault(method="PUT", word=f"{SEGMENT:016}", page=(413, b"Upload exceeds quota.", {}))
    with pytest.raises(exceptions.StorageFull, match="quota"):
        add(driver, "image", pattern(4 * SEGMENT))
    assert container.names() == []


def test_segments_are_removed_when_the_last_part_is_through(
    driver: SwiftDriver,
    container: Container,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
) -> None:
    def noted() -> int:
        return sum(len(path.read_text()) for path in tmp_path.glob("state/*"))

    def slow(pieces: list[memoryview], offset: int) -> None:
        send(pieces, offset)
        writer.abort()  # which has not that much patience
        seen.append((len(container.segments()), noted()))

    seen: list[tuple[int, int]] = []
    writer = _create(driver)
    write(writer, pattern(2 * SEGMENT))
    before = noted()
    assert before > 0
    send = writer._send
    monkeypatch.setattr(writer, "_send", slow)
    writer.pwrite(memoryview(b"late"), 2 * SEGMENT)
    assert seen == [(3, before)]
    assert container.names() == []


def test_a_late_part_takes_nothing_from_what_was_published(
    driver: SwiftDriver, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = _create(driver)
    write(writer, pattern(2 * SEGMENT))
    begin = writer._begin

    def late() -> None:
        writer.commit(2 * SEGMENT)
        begin()

    monkeypatch.setattr(writer, "_begin", late)
    with pytest.raises(exceptions.BackendException):
        writer.pwrite(memoryview(b"late"), 2 * SEGMENT)
    writer.abort()
    assert read(driver, "image") == pattern(2 * SEGMENT)
    assert len(container.segments()) == 2


def test_a_quota_is_a_full_store(driver: SwiftDriver, container: Container) -> None:
    container.ask("POST", headers={"X-Container-Meta-Quota-Bytes": "10"})
    with pytest.raises(exceptions.StorageFull, match="quota"):
        add(driver, "image", b"more than ten bytes")


def test_a_server_without_bulk_deletion(
    driver: SwiftDriver, container: Container, proxy: FaultProxy
) -> None:
    proxy.fault(method="POST", word="bulk-delete", page=(204, b"", {}), times=9)
    add(driver, "image", pattern(3 * SEGMENT))
    driver.delete(driver.locate("image"))
    assert container.names() == []
    assert len(proxy.asked("DELETE", ".segments")) == 3


def test_a_missing_container_is_told_or_made(make: Make, container: Container) -> None:
    options = {**container.options, "swift_store_container": f"{container.name}-2"}
    with pytest.raises(exceptions.BadStoreConfiguration, match="create_container_on_put"):
        add(make(**options), "image", b"bytes")
    with pytest.raises(exceptions.BadStoreConfiguration, match="create_container_on_put"):
        add(make(**options), "image", pattern(2 * SEGMENT))
    willing = make(**options, swift_store_create_container_on_put=True)
    assert list(willing.list()) == []
    add(willing, "image", pattern(2 * SEGMENT))
    assert read(willing, "image") == pattern(2 * SEGMENT)
    Container(container.account, f"{container.name}-2").remove()


def test_a_server_that_does_not_answer_is_not_waited_for_longer_than_told(
    driver: SwiftDriver, proxy: FaultProxy
) -> None:
    add(driver, "image", b"bytes")
    proxy.fault(method="PUT", word="other", latency=20)
    with pytest.raises(exceptions.TimeoutError):
        add(driver, "other", b"bytes")
