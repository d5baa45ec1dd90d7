# SPDX-License-Identifier: Apache-2.0
"""The file driver when the disk is full, the server hangs, or a process dies."""

import errno
import logging
import os
import pathlib
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers import file_publish
from storefs.drivers.file import FileDriver
from storefs.drivers.file_timeout import TimedCalls
from tests.contract.harnesses import configured, required
from tests.contract.images import add, listed, pattern, read, write

PART = 4 << 20


def _driver(path: pathlib.Path, **options: Any) -> Any:
    return configured(FileDriver, filesystem_store_datadir=str(path), **options)


# -- a full disk and a read-only one


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """An ext4 of its own, with some 12 MB free."""
    if os.geteuid() != 0:
        if required("root"):
            pytest.fail("root is required by STOREFS_REQUIRE")
        pytest.skip("mounting a file system takes root")
    image, mountpoint = tmp_path / "disk", tmp_path / "mnt"
    mountpoint.mkdir()
    subprocess.run(["mke2fs", "-q", "-t", "ext4", image, "16M"], check=True)
    subprocess.run(["mount", "-o", "loop", image, mountpoint], check=True)
    try:
        yield mountpoint
    finally:
        subprocess.run(["umount", mountpoint], check=True)


def test_a_disk_that_is_full_in_the_middle(small_disk: pathlib.Path) -> None:
    driver = _driver(small_disk / "images")
    add(driver, "first", b"first")
    free = driver.capacity().free
    data = pattern(5 * PART)
    with pytest.raises(exceptions.StorageFull) as caught:
        add(driver, "image", data)
    assert isinstance(caught.value.__cause__, OSError)
    assert listed(driver) == {"first": 5}
    assert os.listdir(small_disk / "images") == ["first"]
    os.sync()
    assert driver.capacity().free == free
    add(driver, "image", data[:PART])
    assert read(driver, "image") == data[:PART]


def test_a_size_told_beforehand_is_refused_before_a_byte(small_disk: pathlib.Path) -> None:
    driver = _driver(small_disk)
    with pytest.raises(exceptions.StorageFull):
        driver.create(driver.locate("image"), 5 * PART)


def test_an_image_goes_where_it_fits(small_disk: pathlib.Path, tmp_path: pathlib.Path) -> None:
    roomy = tmp_path / "roomy"
    datadirs = [f"{small_disk}:2", f"{roomy}:1"]
    driver = configured(FileDriver, filesystem_store_datadirs=datadirs)
    add(driver, "small", b"bytes", size=5)
    add(driver, "large", pattern(5 * PART), size=5 * PART)
    assert (small_disk / "small").exists()
    assert (roomy / "large").exists()
    total = sum(os.statvfs(d).f_blocks * os.statvfs(d).f_frsize for d in (small_disk, roomy))
    assert driver.capacity().total == total


def test_of_equal_priority_the_emptiest_is_chosen(
    small_disk: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    roomy = tmp_path / "roomy"
    driver = configured(FileDriver, filesystem_store_datadirs=[str(small_disk), str(roomy)])
    add(driver, "image", b"bytes")
    assert (roomy / "image").exists()


def test_a_read_only_disk_can_be_read(small_disk: pathlib.Path) -> None:
    add(_driver(small_disk), "image", b"bytes")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    driver = _driver(small_disk)
    assert str(small_disk) in driver.writable
    assert read(driver, "image") == b"bytes"
    with pytest.raises(exceptions.StoreAddDisabled, match=str(small_disk)):
        driver.create(driver.locate("other"), None)
    with pytest.raises(exceptions.Forbidden):
        driver.delete(driver.locate("image"))


def test_a_disk_that_becomes_read_only_denies_writing(small_disk: pathlib.Path) -> None:
    driver = _driver(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(exceptions.StorageWriteDenied):
        driver.create(driver.locate("image"), None)


# -- errors of the system


def _failing(number: int) -> Callable[..., Any]:
    def fail(*_args: Any, **_more: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, exceptions.StorageFull),
        (errno.EDQUOT, exceptions.StorageFull),
        (errno.EFBIG, exceptions.StorageFull),
        (errno.EACCES, exceptions.StorageWriteDenied),
        (errno.EPERM, exceptions.StorageWriteDenied),
        (errno.EROFS, exceptions.StorageWriteDenied),
        (errno.ESTALE, exceptions.ImageChanged),
        (errno.EIO, exceptions.BackendException),
    ],
)
@pytest.mark.parametrize("function", ["pwrite", "fsync", "ftruncate", "fstat"])
def test_what_an_error_is_called(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    number: int,
    expected: type[Exception],
) -> None:
    driver = _driver(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, function, _failing(number))
        with pytest.raises(expected) as caught:
            add(driver, "image", b"bytes")
    assert isinstance(caught.value.__cause__, OSError)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EBUSY, exceptions.InUseByStore),
        (errno.EACCES, exceptions.Forbidden),
        (errno.EIO, exceptions.Forbidden),
        (errno.ENOENT, exceptions.NotFound),
    ],
)
def test_what_an_error_of_deleting_is_called(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    expected: type[Exception],
) -> None:
    driver = _driver(tmp_path)
    add(driver, "image", b"bytes")
    monkeypatch.setattr(os, "unlink", _failing(number))
    with pytest.raises(expected):
        driver.delete(driver.locate("image"))


# -- file systems that lack something


@pytest.mark.parametrize("renameat2", [True, False])
def test_without_hard_links_nothing_is_overwritten(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, renameat2: bool
) -> None:
    monkeypatch.setattr(os, "link", _failing(errno.EPERM))
    if not renameat2:
        monkeypatch.setattr(file_publish, "_libc", lambda _name: None)
    driver = _driver(tmp_path)
    late = driver.create(driver.locate("image"), None)
    write(late, b"late")
    add(driver, "image", b"early")
    with pytest.raises(exceptions.Duplicate):
        late.commit(4)
    late.abort()
    assert read(driver, "image") == b"early"
    assert os.listdir(tmp_path) == ["image"]


def test_a_rename_that_does_not_replace(tmp_path: pathlib.Path) -> None:
    """The real renameat2(2), which the fall-back rests on."""
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises(FileExistsError):
        file_publish._rename_noreplace(str(tmp_path / "a"), str(tmp_path / "b"))
    assert file_publish._rename_noreplace(str(tmp_path / "a"), str(tmp_path / "c"))
    assert sorted(os.listdir(tmp_path)) == ["b", "c"]


def test_a_name_that_cannot_be_made_durable_is_taken_back(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_for_directories(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail_for_directories)
    with pytest.raises(exceptions.BackendException):
        add(_driver(tmp_path), "image", b"bytes")
    assert os.listdir(tmp_path) == []


def test_a_directory_that_cannot_be_synchronized_will_do(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _failing(errno.EINVAL))
    file_publish.sync_directory(str(tmp_path))
    monkeypatch.setattr(os, "fsync", _failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        file_publish.sync_directory(str(tmp_path))


# -- processes

_CHILD = """
import sys
from storefs.drivers.file import FileDriver
from tests.contract.harnesses import configured
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
        root = pathlib.Path(__file__).parents[2]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(datadir), text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
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


# -- a file server that hangs


class _Hang:
    """Stands in for a function of os and blocks until it is let go."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._go_on = threading.Event()

    def __call__(self, *args: Any, **more: Any) -> Any:
        self._go_on.wait(60)
        return self._function(*args, **more)

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
