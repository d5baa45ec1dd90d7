# SPDX-License-Identifier: Apache-2.0
"""Servers written in Python, each in an environment of its own, built once into the cache."""

import fcntl
import os
import pathlib
import subprocess
import venv
from collections.abc import Sequence

from tests.servers.go_tools import cache
from tests.servers.process import ServerFailed

#: Half a minute when the wheels are at hand; some have to be compiled.
_PATIENCE = 1200


def python_server(name: str, version: str, *others: str) -> pathlib.Path:
    """The directory of the environment with *name* at *version* and *others*; `ServerFailed`.

    What is finished has a file `.built`: an installation that was cut off begins anew.
    """
    directory = cache() / f"{name}-{version}"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / ".built").exists():
            _build(directory, [f"{name}=={version}", *others])
            (directory / ".built").touch()
    return directory


def _build(directory: pathlib.Path, requirements: Sequence[str]) -> None:
    venv.create(directory, with_pip=True, clear=False)
    command = ["nice", "-n", "19", str(directory / "bin" / "python"), "-m", "pip", "install", "-q"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    try:
        subprocess.run(
            [*command, *requirements],
            env=environment,
            check=True,
            capture_output=True,
            timeout=_PATIENCE,
            text=True,
        )
    except subprocess.CalledProcessError as exc:
        reason = exc.stderr[-2000:]
        raise ServerFailed(f"{requirements[0]} cannot be installed: {reason}") from exc
    except subprocess.TimeoutExpired as exc:
        raise ServerFailed(f"{requirements[0]} was not installed in {_PATIENCE} seconds") from exc
