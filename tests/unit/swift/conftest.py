# SPDX-License-Identifier: Apache-2.0
"""A container on a real Swift, a proxy before it, and drivers for both."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from storefs.drivers import swift_accounts
from storefs.drivers.swift import SwiftDriver
from tests.contract.harness import configured, required
from tests.servers import shared, swift_client
from tests.servers.fault_proxy import FaultProxy
from tests.servers.process import ServerFailed
from tests.servers.swift_client import Account, Container

Make = Callable[..., SwiftDriver]


@pytest.fixture(autouse=True)
def own_state(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory of the test's own, and no long waits."""
    monkeypatch.setattr("storefs.drivers.swift.state_directory", lambda: tmp_path / "state")
    monkeypatch.setattr(swift_accounts, "_BACK_OFF", (0.01, 0.01, 0.01))


def _needed(start: Callable[[], Account], name: str) -> Account:
    try:
        return start()
    except ServerFailed as exc:
        if required(name):
            pytest.fail(f"{name} is required by STOREFS_REQUIRE: {exc}")
        pytest.skip(str(exc))


@pytest.fixture
def container() -> Iterator[Container]:
    container = Container(_needed(swift_client.tempauth, "swift-tempauth"))
    yield container
    container.remove()


@pytest.fixture
def demo() -> Iterator[Container]:
    """A container of user demo, behind Keystone."""
    container = Container(_needed(swift_client.keystone, "swift-keystone"))
    yield container
    container.remove()


@pytest.fixture
def proxy(container: Container) -> Iterator[FaultProxy]:
    with FaultProxy(shared.swift().url) as proxy:
        yield proxy


@pytest.fixture
def make() -> Iterator[Make]:
    """Drivers with the given options and 1 MB segments; closed at the end."""
    drivers: list[SwiftDriver] = []

    def make(**options: Any) -> SwiftDriver:
        small = {"swift_store_large_object_size": 1, "swift_store_large_object_chunk_size": 1}
        driver: SwiftDriver = configured(SwiftDriver, **{**small, **options})
        drivers.append(driver)
        return driver

    yield make
    for driver in drivers:
        driver.close()


@pytest.fixture
def restarted(make: Make, container: Container, proxy: FaultProxy) -> Callable[[], SwiftDriver]:
    """A driver that goes through the proxy, with short time-outs; another one each time."""

    def start() -> SwiftDriver:
        return make(
            **{**container.options, "swift_store_auth_address": f"{proxy.url}/auth/v1.0"},
            swift_store_read_timeout=2.0,
            swift_store_connect_timeout=2.0,
        )

    return start


@pytest.fixture
def driver(restarted: Callable[[], SwiftDriver]) -> SwiftDriver:
    return restarted()
