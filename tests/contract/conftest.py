# SPDX-License-Identifier: Apache-2.0
"""The fixtures of the suite: a test that takes `harness` runs once for every driver."""

import pathlib
from collections.abc import Iterator

import pytest

from tests.contract.harnesses import HARNESSES, Harness, Unavailable, required


@pytest.fixture(params=sorted(HARNESSES))
def harness(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Harness]:
    """An empty, configured store; skipped where its server is missing and not required."""
    name = request.param
    directory = tmp_path / "harness"
    directory.mkdir()
    try:
        harness = HARNESSES[name](directory)
    except Unavailable as exc:
        if required(name):
            pytest.fail(f"{name} is required by STOREFS_REQUIRE: {exc}")
        pytest.skip(f"{name}: {exc}")
    try:
        yield harness
    finally:
        harness.close()
