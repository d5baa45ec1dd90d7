# SPDX-License-Identifier: Apache-2.0
"""Records in the spool's directory: promised, taken up by another process, removed."""

import os
import pathlib
import subprocess
import sys

import pytest

from storefs.streams.layers import Layer
from storefs.streams.spool import Entry, Record, Spool
from tests.conftest import ExpectLog

RECORD = Record("store", "file:///images/name", "name \udcff", 10, "v1", 5, 77)


@pytest.fixture
def spool(tmp_path: pathlib.Path) -> Spool:
    return Spool(tmp_path / "spool")


def written(entry: Entry, data: bytes) -> Layer:
    layer = entry.layer()
    entry.write(layer, memoryview(data), 0)
    layer.ranges.add(0, len(data))
    return layer


def test_a_promise_is_taken_up_once_nobody_holds_it(spool: Spool) -> None:
    entry = spool.entry()
    layers = [written(entry, b"first"), written(entry, b"2")]
    layers[1].visible = 3
    entry.promise(RECORD, layers, layers)
    unpromised = written(entry, b"not promised")
    assert list(spool.leftovers()) == []
    assert spool.pending() == [RECORD]
    assert spool.pending(orphaned=True) == []
    entry.unlock()
    assert spool.pending(orphaned=True) == [RECORD]
    ((taken, record, found),) = spool.leftovers()
    assert record == RECORD
    assert [(list(a.ranges), a.read(0, a.ranges.total)) for a in found] == [
        ([(0, 5)], b"first"),
        ([(0, 1)], b"2"),
    ]
    assert found[1].visible == 3
    assert not unpromised.path.exists()
    assert list(Spool(spool.path).leftovers()) == []
    more = taken.layer()
    assert more.path not in [layer.path for layer in found]
    taken.remove()
    assert os.listdir(spool.path) == []
    for layer in (*layers, unpromised, *found, more):
        layer.close(keep=False)


def test_what_was_not_promised_is_removed(spool: Spool) -> None:
    entry = spool.entry()
    layer = written(entry, b"bytes")
    entry.promise(RECORD, [layer], [layer])
    entry.withdraw()
    entry.unlock()
    assert list(spool.leftovers()) == []
    assert os.listdir(spool.path) == []
    layer.close(keep=False)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": 99}', '{"format": 1, "layers": [{}]}']
)
def test_a_record_that_cannot_be_read_stays(
    spool: Spool, content: str, expect_log: ExpectLog
) -> None:
    entry = spool.entry()
    entry.record_path.write_text(content)
    entry.unlock()
    before = sorted(os.listdir(spool.path))
    assert list(spool.leftovers()) == []
    assert sorted(os.listdir(spool.path)) == before
    assert spool.pending() == []
    expect_log("cannot be read and stays as it is")


def test_another_process_takes_nothing_of_a_living_one(spool: Spool) -> None:
    entry = spool.entry()
    layer = written(entry, b"bytes")
    entry.promise(RECORD, [layer], [layer])
    script = (
        "import pathlib, sys; from storefs.streams.spool import Spool\n"
        "print(len(list(Spool(pathlib.Path(sys.argv[1])).leftovers())))"
    )
    command = [sys.executable, "-c", script, str(spool.path)]
    assert subprocess.check_output(command, text=True) == "0\n"
    entry.unlock()
    assert subprocess.check_output(command, text=True) == "1\n"
    layer.close(keep=False)


def test_room(tmp_path: pathlib.Path) -> None:
    spool = Spool(tmp_path, limit=1 << 20)
    spool.used = (1 << 20) - 10
    entry = spool.entry()
    layer = written(entry, b"0123456789")
    spool.used += 10
    with pytest.raises(OSError, match="spool_limit of 1 MiB"):
        entry.write(layer, memoryview(b"x"), 10)
    entry.write(layer, memoryview(b"again"), 5)
    spool.limit, spool.floor = 0, 1 << 60
    with pytest.raises(OSError, match="spool_min_free"):
        entry.write(layer, memoryview(b"x"), 10)
    layer.close(keep=False)
    entry.remove()
