# SPDX-License-Identifier: Apache-2.0
"""Mounts for the tests: one that all share, and a maker of others."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.images.collection import Images, collect
from tests.mount.mounting import Mount, mounted
from tests.mount.requirements import need_fuse

MakeMount = Callable[..., Mount]
MountStore = Callable[..., Mount]

#: What most tests need: the specification, a real store, and another one beside it.
STORES = {"mem": "memory", "shared": "file", "second": "file"}


@pytest.fixture(scope="session")
def _standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    need_fuse()
    directory = tmp_path_factory.mktemp("standing")
    with mounted(Mount(directory, STORES, options={"rename_grace": 1.5})) as mount:
        yield mount


@pytest.fixture
def mount(_standing: Mount) -> Iterator[Mount]:
    """The stores mem, shared and second, empty; one process serves all tests.

    After each test its log must have nothing but what the test declared with
    ``mount.expect_log``, and no datadir a leftover.
    """
    assert _standing.running, _standing.log_text
    _standing.watch()
    yield _standing
    _standing.check_leftovers()
    _standing.clear()
    _standing.check_log()


@pytest.fixture
def make_mount(tmp_path: Path) -> Iterator[MakeMount]:
    """Makes a mount with a process of its own: to unmount, to kill, to configure."""
    need_fuse()
    with ExitStack() as stack:

        def make(stores: dict[str, str] | None = None, **kwargs: Any) -> Mount:
            directory = kwargs.pop("directory", tmp_path / f"mount{len(made)}")
            directory.mkdir(exist_ok=True)
            mount = Mount(directory, stores or STORES, **kwargs)
            made.append(mount)
            return stack.enter_context(mounted(mount))

        made: list[Mount] = []
        yield make


@pytest.fixture
def mount_store(make_mount: MakeMount) -> MountStore:
    """``mount_store("NAME:TYPE", section)``: that store, and ``shared`` of files."""

    def make(backend: str, section: Mapping[str, object], **kwargs: Any) -> Mount:
        name, _, kind = backend.partition(":")
        return make_mount({name: kind, "shared": "file"}, sections={name: section}, **kwargs)

    return make


@pytest.fixture
def own_mount(make_mount: MakeMount) -> Mount:
    """The same stores as `mount`, with a process of their own."""
    return make_mount()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Real images; none of them may be changed."""
    return collect(tmp_path_factory.mktemp("images"))
