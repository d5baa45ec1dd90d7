# SPDX-License-Identifier: Apache-2.0
"""The file of names: what it may hold, who may change it, and what stays as it was."""

import fcntl
import multiprocessing
import os
import pathlib
import stat
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storefs import exceptions
from storefs.drivers.http.catalog import Catalog
from storefs.drivers.http.location import HttpLocation
from tests.conftest import ExpectLog


def check(url: str) -> None:
    HttpLocation(None).parse_uri(url)


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "catalog"


@pytest.fixture
def catalog(path: pathlib.Path) -> Catalog:
    return Catalog(path, check)


def test_lines_are_names_and_urls(path: pathlib.Path, catalog: Catalog):
    path.write_text(
        "# images\n"
        "\n"
        "debian.qcow2 = https://host/debian.qcow2\n"
        "  two words=http://host/a?b=c#d  \n"
        "a=b = http://host/x=http://y\r\n"
        "\u65e5\u672c\u2028 \u8a9e = http://user:pass@host:80/"
    )
    assert dict(catalog.urls()) == {
        "debian.qcow2": "https://host/debian.qcow2",
        "two words": "http://host/a?b=c#d",
        "a=b": "http://host/x=http://y",
        "\u65e5\u672c\u2028 \u8a9e": "http://user:pass@host:80/",
    }


def test_bad_lines_are_told_with_their_number_and_the_others_work(
    path: pathlib.Path, catalog: Catalog, expect_log: ExpectLog
):
    path.write_text(
        "good = http://host/good\n"
        "nonsense\n"
        "a/b = http://host/\n"
        "bad = http://user:secret@host:port/\n"
        "ftp = ftp://host/\n"
        ".. = http://host/\n"
        "good = http://host/again\n"
        "fine = http://host/fine\n"
    )
    for _ in range(2):  # read once, told once
        assert dict(catalog.urls()) == {"good": "http://host/good", "fine": "http://host/fine"}
    for line in (2, 3, 5):
        expect_log(f"catalog:{line} is ignored: expected NAME")
    expect_log("catalog:4 is ignored: .*malformed: the port")
    expect_log("catalog:6 is ignored: .*cannot name an image")
    expect_log("catalog:7 is ignored: .*taken by an earlier line")


def test_no_message_shows_a_password(
    path: pathlib.Path, catalog: Catalog, expect_log: ExpectLog, caplog: pytest.LogCaptureFixture
):
    path.write_text("bad = http://user:secret@host:port/\nuser:secret@host\n")
    assert catalog.urls() == {}
    assert "secret" not in caplog.text
    expect_log("is ignored")


def test_a_changed_file_is_read_again(path: pathlib.Path, catalog: Catalog):
    assert catalog.urls() == {}
    path.write_text("one = http://host/1\n")
    assert set(catalog.urls()) == {"one"}
    other = path.with_name("other")
    other.write_text("two = http://host/2\n")
    other.rename(path)
    assert set(catalog.urls()) == {"two"}
    path.unlink()
    assert catalog.urls() == {}


def test_a_change_keeps_all_other_lines(path: pathlib.Path, catalog: Catalog):
    path.write_bytes(
        b"# mine\r\n\n  one = http://host/1\n# \xff\x0c odd \xe2\x80\xa8\ntwo=http://h/2"
    )
    path.chmod(0o640)
    catalog.add("three", "http://host/3")
    catalog.remove("one")
    assert path.read_bytes() == (
        b"# mine\r\n\n# \xff\x0c odd \xe2\x80\xa8\ntwo=http://h/2\nthree = http://host/3\n"
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert set(catalog.urls()) == {"two", "three"}
    assert os.listdir(path.parent) == [path.name]


def test_a_new_file_is_for_its_owner_alone(tmp_path: pathlib.Path):
    path = tmp_path / "state" / "storefs" / "web.catalog"
    Catalog(path, check).add("name", "http://user:pass@host/")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_link_to_the_file_stays_a_link(path: pathlib.Path, tmp_path: pathlib.Path):
    link = tmp_path / "link"
    link.symlink_to(path)
    Catalog(link, check).add("name", "http://host/")
    assert link.is_symlink()
    assert path.read_text() == "name = http://host/\n"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\0b", "#a", "=a", " a", "a ", "a\nb = http://h/", "a\tb"]
)
def test_a_name_the_file_cannot_hold_is_invalid(path: pathlib.Path, catalog: Catalog, name: str):
    with pytest.raises(exceptions.Invalid):
        catalog.add(name, "http://host/")
    assert not path.exists()


@pytest.mark.parametrize("url", ["", "host/path", "http://", "http://h/ x", "http://h/\nb = http:"])
def test_a_url_that_is_none_is_refused(path: pathlib.Path, catalog: Catalog, url: str):
    with pytest.raises(exceptions.BadStoreUri):
        catalog.add("name", url)
    assert not path.exists()


def test_names_are_taken_once_and_removed_once(path: pathlib.Path, catalog: Catalog):
    catalog.add("name", "http://host/1")
    before = path.read_text()
    with pytest.raises(exceptions.Duplicate):
        catalog.add("name", "http://host/2")
    catalog.add("other", "http://host/2")
    catalog.remove("other")
    with pytest.raises(exceptions.NotFound):
        catalog.remove("other")
    assert path.read_text() == before


_NAMES = st.text(st.characters(), max_size=12)  # any, with surrogates


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(st.dictionaries(_NAMES, st.text(st.characters(min_codepoint=33), max_size=9), max_size=5))
def test_what_was_added_is_there(tmp_path: pathlib.Path, urls: dict[str, str]):
    path = tmp_path / "some"
    path.unlink(missing_ok=True)
    catalog, expected = Catalog(path, check), {}
    for name, tail in urls.items():
        try:
            catalog.add(name, f"http://host/{tail}")
        except (exceptions.Invalid, exceptions.BadStoreUri):
            continue
        expected[name] = f"http://host/{tail}"
    assert Catalog(path, check).urls() == expected
    for name in expected:
        catalog.remove(name)
    assert catalog.urls() == {}


def _register(path: pathlib.Path, prefix: str, count: int) -> None:
    catalog = Catalog(path, check)
    for number in range(count):
        catalog.add(f"{prefix}{number}", f"http://host/{prefix}/{number}")
        if number % 3 == 0:
            catalog.remove(f"{prefix}{number}")


def test_processes_that_register_at_once_lose_nothing(path: pathlib.Path, catalog: Catalog):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_register, args=(path, p, 30)) for p in "abc"]
    for process in processes:
        process.start()
    seen = 0
    while any(process.is_alive() for process in processes):
        assert len(catalog.urls()) >= seen - len(processes)  # never half a file
        seen = max(seen, len(catalog.urls()))
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert set(catalog.urls()) == {f"{p}{n}" for p in "abc" for n in range(30) if n % 3}
    assert os.listdir(path.parent) == [path.name]


def test_a_directory_that_cannot_be_written_is_told(tmp_path: pathlib.Path):
    (tmp_path / "file").touch()
    with pytest.raises(exceptions.StorageWriteDenied, match="catalogue"):
        Catalog(tmp_path / "file" / "catalog", check).add("name", "http://host/")


def test_a_file_that_cannot_be_read_is_told(tmp_path: pathlib.Path):
    with pytest.raises(exceptions.StorageWriteDenied, match="catalogue"):
        Catalog(tmp_path, check).urls()


def test_a_lock_on_a_file_that_was_replaced_is_worth_nothing(path: pathlib.Path, catalog: Catalog):
    path.write_text("")
    other = path.with_name("other")
    other.write_text("theirs = http://host/\n")
    with ThreadPoolExecutor(1) as threads, path.open() as old, other.open() as new:
        for file in (old, new):
            fcntl.flock(file, fcntl.LOCK_EX)
        ours = threads.submit(catalog.add, "ours", "http://host/")
        other.rename(path)
        fcntl.flock(old, fcntl.LOCK_UN)
        with pytest.raises(FutureTimeout):  # it waits for whoever has the file that is there now
            ours.result(0.3)
        fcntl.flock(new, fcntl.LOCK_UN)
        ours.result(10)
    assert set(catalog.urls()) == {"ours", "theirs"}
