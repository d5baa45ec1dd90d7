# SPDX-License-Identifier: Apache-2.0
"""A driver in a process of its own, to be killed in the middle of its work."""

import contextlib
import pathlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from storefs.drivers.base import Driver

TREE = pathlib.Path(__file__).parents[2]

_PROGRAM = """\
import os, sys
from {module} import {name}
from tests.contract.harness import configured
from tests.contract.images import pattern, write

def ready():
    print("ready", flush=True)
    sys.stdin.read()

driver = configured({name}, **{options!r})
{work}
"""


def program(driver_class: type[Driver[Any]], options: Mapping[str, Any], work: str) -> list[str]:
    """The command, to be run in `TREE`, that does *work* with ``driver``, made of *options*.

    *work* is Python. It has `pattern` and `write`, and ``ready()``, which does not return.
    """
    text = _PROGRAM.format(
        module=driver_class.__module__,
        name=driver_class.__name__,
        options=dict(options),
        work=textwrap.dedent(work),
    )
    return [sys.executable, "-c", text]


@contextlib.contextmanager
def in_the_middle(
    driver_class: type[Driver[Any]], options: Mapping[str, Any], work: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The process that has come to where *work* is ``ready()``; killed at the end."""
    command = program(driver_class, options, work)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=TREE) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            yield child
        finally:
            child.kill()


def kill_in_the_middle(
    driver_class: type[Driver[Any]], options: Mapping[str, Any], work: str
) -> None:
    """Have it killed where *work* is ``ready()``."""
    with in_the_middle(driver_class, options, work):
        pass
