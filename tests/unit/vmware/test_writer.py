# SPDX-License-Identifier: Apache-2.0
"""Adding when things go wrong on the way: nothing half-written shows, nothing is left."""

import pathlib
import shutil
import threading
from collections.abc import Callable

import pytest

from storefs import exceptions
from storefs.drivers.base import Capacity
from storefs.drivers.vmware import VmwareDriver
from storefs.drivers.vmware.folder import Folder
from tests.conftest import ExpectLog
from tests.contract.images import add, listed, parts_of, pattern, read, write
from tests.mount.tools import await_true
from tests.servers.vcsim import ImageDirectory
from tests.servers.vsphere_gate import VsphereGate
from tests.unit.vmware.conftest import Make

MiB = 1024 * 1024

STREAMED = 9 * MiB


def _hidden(images: ImageDirectory) -> list[str]:
    return [name for name in images.files() if name.startswith(".storefs-")]


@pytest.mark.parametrize("told", [True, False], ids=["size", "no-size"])
def test_a_long_image_is_one_put_of_it(driver: VmwareDriver, gate: VsphereGate, told: bool) -> None:
    add(driver, "image", pattern(STREAMED), size=STREAMED if told else None)
    made, streamed, note = gate.asked("PUT")
    assert (made.length, streamed.length) == (0, STREAMED)
    assert note.path.endswith(".json")
    assert ("content-length" in streamed.headers) == told
    assert ("transfer-encoding" in streamed.headers) != told


def test_a_short_image_is_sent_with_its_length(driver: VmwareDriver, gate: VsphereGate) -> None:
    add(driver, "image", pattern(3000))
    sent, _ = gate.asked("PUT")
    assert sent.headers["content-length"] == "3000"


def test_a_short_image_is_sent_again(driver: VmwareDriver, gate: VsphereGate) -> None:
    gate.fault(method="PUT", reset=True)
    gate.fault(method="PUT", lose=True)
    add(driver, "image", pattern(3000))
    assert read(driver, "image") == pattern(3000)


def _fails_in_the_middle(
    driver: VmwareDriver, meanwhile: Callable[[], object], error: type[Exception], match: str
) -> None:
    """What happens when two parts are sent is one *error*, when the image is complete."""
    writer = driver.create(driver.locate("image"), None)
    parts = parts_of(writer, pattern(STREAMED))
    for part in parts[:2]:
        writer.pwrite(*part)
    meanwhile()
    writer.pwrite(*parts[2])
    with pytest.raises(error, match=match):
        writer.commit(STREAMED)
    writer.abort()


def test_a_stream_that_breaks_is_one_error_and_leaves_nothing(
    driver: VmwareDriver, gate: VsphereGate, images: ImageDirectory
) -> None:
    def refuse() -> None:
        gate.refused(500, method="PUT", word=".tmp", times=9)

    _fails_in_the_middle(driver, refuse, exceptions.RemoteServiceUnavailable, "500")
    assert images.files() == []


def test_a_session_that_expires_within_an_upload_is_one_error(
    driver: VmwareDriver, gate: VsphereGate, images: ImageDirectory
) -> None:
    """The gate, as any proxy, answers when it has the body."""
    _fails_in_the_middle(driver, gate.expire, exceptions.NotAuthenticated, "401")
    assert images.files() == []
    add(driver, "image", pattern(STREAMED))
    assert read(driver, "image") == pattern(STREAMED)


def test_a_redirect_in_the_middle_is_one_error(
    driver: VmwareDriver, gate: VsphereGate, images: ImageDirectory
) -> None:
    def redirect() -> None:
        gate.redirected(f"{gate.url}/folder/elsewhere", method="PUT", word=".tmp")

    again = "write the image again"
    _fails_in_the_middle(driver, redirect, exceptions.RemoteServiceUnavailable, again)
    assert images.files() == []


@pytest.mark.parametrize("length", [3000, STREAMED], ids=["short", "streamed"])
def test_an_image_the_server_kept_in_part_is_not_published(
    driver: VmwareDriver, images: ImageDirectory, length: int
) -> None:
    """vcsim says 200 whatever became of the bytes; others might as well."""
    writer = driver.create(driver.locate("image"), None)
    write(writer, pattern(length))
    published = Folder.head

    def cut(folder: Folder, name: str) -> object:
        (path,) = images.path().glob("*.tmp")
        with path.open("r+b") as file:
            file.truncate(length - 1)
        return published(folder, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Folder, "head", cut)
        with pytest.raises(exceptions.RemoteServiceUnavailable, match=f"{length - 1} of {length}"):
            writer.commit(length)
    writer.abort()
    assert images.files() == []


def test_a_failure_on_a_full_datastore_is_storage_full(
    driver: VmwareDriver,
    gate: VsphereGate,
    images: ImageDirectory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """vcsim's datastores are never full: what they tell is the test's."""
    writer = driver.create(driver.locate("image"), None)
    write(writer, pattern(3000))
    monkeypatch.setattr(Folder, "space", lambda folder: Capacity(1000, 10))
    gate.refused(500, method="PUT", times=9)
    with pytest.raises(exceptions.StorageFull, match="LocalDS_0"):
        writer.commit(3000)
    gate.refused(507, method="PUT")
    writer.abort()
    assert images.files() == []


def test_no_room_said_by_the_server_is_storage_full(
    driver: VmwareDriver, gate: VsphereGate
) -> None:
    gate.refused(507, method="PUT", times=9)
    with pytest.raises(exceptions.StorageFull):
        add(driver, "image", b"bytes")


def test_a_lost_answer_to_the_renaming_is_looked_up(
    driver: VmwareDriver, gate: VsphereGate, images: ImageDirectory
) -> None:
    writer = driver.create(driver.locate("image"), None)
    write(writer, pattern(3000))
    moved = threading.Event()

    def lose_the_move(folder: Folder, source: str, target: str, *, replace: bool) -> None:
        plain(folder, source, target, replace=replace)
        if not moved.is_set():
            moved.set()
            raise exceptions.RemoteServiceUnavailable("the answer got lost")

    plain = Folder.move
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Folder, "move", lose_the_move)
        writer.commit(3000)
    assert moved.is_set()
    assert read(driver, "image") == pattern(3000)
    assert _hidden(images) == []


def test_a_renaming_that_failed_is_an_error(
    driver: VmwareDriver, images: ImageDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise exceptions.RemoteServiceUnavailable("no")

    writer = driver.create(driver.locate("image"), None)
    write(writer, pattern(3000))
    monkeypatch.setattr(Folder, "move", fail)
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="no"):
        writer.commit(3000)
    writer.abort()
    assert images.files() == []


def test_hashes_that_cannot_be_kept_do_not_cost_the_image(
    driver: VmwareDriver, expect_log: ExpectLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise exceptions.Forbidden("no")

    monkeypatch.setattr("storefs.drivers.vmware.notes.move", fail)
    add(driver, "image", b"bytes")
    assert read(driver, "image") == b"bytes"
    expect_log("image is stored, but its hashes are not kept with it: no")


def test_what_cannot_be_dropped_is_dropped_at_the_next_start(
    driver: VmwareDriver,
    make: Make,
    gate: VsphereGate,
    images: ImageDirectory,
    expect_log: ExpectLog,
) -> None:
    writer = driver.create(driver.locate("image"), None)
    write(writer, pattern(STREAMED))
    assert len(_hidden(images)) == 1
    gate.refused(404, word="/sdk", times=99)
    writer.abort()
    expect_log("stays until storefs starts again")
    driver.close()
    assert len(_hidden(images)) == 1
    gate._faults.clear()
    again = make(vmware_server_host=gate.host)
    _await_none(images)
    assert listed(again) == {}


def _await_none(images: ImageDirectory) -> None:
    await_true(lambda: not _hidden(images), "the end of the temporaries")


def test_what_a_killed_process_left_is_undone_and_what_others_write_is_not(
    make: Make, images: ImageDirectory, state: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of a journal nobody holds is what a killed process leaves."""
    killed, running = make(), make()
    left = killed.create(killed.locate("left"), None)
    write(left, pattern(STREAMED))
    kept = running.create(running.locate("kept"), None)
    before = set(state.iterdir())
    write(kept, pattern(STREAMED))
    (ours,) = set(state.iterdir()) - before
    theirs = next(iter(before))
    shutil.copy(theirs, theirs.with_name(theirs.name.replace(".", ".copy-", 1)))
    theirs.unlink()
    assert ours.exists()
    assert len(_hidden(images)) == 2
    make()
    await_true(lambda: len(_hidden(images)) == 1, "the end of what was left")
    kept.commit(STREAMED)
    assert read(running, "kept") == pattern(STREAMED)
    assert _hidden(images) == []
    left.abort()


def test_a_directory_that_went_is_made_again(
    driver: VmwareDriver, gate: VsphereGate, images: ImageDirectory
) -> None:
    """vcsim makes it by itself: that others refuse is the gate's word."""
    add(driver, "image", b"bytes")
    driver.delete(driver.locate("image"))
    images.path().rmdir()
    gate.refused(404, method="PUT")
    gate.requests.clear()
    add(driver, "image", b"bytes")
    methods = [request.method for request in gate.requests]
    assert methods[methods.index("PUT") :][:3] == ["PUT", "POST", "PUT"]
    assert read(driver, "image") == b"bytes"


def test_a_part_out_of_order_is_refused(driver: VmwareDriver, images: ImageDirectory) -> None:
    writer = driver.create(driver.locate("image"), None)
    with pytest.raises(exceptions.UnsupportedWrite):
        writer.pwrite(memoryview(b"bytes"), 4 * MiB)
    writer.abort()
    assert images.files() == []


def test_another_size_than_was_told_is_not_published(
    driver: VmwareDriver, images: ImageDirectory
) -> None:
    writer = driver.create(driver.locate("image"), STREAMED)
    writer.pwrite(memoryview(pattern(4 * MiB)), 0)
    with pytest.raises(exceptions.Invalid):
        writer.commit(4 * MiB)
    writer.abort()
    assert images.files() == []
