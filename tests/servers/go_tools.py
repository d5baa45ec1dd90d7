# SPDX-License-Identifier: Apache-2.0
"""Servers written in Go, built once into a cache outside the tree, by version."""

import fcntl
import os
import pathlib
import shutil
import subprocess
import sysconfig

from tests.servers.process import ServerFailed

#: Where the environment of the tests has its go: Debian's is too old.
_SCRIPTS = sysconfig.get_path("scripts")

#: Building takes minutes of both cores of a small machine.
_PATIENCE = 1800


def cache() -> pathlib.Path:
    """Where what was built stays between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "storefs-servers"


def go_tool(package: str, version: str) -> pathlib.Path:
    """The program of *package* at *version*, built if it is not there; `ServerFailed`."""
    name = package.rpartition("/")[2]
    directory = cache() / f"{name}-{version}"
    program = directory / name
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(f"{package}@{version}", directory)
    return program


def _build(package: str, directory: pathlib.Path) -> None:
    go = shutil.which("go", path=f"{_SCRIPTS}{os.pathsep}{os.environ.get('PATH', '')}")
    if go is None:
        raise ServerFailed(f"building {package} needs go: install storefs[test]")
    environment = {**os.environ, "GOBIN": str(directory), "CGO_ENABLED": "0", "GOFLAGS": ""}
    command = ["nice", "-n", "19", go, "install", "-trimpath", package]
    try:
        subprocess.run(
            command, env=environment, check=True, capture_output=True, timeout=_PATIENCE, text=True
        )
    except subprocess.CalledProcessError as exc:
        raise ServerFailed(f"{package} cannot be built: {exc.stderr[-2000:]}") from exc
    except subprocess.TimeoutExpired as exc:
        raise ServerFailed(f"{package} was not built in {_PATIENCE} seconds") from exc
