# SPDX-License-Identifier: Apache-2.0
"""Daemons that stop, a client that is shut out, a process that forks."""

import contextlib
import os
import pathlib
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from storefs import exceptions
from storefs.drivers.rbd import RbdDriver
from storefs.drivers.rbd.io import MiB
from tests.contract.harness import configured
from tests.contract.images import add, listed, pattern, read, write
from tests.mount.requirements import needed_context
from tests.mount.tools import await_true
from tests.servers.rbd_pool import RbdPool, own_pool
from tests.unit.rbd.conftest import Make


@pytest.fixture
def own(tmp_path: pathlib.Path) -> Iterator[RbdPool]:
    """A Ceph that may be stopped."""
    with needed_context("rbd", own_pool(tmp_path / "ceph")) as own:
        yield own


@pytest.fixture
def impatient(own: RbdPool) -> Iterator[RbdDriver]:
    driver: RbdDriver = configured(RbdDriver, **{**own.options, "rados_connect_timeout": 2})
    yield driver
    driver.close()


def test_an_osd_that_is_away_is_a_time_out_and_is_found_again(
    own: RbdPool, impatient: RbdDriver
) -> None:
    data = pattern(9 * MiB)
    add(impatient, "image", data)
    with contextlib.closing(impatient.open(impatient.locate("image"))) as reader:
        own.osd_away()
        with pytest.raises(exceptions.TimeoutError):
            reader.pread(100, 0)
        with pytest.raises(exceptions.TimeoutError):
            impatient.stat(impatient.locate("image"))
        with pytest.raises(exceptions.TimeoutError):
            list(impatient.list())
        own.osd_back()
        assert bytes(reader.pread(len(data), 0)) == data
    assert read(impatient, "image") == data


def test_a_write_an_osd_does_not_answer_fails_and_leaves_nothing(
    own: RbdPool, impatient: RbdDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storefs.drivers.rbd.target._AGAIN", 0.5)
    writer = impatient.create(impatient.locate("image"), None)
    writer.pwrite(memoryview(pattern(8 * MiB)), 0)
    own.osd_away()
    with pytest.raises(exceptions.TimeoutError):
        writer.pwrite(memoryview(pattern(8 * MiB)), 8 * MiB)
    writer.abort()
    own.osd_back()
    await_true(lambda: own.names() == [], "an empty pool")
    add(impatient, "image", b"again")
    assert own.get("image") == b"again"


def test_monitors_that_are_away_are_not_missed_by_who_is_connected(
    own: RbdPool, impatient: RbdDriver
) -> None:
    data = pattern(9 * MiB)
    add(impatient, "image", data)
    own.ceph.mon.stop(signal.SIGKILL)
    assert read(impatient, "image") == data
    with pytest.raises((exceptions.TimeoutError, exceptions.RemoteServiceUnavailable)):
        impatient.capacity()
    late: RbdDriver = configured(RbdDriver, **{**own.options, "rados_connect_timeout": 2})
    with pytest.raises(exceptions.TimeoutError, match="rbd_store_ceph_conf"):
        late.stat(late.locate("image"))
    own.ceph.mon.start()
    assert late.stat(late.locate("image")).size == len(data)
    await_true(lambda: _is_counted(impatient), "the manager's report")  # every few seconds
    late.close()


def _is_counted(driver: RbdDriver) -> bool:
    with contextlib.suppress(exceptions.RemoteServiceUnavailable):
        return driver.capacity().total > 0
    return False


def test_without_a_manager_the_capacity_is_unknown_and_the_rest_works(
    tmp_path: pathlib.Path,
) -> None:
    with own_pool(tmp_path / "ceph", manager=False) as own:
        driver: RbdDriver = configured(RbdDriver, **own.options)
        with pytest.raises(exceptions.RemoteServiceUnavailable, match="ceph-mgr"):
            driver.capacity()
        add(driver, "image", b"bytes")
        assert read(driver, "image") == b"bytes"
        driver.close()


def test_a_client_that_is_shut_out_connects_again(driver: RbdDriver, images: RbdPool) -> None:
    data = pattern(9 * MiB)
    add(driver, "image", data)
    reader = driver.open(driver.locate("image"))
    connection = driver._cluster._connection
    assert connection is not None
    address = connection.handle.get_addrs().partition(" ")[0]
    images.command("osd", "blocklist", "add", address)
    try:
        await_true(lambda: _reconnected(driver, connection), "another connection")
        assert read(driver, "image") == data
        add(driver, "other", b"bytes")
        assert listed(driver) == {"image": len(data), "other": 5}
    finally:
        images.command("osd", "blocklist", "rm", address)
        reader.close()


def _reconnected(driver: RbdDriver, connection: object) -> bool:
    driver.stat(driver.locate("image"))
    return driver._cluster._connection is not connection


def test_a_child_has_a_connection_of_its_own(driver: RbdDriver) -> None:
    """Glance's workers fork after the stores are made; librados hangs in the child."""
    add(driver, "image", b"bytes")
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            code = 0 if read(driver, "image") == b"bytes" else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read(driver, "image") == b"bytes"


def test_who_waits_for_a_connection_that_fails_does_not_wait_as_long_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty threads behind one another would wait thirty times as long."""
    driver = make()
    attempts = []
    others: list[Future[object]] = []

    def connect() -> None:
        attempts.append(1)
        others.extend(pool.submit(driver.stat, driver.locate("image")) for _ in range(8))
        await_true(lambda: all(future.running() for future in others), "the others")
        # Running, they have only the lock before them.
        time.sleep(0.5)
        raise exceptions.TimeoutError(timeout=1)

    monkeypatch.setattr(driver._cluster, "_connect", connect)
    with ThreadPoolExecutor(8) as pool:
        with pytest.raises(exceptions.TimeoutError):
            driver.stat(driver.locate("image"))
        assert all(isinstance(f.exception(), exceptions.TimeoutError) for f in others)
    assert len(attempts) == 1


def test_writing_goes_on_elsewhere_while_one_is_given_up(driver: RbdDriver) -> None:
    first = driver.create(driver.locate("first"), None)
    second = driver.create(driver.locate("second"), None)
    write(first, pattern(9 * MiB))
    first.abort()
    write(second, pattern(9 * MiB))
    second.commit(9 * MiB)
    assert listed(driver) == {"second": 9 * MiB}
