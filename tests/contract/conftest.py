# SPDX-License-Identifier: Apache-2.0
"""The fixtures of the suite: a test that takes `harness` runs once for every driver.

A test marked ``needs(SupportsAdd, ...)`` runs for the drivers that are all of
that, one marked ``lacks(SupportsAdd)`` for those that are not: what a driver
cannot do is tested, too, and never skipped.
"""

import pathlib
from collections.abc import Iterator

import pytest

from tests.contract.harness import Harness
from tests.contract.harnesses import HARNESSES
from tests.mount.requirements import needed


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*types): only for drivers that are all of these")
    config.addinivalue_line("markers", "lacks(type): only for drivers that are not")


def _fits(name: str, metafunc: pytest.Metafunc) -> bool:
    driver_class = HARNESSES[name].driver_class
    needs = [t for mark in metafunc.definition.iter_markers("needs") for t in mark.args]
    lacks = [t for mark in metafunc.definition.iter_markers("lacks") for t in mark.args]
    return all(issubclass(driver_class, t) for t in needs) and not any(
        issubclass(driver_class, t) for t in lacks
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "harness" in metafunc.fixturenames:
        names = [name for name in sorted(HARNESSES) if _fits(name, metafunc)]
        metafunc.parametrize("harness", names, indirect=True)


@pytest.fixture
def harness(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Harness]:
    """An empty, configured store; skipped where its server is missing and not required."""
    name = request.param
    directory = tmp_path / "harness"
    directory.mkdir()
    monkeypatch.setenv("STATE_DIRECTORY", str(directory / "state"))
    harness = needed(name, lambda: HARNESSES[name](directory))
    try:
        yield harness
        assert harness.leftovers() == []
    finally:
        harness.close()
