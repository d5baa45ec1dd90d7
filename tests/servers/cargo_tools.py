# SPDX-License-Identifier: Apache-2.0
"""Testers of file systems written in Rust, built once into the cache, by version."""

import fcntl
import pathlib
import shutil
import subprocess

from tests.servers.go_tools import cache
from tests.servers.process import ServerFailed

#: name on crates.io -> version
PJDFSTEST = ("pjdfstest", "0.2.2")
FSX = ("fsx", "0.3.2")
TOOLS = (PJDFSTEST, FSX)

#: Building takes a minute or two of both cores of a small machine.
_PATIENCE = 1800


def path_of(name: str, version: str) -> pathlib.Path:
    """Where the program *name* is, or will be."""
    return cache() / f"{name}-{version}" / "bin" / name


def cargo_tool(name: str, version: str) -> pathlib.Path:
    """The program *name* of crates.io at *version*, built if it is not there; `ServerFailed`."""
    program = path_of(name, version)
    directory = program.parent.parent
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(name, version, directory)
    return program


def _build(name: str, version: str, directory: pathlib.Path) -> None:
    cargo = shutil.which("cargo")
    if cargo is None:
        # cargo and rustc of Debian 12 are too old (1.66); those it builds browsers with are not
        raise ServerFailed(f"building {name} needs cargo >= 1.85 (Debian 12: cargo-web rustc-web)")
    command = ["nice", "-n", "19", cargo, "install", "--quiet", "--locked", "--no-track"]
    command += ["--root", str(directory), "--version", version, name]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE, text=True)
    except subprocess.CalledProcessError as exc:
        raise ServerFailed(f"{name} cannot be built: {exc.stderr[-2000:]}") from exc
    except subprocess.TimeoutExpired as exc:
        raise ServerFailed(f"{name} was not built in {_PATIENCE} seconds") from exc
