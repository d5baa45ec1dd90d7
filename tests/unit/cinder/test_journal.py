# SPDX-License-Identifier: Apache-2.0
"""What a killed process has left is undone, and nothing that is somebody else's."""

from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.cinder.journal import Undo, remove
from tests.unit.cinder.fakes import FakeCinder, attacher

IMAGE = {"glance_image_id": "image", "image_size": "5", "readonly": "True"}
UPLOAD = {"storefs_upload": "image"}


@pytest.fixture
def undo(cinder: FakeCinder) -> Undo:
    given: Any = cinder
    return Undo(given, given)


def test_an_attachment_is_deleted(cinder: FakeCinder, undo: Undo) -> None:
    volume = cinder.make(1, "image-image", IMAGE, None)
    attachment = attacher(cinder).attach(volume, "ro")
    undo({"volume": volume, "attachment": attachment.id})
    assert cinder.held == {}
    assert "unplug_leftover" in cinder.steps
    undo({"volume": volume, "attachment": attachment.id})
    assert volume in cinder.known


def test_a_reservation_nobody_knows_the_name_of_is_deleted(cinder: FakeCinder, undo: Undo) -> None:
    volume = cinder.make(1, "image-image", IMAGE, None)
    cinder.reserve(volume, "ro")
    undo({"volume": volume})
    assert cinder.held == {}
    assert "pause" in cinder.steps


def test_an_attachment_of_another_host_stays(cinder: FakeCinder, undo: Undo) -> None:
    volume = cinder.make(1, "image-image", IMAGE, None)
    attachment = attacher(cinder).attach(volume, "ro")
    undo({"volume": volume})
    assert attachment.id in cinder.held


@pytest.mark.parametrize("named", [True, False])
def test_an_unfinished_volume_is_deleted_attached_or_not(
    cinder: FakeCinder, undo: Undo, named: bool
) -> None:
    volume = cinder.make(1, "storefs-upload-1", UPLOAD, None)
    attacher(cinder).attach(volume, "rw")
    undo({"made_as": "storefs-upload-1", **({"volume": volume} if named else {})})
    assert (cinder.known, cinder.held) == ({}, {})


def test_a_volume_that_was_published_meanwhile_stays(cinder: FakeCinder, undo: Undo) -> None:
    volume = cinder.make(1, "image-image", IMAGE, None)
    undo({"made_as": "storefs-upload-1", "volume": volume})
    assert volume in cinder.known


@pytest.mark.parametrize("published", [True, False])
def test_what_was_to_be_replaced_goes_if_it_was(
    cinder: FakeCinder, undo: Undo, published: bool
) -> None:
    old = cinder.make(1, "image-image", IMAGE, None)
    new = cinder.make(1, "image-image", IMAGE if published else UPLOAD, None)
    undo({"volume": old, "successor": new})
    assert (old in cinder.known) is not published


def test_a_volume_ceph_still_watches_is_tried_again(cinder: FakeCinder) -> None:
    volume = cinder.make(1, "storefs-upload-1", UPLOAD, None)
    given: Any = cinder
    cinder.fail["await_deleted"] = exceptions.InUseByStore("watched")

    def later(_seconds: float) -> None:
        cinder.fail.clear()

    given.pause = later
    remove(given, volume)
    assert cinder.steps.count("delete") == 2


def test_a_volume_that_stays_busy_is_told(cinder: FakeCinder) -> None:
    volume = cinder.make(1, "storefs-upload-1", UPLOAD, None)
    given: Any = cinder
    cinder.fail["delete"] = exceptions.InUseByStore("busy")
    with pytest.raises(exceptions.InUseByStore):
        remove(given, volume, 0)
    cinder.fail.clear()
    cinder.delete(volume)
    remove(given, volume, 0)
