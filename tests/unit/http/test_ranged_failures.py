# SPDX-License-Identifier: Apache-2.0
"""The ranged reader without ranges, and when servers break off, refuse or stop."""

import time

import pytest

from storefs import exceptions
from storefs.drivers.http_transport import Transport
from tests.servers import faulty_http as faulty
from tests.servers.faulty_http import FaultyHttp
from tests.unit.http.images import DATA, HASTY, Open


def test_a_server_without_ranges_is_read_on_and_asked_anew_for_what_lies_behind(
    server: FaultyHttp, open_image: Open
):
    server.ranges = False
    reader = open_image()
    assert (reader.info.size, reader.max_concurrency) == (len(DATA), 1)
    assert reader.pread(1000, 0) == DATA[:1000]
    assert reader.pread(1000, 1000) == DATA[1000:2000]
    assert reader.pread(1000, 200_000) == DATA[200_000:201_000]
    assert server.asked == []  # all of it was the answer to opening
    assert reader.pread(1000, 5) == DATA[5:1005]
    assert reader.pread(len(DATA), 0) == DATA
    assert reader.pread(10, 77) == DATA[77:87]
    assert len(server.asked) == 3
    assert all("Range" not in asked.headers for asked in server.asked)


def test_a_server_may_begin_to_ignore_ranges(server: FaultyHttp, open_image: Open):
    reader = open_image()
    assert reader.pread(10, 5) == DATA[5:15]
    server.ranges = False
    assert reader.pread(1000, 50) == DATA[50:1050]
    assert reader.max_concurrency == 1
    assert reader.pread(1000, 1050) == DATA[1050:2050]
    assert len(server.asked) == 2


@pytest.mark.parametrize("reset", [True, False])
def test_a_body_without_ranges_that_breaks_is_asked_for_anew(
    server: FaultyHttp, open_image: Open, no_waits: list[float], reset: bool
):
    server.ranges = False
    server.next(faulty.cut(100_000, reset=reset), faulty.cut(290_000, reset=reset))
    reader = open_image()
    assert reader.pread(len(DATA), 0) == DATA
    assert len(server.asked) == 2


def test_a_cut_chunked_body_is_an_error_and_no_end(
    server: FaultyHttp, open_image: Open, no_waits: list[float]
):
    server.ranges = False
    server.always = faulty.chunked(7000, cut_after=3)
    reader = open_image()
    assert reader.pread(20_000, 0) == DATA[:20_000]
    with pytest.raises(exceptions.RemoteServiceUnavailable):
        reader.pread(20_000, 20_000)
    assert reader.info.size is None


def test_an_unframed_body_that_ends_before_the_known_size_is_cut(
    server: FaultyHttp, open_image: Open, no_waits: list[float]
):
    server.ranges = False
    reader = open_image()
    assert reader.pread(1000, 1000) == DATA[1000:2000]
    server.next(faulty.unframed_until(100))
    assert reader.pread(1000, 0) == DATA[:1000]
    server.always = faulty.unframed_until(100)
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="ended after 100 of 300000"):
        reader.pread(1000, 0)


@pytest.mark.parametrize("reset", [True, False])
def test_a_cut_range_goes_on_from_the_byte_reached(
    server: FaultyHttp, open_image: Open, no_waits: list[float], reset: bool
):
    reader = open_image()
    server.next(*[faulty.cut(20_000, reset=reset)] * 12)
    assert reader.pread(len(DATA), 0) == DATA
    if not reset:  # a reset may throw away what was on its way
        offsets = [int(asked.headers["Range"][6:].split("-")[0]) for asked in server.asked]
        assert offsets == [20_000 * number for number in range(13)]


def test_three_more_attempts_without_progress_are_enough(
    server: FaultyHttp, open_image: Open, no_waits: list[float]
):
    reader = open_image()
    server.next(faulty.cut(10))
    server.always = faulty.cut(0)
    with pytest.raises(exceptions.RemoteServiceUnavailable, match=r"127\.0\.0\.1"):
        reader.pread(1000, 0)
    assert len(server.asked) == 4
    assert no_waits == [0.05, 0.2, 0.8]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(
    "fault",
    [
        faulty.answering(503),
        faulty.answering(429),
        faulty.answering(500),
        faulty.answering(502, b"x" * 200_000),
        faulty.hanging_up,
    ],
)
def test_a_burst_of_failures_is_outlived(
    server: FaultyHttp,
    open_image: Open,
    no_waits: list[float],
    fault: faulty.Fault,
    ranges: bool,
):
    server.ranges = ranges
    reader = open_image()
    reader.pread(1000, 1000)
    server.next(fault, fault, fault)
    assert reader.pread(1000, 0) == DATA[:1000]
    server.always = fault
    with pytest.raises(exceptions.RemoteServiceUnavailable):
        open_image()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, exceptions.Forbidden),
        (403, exceptions.Forbidden),
        (400, exceptions.BadStoreUri),
        (451, exceptions.BadStoreUri),
        (204, exceptions.RemoteServiceUnavailable),
        (304, exceptions.RemoteServiceUnavailable),
        (501, exceptions.RemoteServiceUnavailable),
    ],
)
def test_an_error_page_is_no_image(
    server: FaultyHttp, open_image: Open, status: int, error: type[Exception]
):
    reader = open_image()
    server.always = faulty.answering(status, b"" if status in {204, 304} else b"page")
    with pytest.raises(error, match=str(status)):
        reader.pread(1000, 0)
    with pytest.raises(error, match=str(status)):
        open_image()


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_not_found(server: FaultyHttp, open_image: Open, status: int):
    server.always = faulty.answering(status)
    with pytest.raises(exceptions.NotFound):
        open_image()


@pytest.mark.parametrize("fault", [faulty.shifted, faulty.lying(Content_Range="pages 1-2/3")])
def test_another_range_than_asked_for_is_no_data(
    server: FaultyHttp, open_image: Open, fault: faulty.Fault
):
    reader = open_image()
    server.next(fault)
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="another range"):
        reader.pread(1000, 0)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(
    "fault", [faulty.silent, faulty.stalling(0), faulty.stalling(70), faulty.trickling(0.01)]
)
def test_a_server_that_stops_or_trickles_is_a_time_out(
    server: FaultyHttp, open_image: Open, hasty: Transport, fault: faulty.Fault, ranges: bool
):
    server.ranges = ranges
    reader = open_image(over=hasty)
    reader.pread(10, 1000)
    server.asked.clear()
    server.next(fault)
    with pytest.raises(exceptions.TimeoutError, match=str(HASTY)):
        reader.pread(100_000, 0)
    assert len(server.asked) == 1  # a time-out is not tried again
    assert reader.pread(1000, 0) == DATA[:1000]


def test_headers_that_trickle_are_a_time_out(
    server: FaultyHttp, open_image: Open, hasty: Transport
):
    server.next(faulty.trickling_head(0.01))
    with pytest.raises(exceptions.TimeoutError):
        open_image(over=hasty)


def test_a_reader_that_takes_its_time_is_not_punished(
    server: FaultyHttp, open_image: Open, hasty: Transport
):
    server.ranges = False
    reader = open_image(over=hasty)
    for offset in range(0, 9000, 3000):
        assert reader.pread(3000, offset) == DATA[offset : offset + 3000]
        time.sleep(HASTY / 2)
    assert server.asked == []
