# SPDX-License-Identifier: Apache-2.0
"""Whatever step fails, nothing stays attached, reserved, connected or half-made."""

from collections.abc import Callable
from typing import Any

import pytest

from storefs import exceptions
from tests.conftest import ExpectLog
from tests.contract.images import add, listed, read
from tests.unit.cinder.fakes import FakeCinder, attacher

BROKEN = exceptions.RemoteServiceUnavailable("Cinder is gone")

ATTACHING = ["connector", "reserve", "connect", "plug", "complete"]
WRITING = [*ATTACHING, "make", "await_state", "pwrite", "flush", "make_read_only", "rename"]

#: Requests whose answer can get lost after Cinder did what was asked. Where it made something
#: whose name nobody learns then, the journal finds it.
ANSWERED = ["connect", "complete", "make_read_only", "rename"]

MakeDriver = Callable[..., Any]


@pytest.fixture
def volume(cinder: FakeCinder) -> str:
    metadata = {"glance_image_id": "image", "image_size": "5", "readonly": "True"}
    volume_id = cinder.make(1, "image-image", metadata, None)
    cinder.data[volume_id] += b"bytes"
    return volume_id


@pytest.mark.parametrize("step", ATTACHING)
def test_an_attach_that_fails_at_any_step_is_undone(
    cinder: FakeCinder, volume: str, step: str
) -> None:
    cinder.fail[step] = exceptions.BackendException("broken")
    with pytest.raises(exceptions.BackendException, match="broken"):
        attacher(cinder).attach(volume, "ro")
    assert cinder.leftovers == []


@pytest.mark.parametrize("step", ["connect", "complete"])
def test_an_attach_whose_answer_is_lost_is_undone(
    cinder: FakeCinder, volume: str, step: str
) -> None:
    cinder.late[step] = exceptions.TimeoutError("no answer")
    with pytest.raises(exceptions.TimeoutError):
        attacher(cinder).attach(volume, "ro")
    assert cinder.leftovers == []


def test_a_reservation_whose_answer_is_lost_stays_in_the_journal(
    cinder: FakeCinder, volume: str
) -> None:
    cinder.late["reserve"] = exceptions.TimeoutError("no answer")
    with pytest.raises(exceptions.TimeoutError):
        attacher(cinder).attach(volume, "ro")
    assert list(cinder.noted.values()) == [{"volume": volume}]


def test_what_cannot_be_undone_now_is_told_and_stays_in_the_journal(
    cinder: FakeCinder, volume: str, expect_log: ExpectLog
) -> None:
    cinder.fail.update(plug=exceptions.BackendException("no key"), detach=BROKEN)
    with pytest.raises(exceptions.BackendException, match="no key"):
        attacher(cinder).attach(volume, "ro")
    (record,) = cinder.noted.values()
    assert record["volume"] == volume
    assert record["attachment"] in cinder.held
    expect_log("until storefs starts again: Cinder is gone")


def test_a_volume_in_use_elsewhere_is_asked_for_again_and_told_in_the_end(
    cinder: FakeCinder, volume: str
) -> None:
    cinder.known[volume]["status"] = "in-use"
    with pytest.raises(exceptions.InUseByStore, match="not multiattach"):
        attacher(cinder, cinder_attachment_retry_attempts=3).attach(volume, "ro")
    assert cinder.steps.count("reserve") == 3
    assert cinder.noted == {}


def test_a_detach_that_cannot_disconnect_deletes_the_attachment_all_the_same(
    cinder: FakeCinder, volume: str
) -> None:
    attachment = attacher(cinder).attach(volume, "ro")
    cinder.fail["unplug"] = exceptions.BackendException("busy device")
    with pytest.raises(exceptions.BackendException, match="busy device"):
        attachment.detach()
    assert cinder.leftovers == []


@pytest.mark.parametrize(
    ("when", "step"),
    [("fail", step) for step in WRITING] + [("late", step) for step in ANSWERED],
)
def test_a_write_that_fails_at_any_step_leaves_nothing(
    cinder: FakeCinder, make_driver: MakeDriver, when: str, step: str
) -> None:
    driver = make_driver()
    getattr(cinder, when)[step] = exceptions.BackendException("broken")
    with pytest.raises((exceptions.BackendException, exceptions.StorageFull)):
        add(driver, "image", b"bytes", size=5)
    cinder.fail.clear()
    cinder.late.clear()
    assert cinder.leftovers == []
    assert cinder.known == {}
    add(driver, "image", b"again")
    assert read(driver, "image") == b"again"


@pytest.mark.parametrize("step", [s for s in WRITING if s != "make"])
def test_a_write_whose_volume_cannot_be_deleted_now_stays_in_the_journal(
    cinder: FakeCinder, make_driver: MakeDriver, expect_log: ExpectLog, step: str
) -> None:
    cinder.fail.update({step: BROKEN, "delete": BROKEN})
    with pytest.raises((exceptions.RemoteServiceUnavailable, exceptions.StorageFull)):
        add(make_driver(), "image", b"bytes", size=5)
    (volume_id,) = cinder.known
    assert any(record.get("volume") == volume_id for record in cinder.noted.values())
    expect_log("its unfinished volume stays until storefs starts again: Cinder is gone")


@pytest.mark.parametrize("step", ["make_read_only", "rename", "flush"])
def test_a_replacement_that_fails_leaves_the_old_image(
    cinder: FakeCinder, make_driver: MakeDriver, step: str
) -> None:
    driver = make_driver(cinder_detach_grace=0.0)
    add(driver, "image", b"old")
    cinder.fail[step] = BROKEN
    with pytest.raises(exceptions.RemoteServiceUnavailable):
        add(driver, "image", b"new", replace=True)
    cinder.fail.clear()
    assert read(driver, "image") == b"old"
    assert [n for n in cinder.leftovers if "old volume" not in n] == []


def test_an_old_volume_that_cannot_be_deleted_is_no_image_and_in_the_journal(
    cinder: FakeCinder, make_driver: MakeDriver, expect_log: ExpectLog
) -> None:
    driver = make_driver()
    add(driver, "image", b"old")
    cinder.fail["delete"] = BROKEN
    add(driver, "image", b"newer", replace=True)
    assert listed(driver) == {"image": 5}
    assert len(cinder.known) == 2
    assert len([v for v in cinder.known if cinder.volume(v).published]) == 1
    assert [note for note in cinder.noted if note.startswith("old volume")]
    expect_log("its old volume .* stays until storefs starts again")


def test_a_read_that_fails_is_an_error_and_no_short_image(
    cinder: FakeCinder, make_driver: MakeDriver, volume: str
) -> None:
    driver = make_driver(cinder_detach_grace=0.0)
    reader = driver.open(driver.locate("image"))
    cinder.fail["pread"] = exceptions.BackendException("bad sector")
    with pytest.raises(exceptions.BackendException, match="bad sector"):
        reader.pread(5, 0)
    reader.close()
    assert cinder.leftovers == []
