# SPDX-License-Identifier: Apache-2.0
"""A container on a real Swift, a proxy before it, and drivers for both."""

import pathlib
from collections.abc import Callable, Iterator

import pytest

from storefs.drivers.swift import SwiftDriver
from storefs.drivers.swift import accounts as swift_accounts
from tests.contract.harness import making
from tests.mount.requirements import needed
from tests.servers import shared, swift_client
from tests.servers.fault_proxy import FaultProxy
from tests.servers.swift_client import Container

Make = Callable[..., SwiftDriver]


@pytest.fixture(autouse=True)
def own_state(state: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory of the test's own, and no long waits."""
    monkeypatch.setattr(swift_accounts, "_BACK_OFF", (0.01, 0.01, 0.01))


@pytest.fixture
def container() -> Iterator[Container]:
    container = Container(needed("swift-tempauth", swift_client.tempauth))
    yield container
    container.remove()


@pytest.fixture
def demo() -> Iterator[Container]:
    """A container of user demo, behind Keystone."""
    container = Container(needed("swift-keystone", swift_client.keystone))
    yield container
    container.remove()


@pytest.fixture
def proxy(container: Container) -> Iterator[FaultProxy]:
    with FaultProxy(shared.swift().url) as proxy:
        yield proxy


@pytest.fixture
def make() -> Iterator[Make]:
    """Drivers with the given options and 1 MB segments; closed at the end."""
    small = {"swift_store_large_object_size": 1, "swift_store_large_object_chunk_size": 1}
    with making(SwiftDriver, **small) as make:
        yield make


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
