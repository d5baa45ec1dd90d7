# SPDX-License-Identifier: Apache-2.0
"""One attachment for all who read an image, kept for a while after the last."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from storefs import exceptions
from storefs.drivers.cinder.sharing import Shares
from tests.conftest import ExpectLog
from tests.mount.tools import await_true
from tests.unit.cinder.fakes import FakeCinder, attacher


@pytest.fixture
def volume(cinder: FakeCinder) -> str:
    return cinder.make(1, "image-image", {"glance_image_id": "image"}, None)


def _await_detached(cinder: FakeCinder) -> None:
    await_true(lambda: not cinder.held, "the end of the attachments")


def test_many_at_once_attach_once(cinder: FakeCinder, volume: str) -> None:
    shares, works = Shares(60.0), attacher(cinder)
    barrier = threading.Barrier(8)

    def use(_: int) -> None:
        barrier.wait()
        with contextlib.closing(_Released(shares.acquire(volume, works))):
            assert len(cinder.held) == 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    assert cinder.steps.count("reserve") == 1
    shares.close()
    assert cinder.leftovers == []


class _Released:
    def __init__(self, share: object) -> None:
        self._share = share

    def close(self) -> None:
        self._share.release()  # type: ignore[attr-defined]


def test_it_is_kept_for_the_next_reader_and_detached_in_the_end(
    cinder: FakeCinder, volume: str
) -> None:
    shares, works = Shares(0.05), attacher(cinder)
    shares.acquire(volume, works).release()
    again = shares.acquire(volume, works)
    assert cinder.steps.count("reserve") == 1
    again.release()
    _await_detached(cinder)
    assert cinder.leftovers == []
    shares.acquire(volume, works).release()
    _await_detached(cinder)
    assert cinder.steps.count("reserve") == 2
    shares.close()


def test_without_grace_the_last_reader_detaches(cinder: FakeCinder, volume: str) -> None:
    shares, works = Shares(0.0), attacher(cinder)
    first, second = shares.acquire(volume, works), shares.acquire(volume, works)
    first.release()
    first.release()
    assert len(cinder.held) == 1
    second.release()
    assert cinder.leftovers == []


def test_an_attach_that_failed_is_tried_again_by_the_next(cinder: FakeCinder, volume: str) -> None:
    shares, works = Shares(60.0), attacher(cinder)
    cinder.fail["plug"] = exceptions.BackendException("not now")
    with pytest.raises(exceptions.BackendException):
        shares.acquire(volume, works)
    cinder.fail.clear()
    shares.acquire(volume, works).release()
    shares.close()
    assert cinder.leftovers == []


def test_what_is_to_be_done_at_last_waits_for_the_readers(cinder: FakeCinder, volume: str) -> None:
    shares, works, done = Shares(60.0), attacher(cinder), threading.Event()
    reader = shares.acquire(volume, works)
    assert shares.at_last(volume, done.set)
    assert not done.is_set()
    reader.release()
    assert done.is_set()
    assert cinder.leftovers == []
    shares.close()


def test_without_readers_it_is_detached_at_once(cinder: FakeCinder, volume: str) -> None:
    shares, works = Shares(60.0), attacher(cinder)
    shares.acquire(volume, works).release()
    assert len(cinder.held) == 1
    assert not shares.at_last(volume, lambda: None)
    assert cinder.leftovers == []
    shares.close()


def test_closing_detaches_what_is_still_read(cinder: FakeCinder, volume: str) -> None:
    shares = Shares(60.0)
    reader = shares.acquire(volume, attacher(cinder))
    shares.close()
    assert cinder.leftovers == []
    with pytest.raises(exceptions.BackendException, match="not attached"):
        reader.preadv(1, 0)


def test_a_volume_that_stays_attached_is_told(
    cinder: FakeCinder, volume: str, expect_log: ExpectLog
) -> None:
    shares = Shares(0.0)
    reader = shares.acquire(volume, attacher(cinder))
    cinder.fail["detach"] = exceptions.RemoteServiceUnavailable("Cinder is gone")
    reader.release()
    expect_log("stays attached until storefs starts again: Cinder is gone")
    assert cinder.noted
