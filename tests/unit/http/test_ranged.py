# SPDX-License-Identifier: Apache-2.0
"""The ranged reader and the version it has pinned."""

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storefs import exceptions
from storefs.drivers.base import ImageInfo
from storefs.drivers.http_transport import Origin, Transport
from storefs.drivers.ranged_http import RangedHttp, Validators
from tests.servers import faulty_http as faulty
from tests.servers.faulty_http import FaultyHttp
from tests.unit.http.images import DATA, Open


def test_opening_takes_one_request_and_pins_everything(server: FaultyHttp, transport: Transport):
    reader = RangedHttp.open(transport, Origin(server.url), "image")
    assert [asked.method for asked in server.asked] == ["GET"]
    assert reader.info == ImageInfo("image", len(DATA), '"first"', 1795230000 * 10**9)
    assert reader.max_concurrency == 8


def test_a_range_is_one_request_with_if_range(server: FaultyHttp, open_image: Open):
    assert open_image().pread(1000, 5) == DATA[5:1005]
    (asked,) = server.asked
    assert asked.headers["Range"] == "bytes=5-1004"
    assert asked.headers["If-Range"] == '"first"'
    assert asked.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("etag", ['W/"first"', None])
def test_a_weak_etag_or_none_is_not_sent(server: FaultyHttp, open_image: Open, etag: str | None):
    server.etag = etag
    assert open_image().pread(1000, 5) == DATA[5:1005]
    assert "If-Range" not in server.asked[0].headers


def test_reads_beyond_the_end_ask_for_nothing(server: FaultyHttp, open_image: Open):
    reader = open_image()
    assert reader.pread(1000, len(DATA) - 10) == DATA[-10:]
    assert reader.pread(1000, len(DATA)) == b""
    assert reader.pread(1000, len(DATA) + 10) == b""
    assert reader.pread(0, 10) == b""
    assert len(server.asked) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    length=st.integers(0, len(DATA) + 10),
    offset=st.integers(0, len(DATA) + 10),
    ranges=st.booleans(),
)
def test_any_length_and_offset_is_a_slice(
    server: FaultyHttp, transport: Transport, length: int, offset: int, ranges: bool
):
    server.ranges = ranges
    with contextlib.closing(RangedHttp.open(transport, Origin(server.url), "image")) as reader:
        for start in (offset, 0, offset):
            assert reader.pread(length, start) == DATA[start : start + length]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("etag", ['"second"', 'W/"second"'])
def test_another_etag_is_a_changed_image(
    server: FaultyHttp, open_image: Open, etag: str, ranges: bool
):
    server.ranges = ranges
    reader = open_image()
    reader.pread(10, 1000)
    server.etag = etag
    with pytest.raises(exceptions.ImageChanged):
        reader.pread(10, 0)


@pytest.mark.parametrize(
    "fault",
    [
        faulty.resized,
        faulty.lying(ETag='"second"'),
        faulty.lying(ETag=None, Last_Modified="Sat, 21 Nov 2026 03:00:01 GMT"),
        faulty.answering(200, DATA, ETag='"second"'),
        faulty.answering(200, DATA[:-1]),
        faulty.answering(404),
        faulty.answering(410),
        faulty.answering(412),
        faulty.answering(416),
    ],
)
def test_an_answer_of_another_version_is_refused(
    server: FaultyHttp, open_image: Open, fault: faulty.Fault
):
    reader = open_image()
    server.next(fault)
    with pytest.raises(exceptions.ImageChanged):
        reader.pread(1000, 0)
    assert reader.pread(1000, 0) == DATA[:1000]


def test_a_weak_etag_is_the_same_version_as_the_strong_one(server: FaultyHttp, open_image: Open):
    reader = open_image()
    server.etag = 'W/"first"'
    assert reader.pread(10, 0) == DATA[:10]


def test_without_validators_there_is_no_version(server: FaultyHttp, open_image: Open):
    server.etag = server.last_modified = None
    assert open_image().info.version == ""


def test_without_an_etag_the_date_and_the_size_are_the_version(
    server: FaultyHttp, open_image: Open
):
    server.etag = None
    assert open_image().info.version == f"{server.last_modified}/{len(DATA)}"


def test_the_size_in_a_known_version_is_checked(server: FaultyHttp, transport: Transport):
    info = ImageInfo("image", 10, "v")
    reader = RangedHttp(transport, Origin(server.url), info, Validators(size=10))
    with pytest.raises(exceptions.ImageChanged):
        reader.pread(10, 0)


def test_less_than_was_asked_for_is_asked_for_again(server: FaultyHttp, open_image: Open):
    reader = open_image()
    server.next(faulty.granting(100), faulty.granting(1))
    assert reader.pread(1000, 50) == DATA[50:1050]
    assert [asked.headers["Range"] for asked in server.asked] == [
        "bytes=50-1049",
        "bytes=150-1049",
        "bytes=151-1049",
    ]


def test_more_than_was_asked_for_is_dropped(server: FaultyHttp, open_image: Open):
    reader = open_image()
    server.next(faulty.generous)
    assert reader.pread(1000, 50) == DATA[50:1050]
    assert reader.pread(1000, 0) == DATA[:1000]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("fault", [faulty.chunked(7000), faulty.unframed])
def test_a_body_without_a_length(
    server: FaultyHttp, open_image: Open, fault: faulty.Fault, ranges: bool
):
    server.ranges = ranges
    server.always = fault
    reader = open_image()
    assert reader.info.size == (len(DATA) if ranges else None)
    assert reader.pread(1000, 50) == DATA[50:1050]
    assert reader.pread(2 * len(DATA), 10) == DATA[10:]
    assert reader.pread(10, len(DATA)) == b""
    assert reader.info.size == len(DATA)


def test_an_empty_image(server: FaultyHttp, open_image: Open):
    server.data = b""
    for fault in (
        faulty.honest,
        faulty.answering(416, Content_Range="bytes */0"),
        faulty.answering(200, b""),
    ):
        server.next(fault)
        reader = open_image()
        assert reader.info.size == 0
        assert reader.pread(10, 0) == b""
        assert server.asked == []


@pytest.mark.parametrize("told", [{}, {"Content_Range": "bytes */5"}])
def test_a_refused_first_byte_is_no_empty_image(
    server: FaultyHttp, open_image: Open, told: dict[str, str]
):
    server.next(faulty.answering(416, **told))
    reader = open_image()
    assert reader.pread(len(DATA) + 1, 0) == DATA


def test_a_size_that_is_not_told_with_a_range(server: FaultyHttp, open_image: Open):
    server.next(faulty.unsized)
    reader = open_image()
    assert (reader.info.size, reader.max_concurrency) == (None, 1)
    assert reader.pread(10, len(DATA) - 5) == DATA[-5:]
    assert reader.info.size == len(DATA)
