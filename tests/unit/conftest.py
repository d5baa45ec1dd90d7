# SPDX-License-Identifier: Apache-2.0
"""A configuration from text, packages from source, a scheme map and a state of one's own."""

import pathlib
import textwrap
from collections.abc import Callable, Iterator

import pytest
from oslo_config import cfg
from stevedore.extension import ExtensionManager

from storefs import location, multi_backend

Parse = Callable[[str], cfg.ConfigOpts]
Install = Callable[..., None]


@pytest.fixture(autouse=True)
def scheme_map(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts without stores and closes those it made."""
    monkeypatch.setattr(location, "SCHEME_TO_CLS_BACKEND_MAP", {})
    yield
    multi_backend.close_stores()


@pytest.fixture
def state(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Where drivers keep their state, and child processes: the test's own, not made yet."""
    directory = tmp_path / "state"
    monkeypatch.setenv("STATE_DIRECTORY", str(directory))
    return directory


@pytest.fixture
def parse(tmp_path: pathlib.Path) -> Parse:
    """``parse(text)``: what a service has after it read a configuration file."""

    def read(text: str) -> cfg.ConfigOpts:
        file = tmp_path / "storefs.conf"
        file.write_text(textwrap.dedent(text))
        conf = cfg.ConfigOpts()
        conf.register_opt(cfg.DictOpt("enabled_backends"))
        conf([], default_config_files=[str(file)], default_config_dirs=[])
        return conf

    return read


@pytest.fixture
def install(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """``install(package, source, type=class)``: a package with entry points for store types."""
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def add(package: str, source: str, **points: str) -> None:
        (site / f"{package}.py").write_text(textwrap.dedent(source))
        info = site / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {package}:{found}" for name, found in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[storefs.drivers]", *lines, ""]))
        # stevedore reads them once a process
        monkeypatch.setattr(ExtensionManager, "ENTRY_POINT_CACHE", {})
        monkeypatch.syspath_prepend(site / info.name)  # and once for each sys.path

    return add
