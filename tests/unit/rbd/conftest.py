# SPDX-License-Identifier: Apache-2.0
"""The pool ``images`` of a real Ceph, empty, and drivers for it."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from storefs.drivers.rbd import RbdDriver
from tests.contract.harness import configured, required
from tests.servers.process import ServerFailed
from tests.servers.rbd_pool import RbdPool, pool

Make = Callable[..., RbdDriver]


@pytest.fixture(autouse=True)
def state(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A state directory of the test's own."""
    directory = tmp_path / "state"
    monkeypatch.setattr("storefs.drivers.rbd.state_directory", lambda: directory)
    return directory


@pytest.fixture
def images() -> Iterator[RbdPool]:
    try:
        found = pool()
    except ServerFailed as exc:
        if required("rbd"):
            pytest.fail(f"rbd is required by STOREFS_REQUIRE: {exc}")
        pytest.skip(str(exc))
    found.clear()
    yield found
    found.clear()


@pytest.fixture
def make(images: RbdPool) -> Iterator[Make]:
    """A driver of the pool with other options; closed at the end."""
    drivers: list[RbdDriver] = []

    def make(**options: Any) -> RbdDriver:
        driver: RbdDriver = configured(RbdDriver, **{**images.options, **options})
        drivers.append(driver)
        return driver

    yield make
    for driver in drivers:
        driver.close()


@pytest.fixture
def driver(make: Make) -> RbdDriver:
    return make()
