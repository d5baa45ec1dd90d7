# SPDX-License-Identifier: Apache-2.0
"""A fake sheep, another program's client for it, and drivers."""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from storefs.drivers.sheepdog import SheepdogDriver
from storefs.drivers.sheepdog.cluster import Settings
from tests.contract.harness import making
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
    sheep: Sheep, state: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeDriver]:
    """``make_driver(option=value, ...)``: one over the fake, with short time-outs and waits."""
    monkeypatch.setattr(
        "storefs.drivers.sheepdog.sites.Settings",
        functools.partial(Settings, back_off=(0.01, 0.01)),
    )
    given = {
        "sheepdog_store_address": sheep.host,
        "sheepdog_store_port": sheep.port,
        "sheepdog_store_connect_timeout": 5.0,
        "sheepdog_store_timeout": 20.0,
    }
    with making(SheepdogDriver, **given) as make:
        yield lambda **options: make(**{f"sheepdog_store_{n}": v for n, v in options.items()})


@pytest.fixture
def driver(make_driver: MakeDriver) -> Any:
    return make_driver()
