# SPDX-License-Identifier: Apache-2.0
"""A fake sheep, another program's client for it, and drivers."""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from storefs.drivers.sheepdog import SheepdogDriver
from storefs.drivers.sheepdog_cluster import Settings
from tests.contract.harness import configured
from tests.servers.sheep import Sheep
from tests.servers.sheep_client import SheepClient

MakeDriver = Callable[..., Any]


@pytest.fixture
def sheep() -> Iterator[Sheep]:
    sheep = Sheep()
    yield sheep
    sheep.stop()


@pytest.fixture
def client(sheep: Sheep) -> Iterator[SheepClient]:
    with contextlib.closing(SheepClient(sheep.host, sheep.port)) as client:
        yield client


@pytest.fixture
def make_driver(
    sheep: Sheep, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeDriver]:
    """``make_driver(option=value, ...)``: one over the fake, with short time-outs and waits."""
    directory = tmp_path / "state"
    monkeypatch.setattr("storefs.drivers.sheepdog_sites.state_directory", lambda: directory)
    monkeypatch.setattr(
        "storefs.drivers.sheepdog_sites.Settings",
        functools.partial(Settings, back_off=(0.01, 0.01)),
    )
    made = []

    def make(**options: Any) -> Any:
        given = {
            "address": sheep.host,
            "port": sheep.port,
            "connect_timeout": 5.0,
            "timeout": 20.0,
            **options,
        }
        driver = configured(
            SheepdogDriver, **{f"sheepdog_store_{name}": value for name, value in given.items()}
        )
        made.append(driver)
        return driver

    yield make
    for driver in made:
        driver.close()


@pytest.fixture
def driver(make_driver: MakeDriver) -> Any:
    return make_driver()
