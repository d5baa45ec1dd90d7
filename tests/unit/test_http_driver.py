# SPDX-License-Identifier: Apache-2.0
"""The http driver against Debian's nginx: TLS, proxies, redirects, and servers that go away."""

import contextlib
import os
import pathlib
import random
import socket
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storefs import exceptions
from storefs.drivers import http_listing
from storefs.drivers.base import ImageInfo, SupportsAdd, SupportsDelete
from storefs.drivers.http import HttpDriver
from storefs.drivers.http_location import HttpLocation
from tests.conftest import ExpectLog
from tests.contract.harnesses import options_of
from tests.servers import faulty_http as faulty
from tests.servers.faulty_http import FaultyHttp
from tests.servers.forward_proxy import ForwardProxy
from tests.servers.nginx import PASSWORD, USER, Nginx
from tests.servers.process import free_port

DATA = random.Random(5).randbytes(1_500_000)
MTIME = 1_700_000_000

Make = Callable[..., HttpDriver]


@pytest.fixture(scope="module")
def shared_nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    nginx = Nginx(tmp_path_factory.mktemp("nginx"))
    nginx.start()
    yield nginx
    nginx.stop()


@pytest.fixture
def nginx(shared_nginx: Nginx) -> Nginx:
    """With one image, ``image``, and nothing asked yet."""
    put(shared_nginx, DATA, MTIME)
    shared_nginx.start()
    shared_nginx.forget_requests()
    return shared_nginx


def put(nginx: Nginx, data: bytes, mtime: int) -> None:
    other = nginx.images / "other"
    other.write_bytes(data)
    os.utime(other, (mtime, mtime))
    other.rename(nginx.images / "image")


@pytest.fixture
def make(tmp_path: pathlib.Path) -> Iterator[Make]:
    """``make(option=value)``: a driver, closed at the end."""
    with contextlib.ExitStack() as stack:

        def made(**values: Any) -> HttpDriver:
            values.setdefault("http_store_catalog", str(tmp_path / "catalog"))
            driver = HttpDriver(options_of(HttpDriver, **values), "web")
            return stack.enter_context(contextlib.closing(driver))

        yield made


def at(url: str) -> HttpLocation:
    location = HttpLocation(None)
    location.parse_uri(url)
    return location


def read(driver: HttpDriver, url: str) -> bytes:
    with contextlib.closing(driver.open(at(url))) as reader:
        size = reader.info.size or len(DATA) + 1
        data = bytes(reader.pread(size, 0))
    assert driver.stat(at(url)).size in {len(data), None}
    return data


# -- reading -----------------------------------------------------------------------------------


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


# -- servers that go away ----------------------------------------------------------------------


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


def test_a_server_stopped_in_the_middle_of_a_read(nginx: Nginx, make: Make):
    driver = make()
    with (
        contextlib.closing(driver.open(at(f"{nginx.url}/slow/image"))) as reader,
        ThreadPoolExecutor(1) as threads,
    ):
        whole = threads.submit(reader.pread, len(DATA), 0)  # takes 23 seconds, if let be
        with socket.create_connection(("localhost", urllib.parse.urlsplit(nginx.url).port)):
            nginx.stop()
        with pytest.raises(exceptions.RemoteServiceUnavailable):
            whole.result(60)
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


# -- redirects ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["abs", "rel"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_redirect_is_followed_and_remembered(
    nginx: Nginx, make: Make, status: int, kind: str
):
    url = f"{nginx.url}/r{status}/{kind}/image"
    with contextlib.closing(make().open(at(url))) as reader:
        assert reader.pread(1000, 5) == DATA[5:1005]
        assert reader.pread(1000, 7) == DATA[7:1007]
    assert [request.uri for request in nginx.requests()] == [
        f"/r{status}/{kind}/image",
        *["/images/image"] * 3,
    ]
    assert make().stat(at(url)).size == len(DATA)


def test_five_redirects_are_enough(nginx: Nginx, make: Make):
    assert read(make(), f"{nginx.url}/hops5/image") == DATA
    with pytest.raises(exceptions.MaxRedirectsExceeded, match="5"):
        make().open(at(f"{nginx.url}/hops6/image"))
    assert read(make(http_store_max_redirects=6), f"{nginx.url}/hops6/image") == DATA
    with pytest.raises(exceptions.MaxRedirectsExceeded):
        make(http_store_max_redirects=0).stat(at(f"{nginx.url}/hops1/image"))


def test_a_loop_ends(nginx: Nginx, make: Make):
    with pytest.raises(exceptions.MaxRedirectsExceeded):
        make().open(at(f"{nginx.url}/loop/image"))
    assert len(nginx.requests()) == 6


def test_https_does_not_lead_to_http_unless_told_so(nginx: Nginx, make: Make):
    driver = make(https_ca_certificates_file=str(nginx.authority))
    with pytest.raises(exceptions.Forbidden, match="not encrypted"):
        driver.open(at(f"{nginx.tls_url}/plain/image"))
    assert read(driver, f"{nginx.url}/tls/image") == DATA
    assert read(make(https_insecure=True), f"{nginx.tls_url}/plain/image") == DATA


def test_credentials_stay_with_their_host(nginx: Nginx, make: Make):
    credentials = f"{urllib.parse.quote(USER)}:{urllib.parse.quote(PASSWORD, safe='')}"
    driver = make()
    url = nginx.url.replace("//", f"//{credentials}@")
    assert read(driver, f"{url}/auth/image") == DATA
    assert {request.authorization for request in nginx.requests()} != {"-"}
    nginx.forget_requests()
    assert read(driver, f"{url}/other/image") == DATA
    by_host = {request.host.split(":")[0]: request.authorization for request in nginx.requests()}
    assert by_host["127.0.0.1"] == "-"
    assert by_host["localhost"].startswith("Basic ")


def test_credentials_are_never_shown(
    nginx: Nginx, make: Make, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("DEBUG")
    driver = make(https_ca_certificates_file=str(nginx.authority))
    shown = []
    for base in (nginx.url, nginx.tls_url, f"http://127.0.0.1:{free_port()}"):
        for path in ("auth/image", "auth/none", "loop/image", "plain/image"):
            url = base.replace("//", "//user:secret-word@") + f"/{path}"
            location = at(url)
            shown += [repr(location), location.safe_uri(), repr(driver)]
            for call in (driver.stat, driver.open):
                try:
                    shown.append(repr(call(location)))
                except exceptions.GlanceStoreException as exc:
                    shown += [str(exc), repr(exc), str(exc.__cause__)]
    assert len(shown) > 40
    assert "secret-word" not in "".join(shown)
    assert "secret-word" not in caplog.text
    assert "secret-word" in at("http://user:secret-word@host/").get_uri()


def test_wrong_credentials_are_forbidden(nginx: Nginx, make: Make):
    with pytest.raises(exceptions.Forbidden, match="401"):
        make().open(at(f"{nginx.url}/auth/image"))
    with pytest.raises(exceptions.Forbidden, match="401"):
        make().stat(at(nginx.url.replace("//", "//user:no@") + "/auth/image"))


# -- certificates ------------------------------------------------------------------------------


def test_a_certificate_is_verified(nginx: Nginx, make: Make, monkeypatch: pytest.MonkeyPatch):
    for trap in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(trap, str(nginx.authority))
    for call in (make().open, make().stat):
        with pytest.raises(
            exceptions.RemoteServiceUnavailable, match=r"not trusted.*https_ca_certificates_file"
        ):
            call(at(f"{nginx.tls_url}/images/image"))


def test_the_authority_of_a_certificate_can_be_named(nginx: Nginx, make: Make):
    driver = make(https_ca_certificates_file=str(nginx.authority))
    assert read(driver, f"{nginx.tls_url}/images/image") == DATA


def test_a_certificate_is_for_its_host(nginx: Nginx, make: Make):
    driver = make(https_ca_certificates_file=str(nginx.authority))
    url = nginx.tls_url.replace("localhost", "127.0.0.1")
    with pytest.raises(exceptions.RemoteServiceUnavailable, match=r"127\.0\.0\.1"):
        driver.open(at(f"{url}/images/image"))


def test_verification_can_be_turned_off(nginx: Nginx, make: Make):
    url = nginx.tls_url.replace("localhost", "127.0.0.1")
    assert read(make(https_insecure=True), f"{url}/images/image") == DATA


def test_a_named_authority_wins_over_insecure(nginx: Nginx, make: Make):
    driver = make(https_insecure=True, https_ca_certificates_file=str(nginx.authority))
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="not trusted"):
        driver.open(at(nginx.tls_url.replace("localhost", "127.0.0.1") + "/images/image"))


def test_tls_with_a_plain_server_is_an_error(nginx: Nginx, make: Make):
    url = nginx.url.replace("http:", "https:")
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="localhost"):
        make().open(at(f"{url}/images/image"))


@pytest.mark.parametrize("content", [None, "", "no certificate\n"])
def test_a_bad_file_of_authorities_is_told(make: Make, tmp_path: pathlib.Path, content: str | None):
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(exceptions.BadStoreConfiguration, match="https_ca_certificates_file"):
        make(https_ca_certificates_file=str(file))


# -- proxies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "http://", "http://user:secret-word@"])
def test_a_proxy_is_used(nginx: Nginx, make: Make, prefix: str):
    with ForwardProxy().serving() as proxy:
        address = f"{prefix}{proxy.address}"
        driver = make(
            http_proxy_information={"http": address, "https": address},
            https_ca_certificates_file=str(nginx.authority),
        )
        assert read(driver, f"{nginx.url}/images/image") == DATA
        assert read(driver, f"{nginx.tls_url}/images/image") == DATA
        plain, tunnel = proxy.heads
        assert plain.startswith(f"GET {nginx.url}/images/image HTTP/1.1")
        assert tunnel.startswith(f"CONNECT {nginx.tls_url.removeprefix('https://')} HTTP/1.")
        for head in proxy.heads:
            assert ("proxy-authorization: basic" in head.lower()) == ("@" in prefix)


def test_a_proxy_is_for_its_scheme_and_not_from_the_environment(
    nginx: Nginx, make: Make, monkeypatch: pytest.MonkeyPatch
):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with ForwardProxy().serving() as proxy:
        driver = make(http_proxy_information={"https": proxy.address})
        assert read(driver, f"{nginx.url}/images/image") == DATA
        assert proxy.heads == []


def test_a_dead_proxy_is_told(nginx: Nginx, make: Make):
    driver = make(http_proxy_information={"http": f"user:secret-word@127.0.0.1:{free_port()}"})
    with pytest.raises(exceptions.RemoteServiceUnavailable) as caught:
        driver.open(at(f"{nginx.url}/images/image"))
    assert "http_proxy_information" in str(caught.value)
    assert "secret-word" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize(
    "proxies", [{"ftp": "host:1"}, {"http": "http://"}, {"http": "socks://host:1"}, {"http": "h:x"}]
)
def test_a_bad_proxy_is_told(make: Make, proxies: dict[str, str]):
    with pytest.raises(exceptions.BadStoreConfiguration, match="http_proxy_information"):
        make(http_proxy_information=proxies)


# -- locations ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "http://host/path",
        "https://host:8443/path/to/image.qcow2?a=b&c=%20d",
        "http://user:pass@host/path",
        "http://us%20er:p%40ss%3Aword@host:80/path",
        "http://user:@host/",
        "http://[::1]:8080/path",
        "http://host",
    ],
)
def test_a_uri_is_what_was_parsed(uri: str):
    location = at(uri)
    assert location.get_uri() == uri
    specs = {
        name: getattr(location, name)
        for name in ("scheme", "netloc", "path", "query", "user", "password")
    }
    assert HttpLocation(specs).get_uri() == uri


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://host/path",
        "file:///path",
        "http:///path",
        "http://:80/path",
        "http://host:port/path",
        "http://host:70000/path",
        "http://user@host/path",
        "http://[::1/path",
        "http://user:secret@/path",
        "http://host/pa th",
        "http://host/path\r\nX-Header: x",
    ],
)
def test_a_malformed_uri_is_refused_without_being_shown(uri: str):
    with pytest.raises(exceptions.BadStoreUri) as caught:
        at(uri)
    assert "secret" not in str(caught.value)


def test_what_is_shown_of_a_uri():
    assert at("https://user:pass@host:1/p?X-Amz-Signature=s").safe_uri() == "https://host:1/p?..."


# -- names -------------------------------------------------------------------------------------


def test_the_store_is_read_only(make: Make):
    driver = make()
    assert not isinstance(driver, SupportsAdd | SupportsDelete)
    assert driver.writable is not None
    assert driver.url_prefix == "http"


def test_a_percent_encoded_url_is_a_name(nginx: Nginx, make: Make):
    driver = make()
    name = urllib.parse.quote(f"{nginx.url}/images/image", safe="")
    assert driver.stat(driver.locate(name)).image_id == name
    assert driver.locate(name).get_uri() == f"{nginx.url}/images/image"
    info = driver.stat(at(f"{nginx.url}/images/image"))
    assert info == driver.stat(driver.locate(info.image_id))


@pytest.mark.parametrize("url", ["http://user:pass@host/image", "http://host:port/", "https://"])
def test_not_every_url_is_a_name(make: Make, url: str):
    with pytest.raises(exceptions.Invalid) as caught:
        make().locate(urllib.parse.quote(url, safe=""))
    assert "pass" not in str(caught.value)


def test_an_unknown_name_is_found_nowhere(make: Make):
    driver = make()
    location = driver.locate("nothing at all")
    for place in (location, at(location.get_uri())):
        for call in (driver.stat, driver.open):
            with pytest.raises(exceptions.NotFound, match="nothing at all"):
                call(place)


def test_a_location_is_what_its_name_stands_for_now(nginx: Nginx, make: Make):
    driver = make()
    location = driver.locate("image")
    driver.register("image", f"{nginx.url}/images/image")
    assert driver.stat(location).size == len(DATA)
    named = driver.locate("image")
    driver.unregister("image")
    with pytest.raises(exceptions.NotFound):
        driver.open(named)


def test_names_come_and_go(nginx: Nginx, make: Make):
    driver = make()
    url = f"{nginx.url}/images/image"
    driver.register("image.raw", url)
    assert driver.stat(driver.locate("image.raw")).image_id == "image.raw"
    assert driver.stat(at(url)).image_id == "image.raw"
    assert [info.image_id for info in driver.list()] == ["image.raw"]
    with pytest.raises(exceptions.Duplicate):
        driver.register("image.raw", url)
    with pytest.raises(exceptions.BadStoreUri):
        driver.register("other", "http://host:port/")
    driver.unregister("image.raw")
    with pytest.raises(exceptions.NotFound):
        driver.stat(driver.locate("image.raw"))
    with pytest.raises(exceptions.NotFound):
        driver.unregister("image.raw")


def test_names_are_kept_in_the_state_directory(
    nginx: Nginx, make: Make, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    make(http_store_catalog=None).register("image", f"{nginx.url}/images/image")
    assert (tmp_path / "state" / "storefs" / "web.catalog").exists()
    again = make(http_store_catalog=None)
    assert again.stat(again.locate("image")).size == len(DATA)
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    make(http_store_catalog=None).register("image", f"{nginx.url}/images/image")
    assert (tmp_path / "home" / ".local" / "state" / "storefs" / "web.catalog").exists()


def test_a_catalogue_in_no_directory_is_told(make: Make):
    with pytest.raises(exceptions.BadStoreConfiguration, match="http_store_catalog"):
        make(http_store_catalog="/nowhere/at/all/catalog")


# -- listing -----------------------------------------------------------------------------------


def test_a_listing_asks_for_sizes_once_in_a_while(nginx: Nginx, make: Make):
    driver = make()
    for number in range(100):
        driver.register(f"image-{number}", f"{nginx.url}/images/image?{number}")
    listed = list(driver.list())
    assert sorted(info.image_id for info in listed) == sorted(f"image-{n}" for n in range(100))
    assert {info.size for info in listed} == {len(DATA)}
    assert list(driver.list()) == listed
    assert len(nginx.requests()) == 100


def test_a_listing_outlives_servers_and_images_that_are_gone(
    nginx: Nginx, make: Make, monkeypatch: pytest.MonkeyPatch, expect_log: ExpectLog
):
    monkeypatch.setattr(http_listing, "PATIENCE", 0.3)
    driver = make()
    dead = free_port()
    with contextlib.closing(FaultyHttp(DATA)) as silent:
        silent.always = faulty.silent
        for number in range(40):
            driver.register(f"silent-{number}", f"{silent.url}/{number}")
            driver.register(f"dead-{number}", f"http://127.0.0.1:{dead}/{number}")
        driver.register("gone", f"{nginx.url}/images/gone")
        driver.register("here", f"{nginx.url}/images/image")
        listed = {info.image_id: info for info in driver.list()}
        assert len(listed) == 82
        assert listed["here"].size == len(DATA)
        assert listed["gone"] == ImageInfo("gone", None)
        assert listed["silent-7"] == ImageInfo("silent-7", None)
        assert len(silent.asked) <= 16  # those under way when the first was given up
        expect_log(f"127.0.0.1:{dead} are listed without sizes.*refused")
        expect_log("127.0.0.1:.* are listed without sizes.*nothing")
        assert {info.image_id for info in driver.list()} == listed.keys()
        assert len(silent.asked) <= 16
