# SPDX-License-Identifier: Apache-2.0
"""Certificates are verified, proxies are used when an option says so."""

import pathlib

import pytest

from storefs import exceptions
from tests.servers.forward_proxy import ForwardProxy
from tests.servers.nginx import Nginx
from tests.servers.process import free_port
from tests.unit.http.images import DATA, Make, at, read


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
