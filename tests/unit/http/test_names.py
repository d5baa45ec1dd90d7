# SPDX-License-Identifier: Apache-2.0
"""URIs, names for them, and listings of those."""

import contextlib
import os
import pathlib
import urllib.parse

import pytest

from storefs import exceptions
from storefs.drivers.base import ImageInfo, SupportsAdd, SupportsDelete
from storefs.drivers.http import listing as http_listing
from storefs.drivers.http.location import HttpLocation
from tests.conftest import ExpectLog
from tests.servers import faulty_http as faulty
from tests.servers.faulty_http import FaultyHttp
from tests.servers.nginx import Nginx
from tests.servers.process import free_port
from tests.unit.http.images import DATA, Make, at


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
