# SPDX-License-Identifier: Apache-2.0
"""Every way to log in, against the servers that know it; tokens that end; refusals."""

import json
import math
import threading
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import urllib3

from storefs import exceptions
from storefs.drivers.swift import SwiftDriver
from storefs.drivers.swift.session import Access, Session, on_servicenet
from tests.contract.images import add, read
from tests.servers import shared, swift_client
from tests.servers.fault_proxy import FaultProxy
from tests.servers.keystone_v2 import KeystoneV2
from tests.servers.process import free_port
from tests.servers.swift_client import Container
from tests.unit.swift.conftest import Make


def _works(driver: SwiftDriver, container: Container) -> None:
    add(driver, "image", b"bytes")
    assert read(driver, "image") == b"bytes"
    assert container.get("image") == b"bytes"


def test_version_1(container: Container, make: Make) -> None:
    _works(make(**container.options), container)


def test_version_2_against_a_fake(container: Container, make: Make) -> None:
    account = container.account
    with KeystoneV2(account.url, account.token, "user", "secret-word", "tenant") as keystone:
        options = {
            "swift_store_container": container.name,
            "swift_store_auth_address": keystone.url.removesuffix("/v2.0"),
            "swift_store_auth_version": "2",
            "swift_store_user": "tenant:user",
            "swift_store_key": "secret-word",
        }
        _works(make(**options), container)
        assert len(keystone.logins) == 1
        with pytest.raises(exceptions.NotAuthenticated, match="swift_store_key") as caught:
            list(make(**{**options, "swift_store_key": "other-word"}).list())
        assert "other-word" not in str(caught.value)


def test_version_3_by_names(demo: Container, make: Make) -> None:
    _works(make(**demo.options), demo)


def test_version_3_with_the_version_left_out_of_the_address(demo: Container, make: Make) -> None:
    address = demo.options["swift_store_auth_address"].removesuffix("/v3")
    _works(make(**{**demo.options, "swift_store_auth_address": address}), demo)


@pytest.fixture
def alice() -> Iterator[Container]:
    """A container in the project of a user in another domain, made by the administrator."""
    keystone = shared.keystone()
    lab = keystone.add_domain("labdomain")
    project = keystone.add_project("labproj", lab)
    shared.swift()
    admin = swift_client.keystone()
    url = f"{admin.url.rpartition('_')[0]}_{project}"
    login = {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {
                    "user": {"name": "alice", "domain": {"id": lab}, "password": "alice-pass"}
                },
            },
            "scope": {"project": {"id": project}},
        }
    }
    body = json.dumps(login).encode()
    headers = {"Content-Type": "application/json"}
    answer = urllib3.request("POST", f"{keystone.url}/auth/tokens", body=body, headers=headers)
    account = swift_client.Account(url, answer.headers["X-Subject-Token"], {}, ())
    container = Container(account)
    yield container
    container.remove()


@pytest.mark.parametrize("by", ["id", "name"])
def test_version_3_in_another_domain(alice: Container, make: Make, tmp_path: Any, by: str) -> None:
    keystone = shared.keystone()
    domain = "labdomain" if by == "name" else keystone.add_domain("labdomain")
    references = tmp_path / "references.conf"
    references.write_text(
        f"[lab]\nauth_address = {keystone.url}\nuser = labproj:alice\nkey = 'alice-pass'\n"
        f"user_domain_{by} = {domain}\nproject_domain_{by} = {domain}\n"
    )
    driver = make(
        swift_store_config_file=str(references),
        default_swift_reference="lab",
        swift_store_container=alice.name,
    )
    _works(driver, alice)
    uri = driver.locate("image").get_uri()
    assert uri == f"swift+config://lab/{alice.name}/image"
    location = SwiftDriver.LOCATION(None)
    location.parse_uri(uri)
    assert driver.stat(location).size == 5


def test_an_application_credential(demo: Container, make: Make) -> None:
    keystone = shared.keystone()
    name = f"storefs-{free_port()}"
    made = keystone.add_application_credential(name, "demo", "demo-pass", "demo")
    options = {
        "swift_store_container": demo.name,
        "swift_store_auth_address": keystone.url,
        "swift_store_application_credential_id": made[0],
        "swift_store_application_credential_secret": made[1],
    }
    _works(make(**options), demo)
    options["swift_store_application_credential_secret"] = "other-word"
    with pytest.raises(exceptions.NotAuthenticated, match="application_credential_secret"):
        list(make(**options).list())


def test_the_credentials_in_an_old_location(demo: Container, make: Make, container: Any) -> None:
    """Of another account than the store's."""
    demo.put("image", b"bytes")
    driver = make(**{**demo.options, "swift_store_user": "demo:reader"})
    location = SwiftDriver.LOCATION(None)
    netloc = urllib.parse.urlsplit(shared.keystone().url).netloc
    location.parse_uri(f"swift+http://demo%3Ademo:demo-pass@{netloc}/v3/{demo.name}/image")
    assert driver.stat(location).size == 5
    location.parse_uri(f"swift+http://demo%3Ademo:wrong@{netloc}/v3/{demo.name}/image")
    with pytest.raises(exceptions.NotAuthenticated, match="in the location of the image") as no:
        driver.stat(location)
    assert "wrong" not in str(no.value)


def test_no_token_goes_to_another_server(demo: Container, make: Make) -> None:
    driver = make(**demo.options)
    location = SwiftDriver.LOCATION(None)
    location.parse_uri(f"swift+http://127.0.0.1:1/v1/AUTH_1/{demo.name}/image")
    with pytest.raises(exceptions.BadStoreUri, match="not at the server of store"):
        driver.stat(location)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("swift_store_key", "wrong-word", "swift_store_user and swift_store_key"),
        ("swift_store_user", "demo:nobody", "swift_store_user and swift_store_key"),
        ("swift_store_region", "Nowhere", "swift_store_region"),
        ("swift_store_service_type", "objects", "swift_store_service_type"),
        ("swift_store_auth_version", "2", "swift_store_auth_version|_version"),
        ("swift_store_container", "nowhere", "swift_store_container"),
        ("swift_store_auth_address", "http://127.0.0.1:1/v3", "swift_store_auth_address"),
    ],
)
def test_what_is_refused_names_the_option(
    demo: Container, make: Make, option: str, value: str, says: str
) -> None:
    driver = make(**{**demo.options, option: value})
    with pytest.raises(exceptions.GlanceStoreException, match=says) as caught:
        list(driver.list())
    assert not isinstance(caught.value, exceptions.NotFound)
    assert "wrong-word" not in str(caught.value)
    assert "demo-pass" not in str(caught.value)


def test_a_wrong_key_of_version_1(container: Container, make: Make) -> None:
    driver = make(**{**container.options, "swift_store_key": "wrong-word"})
    with pytest.raises(exceptions.NotAuthenticated, match="swift_store_key") as caught:
        list(driver.list())
    assert "wrong-word" not in str(caught.value)


def test_version_1_where_there_is_none(demo: Container, make: Make) -> None:
    driver = make(**{**demo.options, "swift_store_auth_version": "1"})
    with pytest.raises(exceptions.BadStoreConfiguration, match="swift_store_auth_version"):
        list(driver.list())


def test_the_endpoint_may_be_told(demo: Container, make: Make) -> None:
    base = demo.account.url.rpartition("_")[0]
    driver = make(
        **demo.options,
        swift_store_endpoint=f"{base}_%(project_id)s",
        swift_store_service_type="nothing",
    )
    _works(driver, demo)


def test_the_catalogue_has_three_addresses(demo: Container, make: Make) -> None:
    _works(make(**demo.options, swift_store_endpoint_type="internalURL"), demo)


def test_a_token_that_is_refused_is_renewed(driver: SwiftDriver, proxy: FaultProxy) -> None:
    add(driver, "image", b"bytes")
    driver._accounts.own.session._since -= 5
    proxy.requests.clear()
    proxy.fault(page=(401, b"", {}), word="image")
    assert read(driver, "image") == b"bytes"
    assert len(proxy.asked("GET", "/auth/")) == 1


def test_a_fresh_token_that_is_refused_is_told(driver: SwiftDriver, proxy: FaultProxy) -> None:
    add(driver, "image", b"bytes")
    proxy.fault(page=(403, b"", {}), word="image", times=9)
    proxy.requests.clear()
    with pytest.raises(exceptions.Forbidden, match="ACL"):
        driver.stat(driver.locate("image"))
    assert proxy.asked("GET", "/auth/") == []


class _Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("storefs.drivers.swift.session.time.monotonic", lambda: self.now)


@pytest.mark.parametrize(
    ("life", "margin", "good_for"), [(3600, 60, 3540), (3, 60, 2), (3600, 0, 3600)]
)
def test_a_token_is_renewed_before_it_ends(
    monkeypatch: pytest.MonkeyPatch, life: float, margin: float, good_for: float
) -> None:
    clock = _Clock(monkeypatch)
    logins: list[Access] = []

    def login() -> Access:
        logins.append(Access("http://x", str(len(logins)), life))
        return logins[-1]

    session = Session(login, margin)
    assert session.access().token == "0"
    clock.now += good_for - 0.1
    assert session.access().token == "0"
    clock.now += 0.2
    assert session.access().token == "1"


def test_a_token_that_does_not_end_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(monkeypatch)
    session = Session(lambda: Access("http://x", str(clock.now), math.inf), 60)
    token = session.access().token
    clock.now += 10**9
    assert session.access().token == token


def test_many_who_need_a_token_log_in_once() -> None:
    logins = []
    barrier = threading.Barrier(8)

    def login() -> Access:
        logins.append(1)
        return Access("http://x", "token")

    session = Session(login, 60)

    def ask(_number: int) -> str:
        barrier.wait()
        return session.access().token

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"token"}
    assert len(logins) == 1


def test_the_inner_network_of_a_provider() -> None:
    login = on_servicenet(lambda: Access("https://storage.example.com/v1/AUTH_1", "token"))
    assert login().storage_url == "https://snet-storage.example.com/v1/AUTH_1"
    assert "token" not in repr(login())
