# SPDX-License-Identifier: Apache-2.0
"""What Keystone, Cinder and Glance have in common: an environment, and an empty database in it.

Laying out the tables takes up to 20 seconds, which each run would wait for.
"""

import fcntl
import pathlib
import shutil
import subprocess

from tests.servers.process import ServerFailed
from tests.servers.venv_tools import python_server

#: The empty database, which each server begins with a copy of.
EMPTY = "empty.db"

#: All it has to know for that.
_DATABASE = "[database]\nconnection = sqlite:///{here}/{name}.db\n"


def environment(
    name: str, version: str, *others: str, sync: tuple[str, ...] = ("db_sync",)
) -> pathlib.Path:
    """The environment with the service and `EMPTY` in it, built if need be; `ServerFailed`.

    *sync* is what ``NAME-manage`` is told to lay the tables out.
    """
    directory = python_server(name, version, *others)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / EMPTY).exists():
            work = directory / "layout"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            conf = work / f"{name}.conf"
            conf.write_text(_DATABASE.format(here=work, name=name))
            manage(directory, name, conf, *sync)
            (work / f"{name}.db").rename(directory / EMPTY)
    return directory


def manage(venv: pathlib.Path, name: str, conf: pathlib.Path, *arguments: str) -> None:
    """Run ``NAME-manage`` with *conf*; `ServerFailed` with what it says."""
    program = f"{name}-manage"
    command = [venv / "bin" / "python", "-W", "ignore", venv / "bin" / program]
    words = [*map(str, command), "--config-file", str(conf), *arguments]
    try:
        subprocess.run(words, check=True, capture_output=True, text=True, timeout=300)
    except subprocess.CalledProcessError as exc:
        raise ServerFailed(f"{program} {arguments[0]}: {exc.stderr[-2000:]}") from exc
    except subprocess.TimeoutExpired as exc:
        raise ServerFailed(f"{program} {arguments[0]} hangs") from exc
