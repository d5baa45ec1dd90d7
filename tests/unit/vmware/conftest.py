# SPDX-License-Identifier: Apache-2.0
"""A directory in a simulated vCenter, the gate before it, and drivers for both."""

import pathlib
from collections.abc import Callable, Iterator

import pytest

from storefs.drivers.vmware import VmwareDriver
from tests.contract.harness import making
from tests.mount.requirements import needed
from tests.servers.vcsim import ImageDirectory, vcsim
from tests.servers.vsphere_gate import VsphereGate

Make = Callable[..., VmwareDriver]


@pytest.fixture(autouse=True)
def own_state(state: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory of the test's own; retries without long waits."""
    monkeypatch.setattr("storefs.drivers.vmware.server._BACK_OFF", (0.01,))


@pytest.fixture
def images() -> ImageDirectory:
    return ImageDirectory(needed("vmware", vcsim))


@pytest.fixture
def gate(images: ImageDirectory) -> Iterator[VsphereGate]:
    with VsphereGate(images.server) as gate:
        yield gate


@pytest.fixture
def make(images: ImageDirectory) -> Iterator[Make]:
    """A driver with other options; closed at the end."""
    with making(VmwareDriver, **images.options, vmware_api_retry_count=3) as make:
        yield make


@pytest.fixture
def driver(make: Make, gate: VsphereGate) -> VmwareDriver:
    """A driver that goes through the gate, with short time-outs."""
    return make(
        vmware_server_host=gate.host,
        vmware_store_read_timeout=2.0,
        vmware_store_connect_timeout=2.0,
    )
