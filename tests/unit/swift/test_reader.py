# SPDX-License-Identifier: Apache-2.0
"""Reading: ranges of one version of plain and large objects, to the last byte or an error."""

import contextlib

import pytest

from storefs import exceptions
from storefs.drivers.swift import SwiftDriver
from tests.contract.images import add, pattern, read
from tests.servers.fault_proxy import FaultProxy
from tests.servers.swift_client import Container

PIECES = [pattern(100_000, 1), pattern(50_000, 2), pattern(7, 3)]
WHOLE = b"".join(PIECES)

KINDS = ["plain", "static", "dynamic"]


def _seed(container: Container, kind: str, pieces: list[bytes] = PIECES) -> None:
    if kind == "plain":
        container.put("image", b"".join(pieces))
    elif kind == "static":
        container.put_static("image", pieces)
    else:
        container.put_dynamic("image", pieces)


@pytest.mark.parametrize("kind", KINDS)
def test_ranges_of_every_kind_of_object(
    driver: SwiftDriver, container: Container, kind: str
) -> None:
    _seed(container, kind)
    assert read(driver, "image") == WHOLE
    with contextlib.closing(driver.open(driver.locate("image"))) as reader:
        assert reader.info.size == len(WHOLE)
        for offset, length in [(99_990, 20), (0, 1), (149_999, 100), (100_000, 50_000)]:
            assert bytes(reader.pread(length, offset)) == WHOLE[offset : offset + length]


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_breaks_off_goes_on_from_the_byte_reached(
    driver: SwiftDriver, container: Container, proxy: FaultProxy, kind: str
) -> None:
    _seed(container, kind)
    with contextlib.closing(driver.open(driver.locate("image"))) as reader:
        proxy.requests.clear()
        proxy.fault(method="GET", word="image", cut=120_000)
        assert bytes(reader.pread(len(WHOLE), 0)) == WHOLE
    assert len(proxy.asked("GET", "image")) >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_another_version_is_never_mixed_in(
    driver: SwiftDriver, container: Container, kind: str
) -> None:
    _seed(container, kind)
    with contextlib.closing(driver.open(driver.locate("image"))) as reader:
        assert bytes(reader.pread(10, 0)) == WHOLE[:10]
        _seed(container, kind, [pattern(100_000, 4), *PIECES[1:]])
        with pytest.raises(exceptions.ImageChanged):
            reader.pread(10, 0)
        with pytest.raises(exceptions.ImageChanged):
            reader.pread(10, 120_000)


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_a_missing_segment_is_an_error_and_not_the_end(
    driver: SwiftDriver, container: Container, kind: str
) -> None:
    _seed(container, kind)
    with contextlib.closing(driver.open(driver.locate("image"))) as reader:
        segment = [name for name in container.names() if name.endswith("1")][-1]
        container.delete(segment)
        with pytest.raises(exceptions.GlanceStoreException):
            reader.pread(len(WHOLE), 0)


def test_a_server_that_is_restarted_is_waited_for(
    driver: SwiftDriver, container: Container, proxy: FaultProxy
) -> None:
    """A connection that is refused just after an answer is tried again."""
    add(driver, "image", WHOLE)
    with contextlib.closing(driver.open(driver.locate("image"))) as reader:
        proxy.fault(method="GET", word="image", reset=True, times=2)
        assert bytes(reader.pread(10, 0)) == WHOLE[:10]


def test_a_server_that_is_busy_is_asked_again(
    driver: SwiftDriver, container: Container, proxy: FaultProxy
) -> None:
    container.put("image", WHOLE)
    for status in (429, 498, 503):
        proxy.fault(word="image", page=(status, b"", {}))
        assert driver.stat(driver.locate("image")).size == len(WHOLE)


def test_retries_can_be_added(driver: SwiftDriver) -> None:
    assert len(driver._accounts.transport.settings.back_off) == 3
