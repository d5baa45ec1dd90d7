# SPDX-License-Identifier: Apache-2.0

import os
import pathlib
from collections.abc import Callable

from storefs.drivers.journal import Journal, Record


def journal(path: pathlib.Path, undo: Callable[[Record], None], place: str = "a") -> Journal:
    return Journal(path, "uploads", place, undo)


def crashed(path: pathlib.Path, *names: str, ended: str = "", place: str = "a") -> None:
    """What a process leaves that noted *names* and was killed."""
    child = os.fork()
    if child == 0:
        notes = journal(path, lambda record: None, place)
        for name in names:
            notes.begun(name, key=f"key of {name}")
        if ended:
            notes.ended(ended)
        os._exit(0)
    os.waitpid(child, 0)


def test_what_a_dead_process_left_is_undone_once(tmp_path: pathlib.Path) -> None:
    undone: list[Record] = []
    crashed(tmp_path, "one", "two", "three", ended="two")
    notes = journal(tmp_path, undone.append)
    notes.sweep()
    notes.sweep()
    assert undone == [{"key": "key of one"}, {"key": "key of three"}]
    assert list(tmp_path.iterdir()) == []


def test_what_runs_or_is_of_another_place_is_left_alone(tmp_path: pathlib.Path) -> None:
    undone: list[Record] = []
    running = journal(tmp_path, undone.append)
    running.begun("mine")
    crashed(tmp_path, "other", place="b")
    journal(tmp_path, undone.append).sweep()
    assert undone == []
    running.close()
    journal(tmp_path, undone.append).sweep()
    assert len(undone) == 1


def test_what_cannot_be_undone_stays_for_the_next_start(tmp_path: pathlib.Path) -> None:
    down = True
    undone: list[Record] = []

    def undo(record: Record) -> None:
        if down and record["key"] == "key of one":
            raise ConnectionError("the server is down")
        undone.append(record)

    crashed(tmp_path, "one", "two")
    notes = journal(tmp_path, undo)
    notes.sweep()
    assert undone == [{"key": "key of two"}]
    down = False
    notes.sweep()
    assert {"key": "key of one"} in undone
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_was_cut_off_hides_no_other(tmp_path: pathlib.Path) -> None:
    undone: list[Record] = []
    crashed(tmp_path, "one")
    (path,) = tmp_path.iterdir()
    with path.open("a") as notes:
        notes.write('{"begun": "tw')
    journal(tmp_path, undone.append).sweep()
    assert undone == [{"key": "key of one"}]


def test_where_nothing_can_be_noted_work_goes_on(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    notes = journal(tmp_path / "file" / "state", lambda record: None)
    notes.begun("one")
    notes.ended("one")
    notes.close()
