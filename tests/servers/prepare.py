# SPDX-License-Identifier: Apache-2.0
"""Build the servers that no package holds, so that no test waits for it: run before the tests.

python -m tests.servers.prepare
"""

import functools
import pathlib
import sys
from collections.abc import Callable

from tests.servers import (
    cargo_tools,
    cinder,
    glance,
    go_tools,
    keystone,
    openstack,
    swift,
    vcsim,
    versitygw,
)
from tests.servers.process import ServerFailed


def main() -> None:
    for package, version in (
        (versitygw.PACKAGE, versitygw.VERSION),
        (vcsim.PACKAGE, vcsim.VERSION),
    ):
        name = package.rpartition("/")[2]
        _prepare(name, version, name, functools.partial(go_tools.go_tool, package, version))
    _prepare("keystone", keystone.VERSION, openstack.EMPTY, keystone.environment)
    _prepare("swift", swift.VERSION, ".built", swift.environment)
    _prepare("cinder", cinder.VERSION, openstack.EMPTY, cinder.environment)
    _prepare("glance", glance.VERSION, openstack.EMPTY, glance.environment)
    for name, version in cargo_tools.TOOLS:
        build = functools.partial(cargo_tools.cargo_tool, name, version)
        _prepare(name, version, f"bin/{name}", build)


def _prepare(name: str, version: str, finished: str, build: Callable[[], pathlib.Path]) -> None:
    """Build the server *name*, unless its directory holds the file *finished*."""
    directory = go_tools.cache() / f"{name}-{version}"
    if not (directory / finished).exists():
        print(f"storefs: building {name} in {directory} (once; some minutes)", file=sys.stderr)
    try:
        build()
    except ServerFailed as exc:
        print(f"storefs: {exc}\nstorefs: tests that need it are skipped", file=sys.stderr)


if __name__ == "__main__":
    main()
