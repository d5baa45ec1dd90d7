# SPDX-License-Identifier: Apache-2.0
"""A driver over a Cinder in memory."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from storefs.drivers.cinder import CinderDriver
from storefs.drivers.cinder_catalog import Catalog
from tests.contract.harness import configured
from tests.unit.cinder.fakes import FakeCinder, attacher


@pytest.fixture
def cinder() -> FakeCinder:
    return FakeCinder()


@pytest.fixture
def make_driver(cinder: FakeCinder) -> Iterator[Callable[..., Any]]:
    """``make_driver(**options)``: its API, its host and its journal are the fake's."""
    made = []

    def make(**options: Any) -> Any:
        driver = configured(CinderDriver, **options)
        given: Any = cinder
        works = attacher(cinder, **options)
        catalog = Catalog(given, given, driver._shares, driver._known, driver._names)
        driver._hands = type("Hands", (), {"attacher": works, "catalog": catalog})
        made.append(driver)
        return driver

    yield make
    for driver in made:
        driver.close()
