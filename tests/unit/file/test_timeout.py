# SPDX-License-Identifier: Apache-2.0
"""The file driver over a file server that hangs."""

import os
import pathlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.file import FileDriver
from storefs.drivers.file.timeout import TimedCalls
from tests.contract.harness import configured
from tests.contract.images import write


def _driver(path: pathlib.Path, **options: Any) -> Any:
    return configured(FileDriver, filesystem_store_datadir=str(path), **options)


class _Hang:
    """Stands in for a function of os and blocks until it is let go."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._go_on = threading.Event()
        self._waiting = threading.Semaphore(0)

    def __call__(self, *args: Any, **more: Any) -> Any:
        self._waiting.release()
        self._go_on.wait(60)
        return self._function(*args, **more)

    def wait_for_another(self) -> None:
        """Until one more call than before hangs here."""
        assert self._waiting.acquire(timeout=60)

    def let_go(self) -> None:
        self._go_on.set()


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], _Hang]]:
    """Makes a function of os hang; all go on when the test ends."""
    hanging: list[_Hang] = []

    def make(name: str) -> _Hang:
        hanging.append(_Hang(getattr(os, name)))
        monkeypatch.setattr(os, name, hanging[-1])
        return hanging[-1]

    yield make
    for one in hanging:
        one.let_go()


def _impatient(path: pathlib.Path, **options: Any) -> Any:
    """A driver that waits for 50 ms, which no option can say."""
    driver = _driver(path, filesystem_store_timeout=1, **options)
    driver._calls._timeout = 0.05
    return driver


def _settled() -> None:
    """Wait for the calls that were given up to end."""
    for thread in threading.enumerate():
        if thread.daemon and "_work" in thread.name:
            thread.join(60)


@pytest.mark.parametrize(
    ("function", "call"),
    [
        ("lstat", lambda d: d.stat(d.locate("image"))),
        ("open", lambda d: d.open(d.locate("image"))),
        ("unlink", lambda d: d.delete(d.locate("image"))),
        ("statvfs", lambda d: d.capacity()),
        ("statvfs", lambda d: d.create(d.locate("new"), None)),
        ("scandir", lambda d: list(d.list())),
        ("rename", lambda d: d.rename(d.locate("image"), d.locate("new"))),
        ("getxattr", lambda d: d.properties(d.locate("image"))),
        ("pread", lambda d: d.open(d.locate("image")).pread(1, 0)),
    ],
)
def test_a_call_that_hangs_is_given_up(
    tmp_path: pathlib.Path, hang: Any, function: str, call: Callable[[Any], Any]
) -> None:
    driver = _impatient(tmp_path)
    (tmp_path / "image").write_bytes(b"bytes")
    stuck = hang(function)
    with pytest.raises(exceptions.TimeoutError):
        call(driver)
    stuck.let_go()
    _settled()


def test_a_commit_that_was_given_up_does_not_publish_later(
    tmp_path: pathlib.Path, hang: Any
) -> None:
    driver = _impatient(tmp_path)
    writer = driver.create(driver.locate("image"), None)
    write(writer, b"bytes")
    stuck = hang("fsync")
    with pytest.raises(exceptions.TimeoutError):
        writer.commit(5)
    writer.abort()
    stuck.let_go()
    _settled()
    assert os.listdir(tmp_path) == []


def test_an_abort_that_hangs_prevents_the_publication_nonetheless(
    tmp_path: pathlib.Path, hang: Any
) -> None:
    driver = _impatient(tmp_path)
    writer = driver.create(driver.locate("image"), None)
    write(writer, b"bytes")
    synchronizing, unlinking = hang("fsync"), hang("unlink")
    with pytest.raises(exceptions.TimeoutError):
        writer.commit(5)
    with pytest.raises(exceptions.TimeoutError):
        writer.abort()
    unlinking.wait_for_another()
    synchronizing.let_go()
    unlinking.wait_for_another()
    assert not (tmp_path / "image").exists()
    unlinking.let_go()
    _settled()
    assert os.listdir(tmp_path) == []


def test_a_file_that_opens_too_late_is_closed(tmp_path: pathlib.Path, hang: Any) -> None:
    driver = _impatient(tmp_path)
    (tmp_path / "image").write_bytes(b"bytes")
    stuck = hang("open")
    with pytest.raises(exceptions.TimeoutError):
        driver.open(driver.locate("image"))
    stuck.let_go()
    _settled()
    opened = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    assert str(tmp_path / "image") not in opened


def test_an_upload_that_begins_too_late_leaves_nothing(tmp_path: pathlib.Path, hang: Any) -> None:
    driver = _impatient(tmp_path)
    stuck = hang("open")
    with pytest.raises(exceptions.TimeoutError):
        driver.create(driver.locate("image"), None)
    stuck.let_go()
    _settled()
    assert os.listdir(tmp_path) == []


def test_hanging_calls_are_bounded_and_told(
    tmp_path: pathlib.Path, hang: Any, expect_log: Any
) -> None:
    driver = _impatient(
        tmp_path, filesystem_store_thread_pool_size=4, filesystem_store_threadpool_threshold=50
    )
    before = threading.active_count()
    stuck = hang("statvfs")
    for _ in range(6):
        with pytest.raises(exceptions.TimeoutError):
            driver.capacity()
    assert threading.active_count() - before == 4
    expect_log("2 of 4 threads hang")
    stuck.let_go()
    _settled()
    assert driver.capacity().total > 0


def test_an_error_comes_through_as_it_is() -> None:
    calls = TimedCalls("store", 60, 2, 75)
    with pytest.raises(exceptions.NotFound, match="x not found"):
        calls.run(_raise_not_found)
    assert calls.run(lambda: 5) == 5


def _raise_not_found() -> None:
    raise exceptions.NotFound(image="x")
