# SPDX-License-Identifier: Apache-2.0
"""Sessions: one for all, renewed once when it expired, and ended at the end."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from pyVim.connect import Disconnect, SmartConnect

from storefs import exceptions
from storefs.drivers.vmware import VmwareDriver
from storefs.drivers.vmware import session as vmware_session
from tests.contract.images import add, listed, pattern, read
from tests.servers.fault_proxy import Request
from tests.servers.vcsim import PASSWORD, USERNAME, ImageDirectory
from tests.servers.vsphere_gate import VsphereGate
from tests.unit.vmware.conftest import Make

MiB = 1024 * 1024


def _cookies(requests: list[Request]) -> set[str]:
    return {request.headers.get("cookie", "") for request in requests}


def test_everything_is_one_session(driver: VmwareDriver, gate: VsphereGate) -> None:
    add(driver, "image", pattern(5 * MiB))
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: read(driver, "image"), range(8)))) == 1
    assert listed(driver) == {"image": 5 * MiB}
    files = [r for r in gate.requests if r.path.startswith("/folder")]
    assert len(_cookies(files)) == 1
    assert len(gate.sessions) == 1


def test_the_first_calls_of_many_threads_log_in_once(make: Make, gate: VsphereGate) -> None:
    driver = make(vmware_server_host=gate.host)

    def missing(number: int) -> None:
        with pytest.raises(exceptions.NotFound):
            driver.stat(driver.locate(f"image-{number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(missing, range(8)))
    assert len(gate.sessions) == 1


def test_an_expired_session_is_renewed_for_files(driver: VmwareDriver, gate: VsphereGate) -> None:
    add(driver, "image", pattern(3000))
    reader = driver.open(driver.locate("image"))
    gate.expire()
    assert bytes(reader.pread(3000, 0)) == pattern(3000)
    assert len(gate.sessions) == 1


def test_an_expired_session_is_renewed_for_calls(driver: VmwareDriver, gate: VsphereGate) -> None:
    add(driver, "image", b"bytes")
    gate.expire()
    assert listed(driver) == {"image": 5}
    gate.expire()
    assert driver.capacity().total > 0
    gate.expire()
    driver.delete(driver.locate("image"))
    assert listed(driver) == {}


def test_readers_of_an_expired_session_all_go_on(driver: VmwareDriver, gate: VsphereGate) -> None:
    data = pattern(8 * MiB)
    add(driver, "image", data)
    reader = driver.open(driver.locate("image"))
    gate.expire()
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda n: bytes(reader.pread(MiB, n * MiB)), range(8)))
    assert b"".join(parts) == data


@pytest.mark.parametrize("length", [3000, 9 * MiB], ids=["short", "streamed"])
def test_a_session_that_expired_before_an_upload_costs_nothing(
    driver: VmwareDriver, gate: VsphereGate, length: int
) -> None:
    writer = driver.create(driver.locate("image"), length)
    gate.expire()
    for offset in range(0, length, 4 * MiB):
        part = pattern(length)[offset : offset + 4 * MiB]
        writer.pwrite(memoryview(part), offset)
    writer.commit(length)
    assert read(driver, "image") == pattern(length)


def test_who_is_refused_for_ever_gets_an_error_and_no_page(
    driver: VmwareDriver, gate: VsphereGate, images: ImageDirectory
) -> None:
    images.put("image", pattern(3000))
    reader = driver.open(driver.locate("image"))
    gate.refused(401, word="/folder", times=99)
    before = len(gate.asked("GET", "/folder"))
    with pytest.raises(exceptions.NotAuthenticated, match="401") as caught:
        reader.pread(3000, 0)
    assert len(gate.asked("GET", "/folder")) - before == 2
    assert PASSWORD not in str(caught.value)
    for function in (driver.stat, driver.open, driver.delete):
        with pytest.raises(exceptions.NotAuthenticated):
            function(driver.locate("image"))
    with pytest.raises(exceptions.NotAuthenticated):
        add(driver, "other", b"bytes")


def test_missing_rights_are_told(driver: VmwareDriver, gate: VsphereGate) -> None:
    gate.refused(403, method="PUT", times=99)
    with pytest.raises(exceptions.Forbidden, match=r"Datastore\.FileManagement"):
        add(driver, "image", b"bytes")


def test_a_refused_password_is_sent_again_after_a_while(
    make: Make, gate: VsphereGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = make(vmware_server_host=gate.host, vmware_server_password="other-word")
    monkeypatch.setattr(vmware_session, "_REFUSED_FOR", 0.05)
    for _ in range(2):
        with pytest.raises(exceptions.NotAuthenticated):
            driver.stat(driver.locate("image"))
        time.sleep(0.1)
    assert len(gate.asked("POST", "/sdk")) == 4


def test_the_session_ends_with_the_driver(make: Make, images: ImageDirectory) -> None:
    host, _, port = images.server.host.partition(":")
    watcher = SmartConnect(
        host=host, port=int(port), user=USERNAME, pwd=PASSWORD, disableSslCertValidation=True
    )
    manager = watcher.content.sessionManager
    before = len(manager.sessionList)
    driver = make()
    assert listed(driver) == {}
    assert len(manager.sessionList) == before + 1
    driver.close()
    assert len(manager.sessionList) == before
    Disconnect(watcher)


def test_a_server_that_is_busy_is_asked_again(driver: VmwareDriver, gate: VsphereGate) -> None:
    gate.refused(503, times=2)
    add(driver, "image", b"bytes")
    gate.refused(503, times=2)
    assert read(driver, "image") == b"bytes"


def test_a_task_that_does_not_end_ends_with_the_time_out(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = make(vmware_store_task_timeout=0.05)
    running = {"info.state": "running"}
    monkeypatch.setattr(vmware_session, "_task_info", lambda content, task: running)
    with pytest.raises(exceptions.TimeoutError, match="vmware_store_task_timeout"):
        list(driver.list())


def test_a_server_that_says_nothing_ends_with_the_time_out(
    driver: VmwareDriver, gate: VsphereGate
) -> None:
    gate.fault(word="/sdk", stall=10)
    with pytest.raises(exceptions.TimeoutError, match="2 seconds"):
        driver.stat(driver.locate("image"))
