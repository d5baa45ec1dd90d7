# SPDX-License-Identifier: Apache-2.0
"""The http driver against Debian's nginx, which is stopped and started, too."""

import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storefs import exceptions
from tests.servers import faulty_http as faulty
from tests.servers.faulty_http import FaultyHttp
from tests.servers.nginx import Nginx
from tests.servers.process import free_port
from tests.unit.http.images import DATA, MTIME, Make, at, put, read


@pytest.mark.parametrize("path", ["images", "norange", "chunked", "nohead"])
def test_every_kind_of_location_reads_the_same(nginx: Nginx, make: Make, path: str):
    assert read(make(), f"{nginx.url}/{path}/image") == DATA


def test_head_tells_what_opening_does(nginx: Nginx, make: Make):
    driver = make()
    info = driver.stat(at(f"{nginx.url}/images/image"))
    assert (info.size, info.mtime_ns) == (len(DATA), MTIME * 10**9)
    assert [request.method for request in nginx.requests()] == ["HEAD"]
    for path in ("images", "nohead", "norange"):
        url = f"{nginx.url}/{path}/image"
        with contextlib.closing(driver.open(at(url))) as reader:
            assert driver.stat(at(url)).version == reader.info.version == info.version


@pytest.mark.parametrize("status", [400, 403, 405, 501])
def test_a_refused_head_is_asked_as_get(make: Make, status: int):
    with contextlib.closing(FaultyHttp(DATA)) as server:
        server.next(faulty.answering(status))
        assert make().stat(at(server.url)).size == len(DATA)
        assert [asked.method for asked in server.asked] == ["HEAD", "GET"]


@pytest.mark.parametrize("length", [None, "0"])
def test_a_head_that_lies_is_asked_as_get(make: Make, length: str | None):
    with contextlib.closing(FaultyHttp(DATA)) as server:
        server.next(faulty.lying(Content_Length=length))
        assert make().stat(at(server.url)).size == len(DATA)


@pytest.mark.parametrize(("status", "error"), [(404, exceptions.NotFound), (503, None)])
def test_other_refusals_of_head_count(make: Make, status: int, error: type[Exception] | None):
    with contextlib.closing(FaultyHttp(DATA)) as server:
        server.next(faulty.answering(status))
        if error is None:  # busy for a moment
            assert make().stat(at(server.url)).size == len(DATA)
            return
        with pytest.raises(error):
            make().stat(at(server.url))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(length=st.integers(1, len(DATA) + 10), offset=st.integers(0, len(DATA) + 10))
def test_any_length_and_offset_is_a_slice(nginx: Nginx, make: Make, length: int, offset: int):
    with contextlib.closing(make().open(at(f"{nginx.url}/images/image"))) as reader:
        assert reader.pread(length, offset) == DATA[offset : offset + length]


def test_connections_are_kept_and_used_again(nginx: Nginx, make: Make):
    driver = make(http_store_max_connections=4)
    for _ in range(5):
        with contextlib.closing(driver.open(at(f"{nginx.url}/images/image"))) as reader:
            for offset in range(0, 100_000, 5000):
                reader.pread(5000, offset)
        driver.stat(at(f"{nginx.url}/images/image"))
    requests = nginx.requests()
    assert len(requests) == 5 * 22
    assert len({request.connection for request in requests}) == 1


def test_more_threads_than_connections_are_kept_read_without_a_warning(nginx: Nginx, make: Make):
    driver = make(http_store_max_connections=2)
    with (
        contextlib.closing(driver.open(at(f"{nginx.url}/images/image"))) as reader,
        ThreadPoolExecutor(16) as threads,
    ):
        assert reader.max_concurrency == 2
        for offset, data in zip(
            range(0, len(DATA), 10_000),
            threads.map(lambda offset: reader.pread(10_000, offset), range(0, len(DATA), 10_000)),
            strict=True,
        ):
            assert data == DATA[offset : offset + 10_000]


@pytest.mark.parametrize("path", ["images", "norange", "chunked"])
def test_threads_share_a_reader(nginx: Nginx, make: Make, path: str):
    offsets = [(number * 7919) % len(DATA) for number in range(64)]
    with (
        contextlib.closing(make().open(at(f"{nginx.url}/{path}/image"))) as reader,
        ThreadPoolExecutor(8) as threads,
    ):
        read = list(threads.map(lambda offset: bytes(reader.pread(5000, offset)), offsets))
    assert read == [DATA[offset : offset + 5000] for offset in offsets]


def test_a_replaced_image_is_changed_and_never_a_mix(nginx: Nginx, make: Make):
    driver = make()
    url = f"{nginx.url}/images/image"
    with contextlib.closing(driver.open(at(url))) as reader:
        assert reader.pread(1000, 0) == DATA[:1000]
        put(nginx, bytes(len(DATA)), MTIME + 7)
        for offset in (0, 1000):
            with pytest.raises(exceptions.ImageChanged):
                reader.pread(1000, offset)
    last = nginx.requests()[-1]
    assert (last.status, last.if_range) != ("206", "-")
    assert read(driver, url) == bytes(len(DATA))


def test_a_removed_image_is_changed_for_its_readers(nginx: Nginx, make: Make):
    driver = make()
    with contextlib.closing(driver.open(at(f"{nginx.url}/images/image"))) as reader:
        (nginx.images / "image").unlink()
        with pytest.raises(exceptions.ImageChanged):
            reader.pread(1000, 0)
    with pytest.raises(exceptions.NotFound):
        driver.open(at(f"{nginx.url}/images/image"))
    with pytest.raises(exceptions.NotFound):
        driver.stat(at(f"{nginx.url}/images/image"))


def test_a_restart_between_two_reads_is_not_noticed(nginx: Nginx, make: Make):
    with contextlib.closing(make().open(at(f"{nginx.url}/images/image"))) as reader:
        assert reader.pread(1000, 0) == DATA[:1000]
        nginx.stop()
        nginx.start()
        assert reader.pread(1000, 1000) == DATA[1000:2000]


def test_a_stopped_server_is_an_error_until_it_is_back(nginx: Nginx, make: Make):
    driver = make()
    with contextlib.closing(driver.open(at(f"{nginx.url}/images/image"))) as reader:
        nginx.stop()
        with pytest.raises(exceptions.RemoteServiceUnavailable, match=r"localhost.*refused"):
            reader.pread(1000, 0)
        with pytest.raises(exceptions.RemoteServiceUnavailable):
            driver.stat(at(f"{nginx.url}/images/image"))
        nginx.start()
        assert reader.pread(1000, 0) == DATA[:1000]


@pytest.mark.parametrize("path", ["slow", "drip"])
def test_a_server_stopped_in_the_middle_of_a_read(nginx: Nginx, make: Make, path: str):
    driver = make()
    with (
        contextlib.closing(driver.open(at(f"{nginx.url}/{path}/image"))) as reader,
        ThreadPoolExecutor(1) as threads,
    ):
        assert reader.pread(1000, 0) == DATA[:1000]  # from a body that goes on, if it drips
        rest = threads.submit(reader.pread, len(DATA), 1000)  # takes seconds, if let be
        nginx.stop()
        with pytest.raises(exceptions.RemoteServiceUnavailable):
            rest.result(60)
        nginx.start()
        assert reader.pread(1000, 0) == DATA[:1000]


def test_nothing_listens(make: Make):
    url = f"http://127.0.0.1:{free_port()}/image"
    with pytest.raises(exceptions.RemoteServiceUnavailable, match=r"Cannot connect.*refused"):
        make().open(at(url))


def test_no_such_host(make: Make):
    with pytest.raises(exceptions.RemoteServiceUnavailable, match=r"host\.invalid"):
        make().open(at("http://host.invalid/image"))


def test_a_connection_nobody_accepts_is_a_time_out(make: Make):
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):  # the queue of connections is full now
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        driver = make(http_store_connect_timeout=0.2)
        with pytest.raises(exceptions.TimeoutError, match=r"0\.2 seconds"):
            driver.open(at(f"http://127.0.0.1:{full.getsockname()[1]}/image"))


def test_a_silent_server_is_a_time_out(make: Make):
    with contextlib.closing(FaultyHttp(DATA)) as server:
        server.always = faulty.silent
        driver = make(http_store_read_timeout=0.2)
        for call in (driver.stat, driver.open):
            with pytest.raises(exceptions.TimeoutError, match=r"0\.2 seconds"):
                call(at(server.url))
