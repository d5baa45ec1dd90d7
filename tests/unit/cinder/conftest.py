# SPDX-License-Identifier: Apache-2.0
"""A driver over a Cinder in memory."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from storefs.drivers.cinder import CinderDriver
from storefs.drivers.cinder.catalog import Catalog
from tests.contract.harness import making
from tests.unit.cinder.fakes import FakeCinder, attacher


@pytest.fixture
def cinder() -> FakeCinder:
    return FakeCinder()


@pytest.fixture
def make_driver(cinder: FakeCinder) -> Iterator[Callable[..., Any]]:
    """``make_driver(**options)``: its API, its host and its journal are the fake's."""

    def over_the_fake(driver: Any, **options: Any) -> Any:
        given: Any = cinder
        works = attacher(cinder, **options)
        catalog = Catalog(given, given, driver._shares, driver._known, driver._names)
        driver._hands = type("Hands", (), {"attacher": works, "catalog": catalog})
        return driver

    with making(CinderDriver) as make:
        yield lambda **options: over_the_fake(make(**options), **options)
