# SPDX-License-Identifier: Apache-2.0
"""Running programs against the mount, and data to do it with."""

import hashlib
import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.mount.requirements import need_tools

KiB = 1024
MiB = 1024 * KiB

#: After this many seconds something hangs. No test measures time with it.
PATIENCE = 60

Result = subprocess.CompletedProcess[str]


def attempt(*command: str | Path, **kwargs: Any) -> Result:
    """Run *command* and give what it printed and its exit code, whatever that is."""
    arguments = [os.fspath(part) for part in command]
    need_tools(arguments[0])
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    return subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE,
        env=environment,
        **kwargs,
    )


def run(*command: str | Path, chatty: bool = False, **kwargs: Any) -> str:
    """Run *command*, which must work, and unless *chatty* without a word on stderr."""
    result = attempt(*command, **kwargs)
    assert result.returncode == 0, (command, result)
    assert chatty or result.stderr == "", (command, result)
    return result.stdout


def output(*command: str | Path) -> bytes:
    """The bytes *command*, which must work, writes."""
    result = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True)
    return result.stdout


def shell(script: str, cwd: Path) -> str:
    """Run *script* in a shell of *cwd*; it must work without a word on stderr."""
    return run("bash", "-euc", script, cwd=cwd)


def data(length: int, seed: int = 0) -> bytes:
    """*length* bytes that do not compress; others for another *seed*."""
    return random.Random(seed).randbytes(length)


def attribute(path: Path, name: str) -> str:
    """What storefs says of an image in the extended attribute ``user.storefs.NAME``."""
    return os.getxattr(path, f"user.storefs.{name}").decode()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def sha512(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def failure(call: Callable[[], object]) -> int:
    """The errno *call* fails with, 0 if it works."""
    try:
        call()
    except OSError as exc:
        return exc.errno or 0
    return 0


def await_true(condition: Callable[[], object], what: str) -> None:
    """Until *condition*, which something else is about to make true; fails if it hangs."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.01)
