# SPDX-License-Identifier: Apache-2.0
"""The pool ``images`` of a real Ceph, empty, and drivers for it."""

import pathlib
from collections.abc import Callable, Iterator

import pytest

from storefs.drivers.rbd import RbdDriver
from tests.contract.harness import making
from tests.mount.requirements import needed
from tests.servers.rbd_pool import RbdPool, pool

Make = Callable[..., RbdDriver]


@pytest.fixture(autouse=True)
def own_state(state: pathlib.Path) -> None:
    """A state directory of the test's own."""


@pytest.fixture
def images() -> Iterator[RbdPool]:
    found = needed("rbd", pool)
    found.clear()
    yield found
    found.clear()


@pytest.fixture
def make(images: RbdPool) -> Iterator[Make]:
    """A driver of the pool with other options; closed at the end."""
    with making(RbdDriver, **images.options) as make:
        yield make


@pytest.fixture
def driver(make: Make) -> RbdDriver:
    return make()
