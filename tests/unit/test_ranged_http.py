# SPDX-License-Identifier: Apache-2.0
"""The ranged reader against a server that does everything wrong, and one that does not."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storefs import exceptions
from storefs.drivers import http_transport
from storefs.drivers.base import ImageInfo
from storefs.drivers.http_pool import HttpSettings
from storefs.drivers.http_transport import Origin, Transport
from storefs.drivers.ranged_http import RangedHttp, Validators
from tests.servers import faulty_http as faulty
from tests.servers.faulty_http import FaultyHttp

DATA = random.Random(3).randbytes(300_000)

#: After this a stalled server is noticed by those who are hasty, seconds.
HASTY = 0.5

Open = Callable[..., RangedHttp]


@pytest.fixture
def server() -> Iterator[FaultyHttp]:
    with contextlib.closing(FaultyHttp(DATA)) as server:
        yield server


@pytest.fixture
def transport() -> Iterator[Transport]:
    with contextlib.closing(Transport(HttpSettings())) as transport:
        yield transport


@pytest.fixture
def hasty() -> Iterator[Transport]:
    with contextlib.closing(Transport(HttpSettings(read_timeout=HASTY))) as transport:
        yield transport


@pytest.fixture
def open_image(server: FaultyHttp, transport: Transport) -> Iterator[Open]:
    """``open_image()``: a reader of the server's image; requests are counted from then on."""
    with contextlib.ExitStack() as stack:

        def opened(origin: Origin | None = None, over: Transport = transport) -> RangedHttp:
            reader = RangedHttp.open(over, origin or Origin(server.url), "image")
            stack.enter_context(contextlib.closing(reader))
            server.asked.clear()
            return reader

        yield opened


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, not waited for."""
    waits: list[float] = []
    monkeypatch.setattr(http_transport.time, "sleep", waits.append)
    return waits


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


# -- another version ---------------------------------------------------------------------------


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


def test_without_validators_every_open_is_a_version_of_its_own(
    server: FaultyHttp, open_image: Open
):
    server.etag = server.last_modified = None
    assert open_image().info.version != open_image().info.version


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


# -- what a server may do ----------------------------------------------------------------------


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


def test_a_refused_first_byte_is_no_empty_image(server: FaultyHttp, open_image: Open):
    server.next(faulty.answering(416))
    reader = open_image()
    assert reader.pread(len(DATA) + 1, 0) == DATA


def test_a_size_that_is_not_told_with_a_range(server: FaultyHttp, open_image: Open):
    server.next(faulty.unsized)
    reader = open_image()
    assert (reader.info.size, reader.max_concurrency) == (None, 1)
    assert reader.pread(10, len(DATA) - 5) == DATA[-5:]
    assert reader.info.size == len(DATA)


# -- sequential --------------------------------------------------------------------------------


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


# -- broken off --------------------------------------------------------------------------------


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


# -- too slow ----------------------------------------------------------------------------------


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


# -- where to ask ------------------------------------------------------------------------------


def test_urls_and_headers_are_asked_for_with_each_request(
    server: FaultyHttp, open_image: Open, transport: Transport
):
    numbers = iter(range(100))
    origin = Origin(
        lambda: f"{server.url}?signature={next(numbers)}",
        headers=lambda: {"X-Auth-Token": f"token-{next(numbers)}"},
    )
    reader = open_image(origin)
    reader.pread(10, 0)
    reader.pread(10, 0)
    assert [asked.path for asked in server.asked] == ["/image?signature=2", "/image?signature=4"]
    assert [asked.headers["X-Auth-Token"] for asked in server.asked] == ["token-3", "token-5"]
    assert "signature" not in repr(origin)


def test_refused_headers_are_renewed_once(server: FaultyHttp, open_image: Open):
    renewals: list[bool] = []

    def renew() -> bool:
        renewals.append(True)
        return True

    reader = open_image(Origin(server.url, renew=renew))
    server.next(faulty.answering(401))
    assert reader.pread(10, 0) == DATA[:10]
    server.next(faulty.answering(401), faulty.answering(401))
    with pytest.raises(exceptions.Forbidden):
        reader.pread(10, 0)
    assert len(renewals) == 2


def test_where_a_redirect_led_is_remembered_until_it_fails(server: FaultyHttp, open_image: Open):
    redirect = faulty.answering(302, Location="/mirror?expires=soon")
    server.next(redirect)
    reader = open_image()
    assert reader.pread(10, 0) == DATA[:10]
    assert [asked.path for asked in server.asked] == ["/mirror?expires=soon"]
    server.asked.clear()
    server.next(faulty.answering(403), faulty.answering(302, Location="/mirror?expires=later"))
    assert reader.pread(10, 0) == DATA[:10]
    assert reader.pread(10, 0) == DATA[:10]
    assert [asked.path for asked in server.asked] == [
        "/mirror?expires=soon",
        "/image",
        "/mirror?expires=later",
        "/mirror?expires=later",
    ]


def test_a_mirror_that_dies_is_left(server: FaultyHttp, open_image: Open):
    with contextlib.closing(FaultyHttp(DATA)) as mirror:
        server.next(faulty.answering(307, Location=mirror.url))
        reader = open_image()
        assert reader.pread(10, 5) == DATA[5:15]
        assert len(mirror.asked) == 2
    assert reader.pread(10, 5) == DATA[5:15]
    assert [asked.path for asked in server.asked] == ["/image"]


def test_the_body_of_a_redirect_does_not_cost_the_connection(
    server: FaultyHttp, open_image: Open, transport: Transport
):
    server.next(faulty.answering(302, b"moved" * 1000, Location="/mirror"))
    open_image().pread(10, 0)
    pools = transport.pools(server.url)
    assert pools.connection_from_url(server.url).num_connections == 1


def test_credentials_go_to_their_own_server_alone(server: FaultyHttp, open_image: Open):
    with contextlib.closing(FaultyHttp(DATA)) as other:
        server.next(faulty.answering(302, Location="/here"))
        server.always = faulty.answering(302, Location=other.url)
        origin = Origin(
            server.url.replace("//", "//us%20er:p%40ss@"), headers=lambda: {"X-Auth-Token": "t"}
        )
        reader = RangedHttp.open(Transport(HttpSettings()), origin, "image")
        assert reader.pread(10, 0) == DATA[:10]
        for asked in server.asked:
            assert asked.headers["Authorization"] == "Basic dXMgZXI6cEBzcw=="
            assert asked.headers["X-Auth-Token"] == "t"
        assert len(other.asked) == 2
        for asked in other.asked:
            assert "Authorization" not in asked.headers
            assert "X-Auth-Token" not in asked.headers
        assert "p%40ss" not in repr(origin)


@pytest.mark.parametrize("location", ["ftp://host/image", "http://[::bad/", "mailto:a@b"])
def test_a_redirect_to_nowhere_is_an_error(server: FaultyHttp, open_image: Open, location: str):
    server.next(faulty.answering(302, Location=location))
    with pytest.raises(exceptions.BadStoreUri):
        open_image()


def test_a_redirect_without_a_location_is_an_error(server: FaultyHttp, open_image: Open):
    server.next(faulty.answering(302))
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="302"):
        open_image()
