# SPDX-License-Identifier: Apache-2.0
"""Several processes, some of them killed, and one data directory."""

import logging
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from storefs.drivers.file import FileDriver
from tests.contract.harness import configured
from tests.contract.images import listed, read, write
from tests.unit.child import TREE


def _driver(path: pathlib.Path, **options: Any) -> Any:
    return configured(FileDriver, filesystem_store_datadir=str(path), **options)


_CHILD = """
import sys
from storefs.drivers.file import FileDriver
from tests.contract.harness import configured
from storefs import exceptions
driver = configured(FileDriver, filesystem_store_datadir=sys.argv[1])
writer = driver.create(driver.locate("image"), None)
writer.pwrite(memoryview(sys.argv[2].encode() * 1000), 0)
print("written", flush=True)
sys.stdin.readline()
try:
    writer.commit(len(sys.argv[2]) * 1000)
    print("won", flush=True)
except exceptions.Duplicate:
    writer.abort()
    print("lost", flush=True)
"""


class _Child:
    """Another process in the middle of adding ``image``."""

    def __init__(self, datadir: pathlib.Path, text: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(datadir), text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=TREE,
        )
        assert self._line() == "written"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def begin_commit(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def outcome(self) -> str:
        return self._line()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def child() -> Iterator[Callable[[pathlib.Path, str], _Child]]:
    children: list[_Child] = []

    def start(datadir: pathlib.Path, text: str) -> _Child:
        children.append(_Child(datadir, text))
        return children[-1]

    yield start
    for one in children:
        one.kill()


def test_what_a_killed_process_left_is_removed(
    tmp_path: pathlib.Path, child: Any, caplog: pytest.LogCaptureFixture
) -> None:
    child(tmp_path, "x").kill()
    (left,) = os.listdir(tmp_path)
    caplog.set_level(logging.INFO)
    driver = _driver(tmp_path)
    assert os.listdir(tmp_path) == []
    assert left in caplog.text
    assert listed(driver) == {}


def test_what_a_living_process_writes_is_left_alone(tmp_path: pathlib.Path, child: Any) -> None:
    living = child(tmp_path, "alive")
    driver = _driver(tmp_path)
    assert len(os.listdir(tmp_path)) == 1
    assert listed(driver) == {}
    living.begin_commit()
    assert living.outcome() == "won"
    assert read(driver, "image") == b"alive" * 1000


def test_what_another_store_of_this_process_writes_is_left_alone(tmp_path: pathlib.Path) -> None:
    first = _driver(tmp_path)
    writer = first.create(first.locate("image"), None)
    write(writer, b"bytes")
    second = _driver(tmp_path)
    writer.commit(5)
    assert read(second, "image") == b"bytes"


def test_of_two_processes_one_wins(tmp_path: pathlib.Path, child: Any) -> None:
    children = {text: child(tmp_path, text) for text in ("one", "two")}
    for one in children.values():
        one.begin_commit()
    outcomes = {text: one.outcome() for text, one in children.items()}
    assert sorted(outcomes.values()) == ["lost", "won"]
    (winner,) = (text for text, outcome in outcomes.items() if outcome == "won")
    assert read(_driver(tmp_path), "image") == winner.encode() * 1000
    assert os.listdir(tmp_path) == ["image"]


def test_other_programs_files_are_no_leftovers(tmp_path: pathlib.Path) -> None:
    (tmp_path / ".storefs-note").write_bytes(b"mine")
    (tmp_path / "image").write_bytes(b"bytes")
    _driver(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".storefs-note", "image"]
