# SPDX-License-Identifier: Apache-2.0
"""An upload ends once, and what was stored is dropped when nothing is under way any more."""

import contextlib
import threading
from collections.abc import Callable

import pytest

from storefs import exceptions
from storefs.drivers.open_upload import OpenUpload


class Busy:
    """A part that is under way, in a thread, until `through`."""

    def __init__(self, upload: OpenUpload, failure: Exception | None = None) -> None:
        self._begun, self._go_on = threading.Event(), threading.Event()
        self._failure = failure
        self._thread = threading.Thread(target=self._run, args=[upload], daemon=True)
        self._thread.start()
        assert self._begun.wait(10)

    def through(self) -> None:
        self._go_on.set()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self, upload: OpenUpload) -> None:
        with contextlib.suppress(OSError), upload.part():
            self._begun.set()
            self._go_on.wait(10)
            if self._failure is not None:
                raise self._failure


class Dropped:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def upload() -> OpenUpload:
    return OpenUpload("image")


@pytest.fixture
def drop() -> Dropped:
    return Dropped()


def _in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_what_has_ended_takes_no_part(upload: OpenUpload) -> None:
    with upload.part():
        upload.check_open()
    assert upload.end()
    assert not upload.end()
    with pytest.raises(exceptions.BackendException, match="image has ended"):
        upload.check_open()
    with pytest.raises(exceptions.BackendException, match="image has ended"), upload.part():
        pass


def test_what_nothing_uses_is_dropped_at_once_and_once(upload: OpenUpload, drop: Dropped) -> None:
    upload.abort(drop)
    upload.abort(drop)
    assert drop.times == 1
    with pytest.raises(exceptions.BackendException):
        upload.check_open()


def test_an_abort_waits_for_the_parts(upload: OpenUpload, drop: Dropped) -> None:
    busy = Busy(upload)
    aborting = _in_thread(lambda: upload.abort(drop))
    while _is_open(upload):
        pass
    assert drop.times == 0
    assert aborting.is_alive()
    busy.through()
    aborting.join(10)
    assert drop.times == 1


def _is_open(upload: OpenUpload) -> bool:
    try:
        upload.check_open()
    except exceptions.BackendException:
        return False
    return True


@pytest.mark.parametrize("failure", [None, OSError("lost")])
def test_the_last_part_drops_what_an_abort_had_no_patience_for(
    upload: OpenUpload, drop: Dropped, failure: Exception | None
) -> None:
    first, last = Busy(upload), Busy(upload, failure)
    upload.abort(drop, 0.01)
    assert drop.times == 0
    first.through()
    assert drop.times == 0
    last.through()
    assert drop.times == 1


@pytest.mark.parametrize("failure", [None, OSError("lost")])
def test_what_is_published_is_not_dropped(
    upload: OpenUpload, drop: Dropped, failure: Exception | None
) -> None:
    late = Busy(upload, failure)
    with upload.publication():
        pass
    upload.abort(drop, 0.01)
    late.through()
    assert drop.times == 0


def test_an_abort_in_the_middle_of_a_publication_comes_too_late(
    upload: OpenUpload, drop: Dropped
) -> None:
    with upload.publication():
        upload.abort(drop, 0.01)
        assert drop.times == 0
    assert drop.times == 0


def test_a_publication_that_fails_leaves_it_open(upload: OpenUpload, drop: Dropped) -> None:
    with pytest.raises(OSError), upload.publication():
        raise OSError
    upload.check_open()
    upload.abort(drop)
    assert drop.times == 1


def test_a_publication_that_fails_drops_what_was_given_up_meanwhile(
    upload: OpenUpload, drop: Dropped
) -> None:
    with contextlib.suppress(OSError), upload.publication():
        upload.abort(drop, 0.01)
        assert drop.times == 0
        raise OSError
    assert drop.times == 1


def test_waiting_for_the_parts_ends_with_them_or_with_the_patience(upload: OpenUpload) -> None:
    assert upload.wait_idle()
    busy = Busy(upload)
    assert not upload.wait_idle(0.01)
    busy.through()
    assert upload.wait_idle()
