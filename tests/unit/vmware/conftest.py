# SPDX-License-Identifier: Apache-2.0
"""A directory in a simulated vCenter, the gate before it, and drivers for both."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from storefs.drivers.vmware import VmwareDriver
from tests.contract.harness import configured, required
from tests.servers.process import ServerFailed
from tests.servers.vcsim import ImageDirectory, vcsim
from tests.servers.vsphere_gate import VsphereGate

Make = Callable[..., VmwareDriver]


@pytest.fixture(autouse=True)
def state(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A state directory of the test's own; retries without long waits."""
    monkeypatch.setattr("storefs.drivers.vmware.state_directory", lambda: tmp_path / "state")
    monkeypatch.setattr("storefs.drivers.vmware_server._BACK_OFF", (0.01,))
    return tmp_path / "state"


@pytest.fixture
def images() -> ImageDirectory:
    try:
        return ImageDirectory(vcsim())
    except ServerFailed as exc:
        if required("vmware"):
            pytest.fail(f"vmware is required by STOREFS_REQUIRE: {exc}")
        pytest.skip(str(exc))


@pytest.fixture
def gate(images: ImageDirectory) -> Iterator[VsphereGate]:
    with VsphereGate(images.server) as gate:
        yield gate


@pytest.fixture
def make(images: ImageDirectory) -> Iterator[Make]:
    """A driver with other options; closed at the end."""
    drivers: list[VmwareDriver] = []

    def make(**options: Any) -> VmwareDriver:
        few = {"vmware_api_retry_count": 3}
        driver: VmwareDriver = configured(VmwareDriver, **{**images.options, **few, **options})
        drivers.append(driver)
        return driver

    yield make
    for driver in drivers:
        driver.close()


@pytest.fixture
def driver(make: Make, gate: VsphereGate) -> VmwareDriver:
    """A driver that goes through the gate, with short time-outs."""
    return make(
        vmware_server_host=gate.host,
        vmware_store_read_timeout=2.0,
        vmware_store_connect_timeout=2.0,
    )
