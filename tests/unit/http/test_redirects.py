# SPDX-License-Identifier: Apache-2.0
"""Redirects, and who gets to see the credentials."""

import contextlib
import pathlib
import urllib.parse

import pytest

from storefs import exceptions
from storefs.drivers.http_pool import HttpSettings
from storefs.drivers.http_transport import Origin, Transport
from storefs.drivers.ranged_http import RangedHttp
from tests.servers import faulty_http as faulty
from tests.servers.faulty_http import FaultyHttp
from tests.servers.nginx import PASSWORD, USER, Nginx
from tests.servers.process import free_port
from tests.unit.http.images import DATA, Make, Open, at, read


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
    server.asked.clear()
    server.next(faulty.answering(410))  # and the original has the image itself, now
    assert reader.pread(10, 0) == DATA[:10]
    assert reader.pread(10, 0) == DATA[:10]
    assert [asked.path for asked in server.asked] == ["/mirror?expires=later", "/image", "/image"]


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
