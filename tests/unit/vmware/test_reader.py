# SPDX-License-Identifier: Apache-2.0
"""Reading through a gate that fails: never short, never two images, never a page as data."""

from collections.abc import Iterator

import pytest

from storefs import exceptions
from storefs.drivers.vmware import VmwareDriver
from tests.contract.images import add, pattern, read
from tests.servers.vcsim import ImageDirectory
from tests.servers.vsphere_gate import VsphereGate
from tests.unit.vmware.conftest import Make

MiB = 1024 * 1024


@pytest.fixture
def host(images: ImageDirectory) -> Iterator[VsphereGate]:
    """Another server, as an ESXi host is that a vCenter sends clients to."""
    with VsphereGate(images.server) as gate:
        gate.open_to_all = True
        yield gate


def test_a_body_that_is_cut_is_read_on(
    driver: VmwareDriver, gate: VsphereGate, images: ImageDirectory
) -> None:
    data = pattern(3 * MiB)
    images.put("image", data)
    reader = driver.open(driver.locate("image"))
    gate.fault(method="GET", word="/image", cut=MiB + 7)
    assert bytes(reader.pread(3 * MiB, 0)) == data
    ranges = [r.headers["range"] for r in gate.asked("GET", "/image?")]
    assert len(ranges) == 2


def test_a_stall_ends_with_the_time_out(
    driver: VmwareDriver, gate: VsphereGate, images: ImageDirectory
) -> None:
    images.put("image", pattern(MiB))
    reader = driver.open(driver.locate("image"))
    gate.fault(method="GET", word="/image", stall=1000)
    with pytest.raises(exceptions.TimeoutError, match="2 seconds"):
        reader.pread(MiB, 0)
    assert bytes(reader.pread(MiB, 0)) == pattern(MiB)


@pytest.mark.parametrize("status", [200, 206])
def test_a_page_is_never_an_image(
    driver: VmwareDriver, gate: VsphereGate, images: ImageDirectory, status: int
) -> None:
    """Even one of the right length: it has no date."""
    images.put("image", pattern(3000))
    reader = driver.open(driver.locate("image"))
    page = b"<html>" + b" " * 2994
    headers = {"Content-Type": "text/html", "Content-Range": "bytes 0-2999/3000"}
    gate.fault(method="GET", word="/image", page=(status, page, headers))
    with pytest.raises(exceptions.ImageChanged):
        reader.pread(3000, 0)


def test_a_page_is_no_image_to_stat_either(driver: VmwareDriver, gate: VsphereGate) -> None:
    gate.fault(method="HEAD", page=(200, b"<html>log in", {"Content-Type": "text/html"}), times=9)
    with pytest.raises(exceptions.NotFound):
        driver.stat(driver.locate("image"))


def test_an_image_that_was_replaced_is_not_asked_for_again(
    driver: VmwareDriver, gate: VsphereGate, images: ImageDirectory
) -> None:
    images.put("image", pattern(3000, 1))
    reader = driver.open(driver.locate("image"))
    images.put("image", pattern(3000, 2))
    for _ in range(3):
        with pytest.raises(exceptions.ImageChanged):
            reader.pread(100, 0)
    assert len(gate.asked("GET", "/image?")) == 1


def test_an_image_replaced_by_storefs_within_the_second_is_another_version(
    driver: VmwareDriver,
) -> None:
    """Of the same size, and dates have whole seconds: still never mixed."""
    for seed in range(3):
        data = pattern(3000, seed)
        add(driver, "image", data, replace=True)
        reader = driver.open(driver.locate("image"))
        add(driver, "image", pattern(3000, 99), replace=True)
        with pytest.raises(exceptions.ImageChanged):
            reader.pread(100, 2000)


def test_a_redirect_is_followed_without_the_session(
    driver: VmwareDriver, gate: VsphereGate, host: VsphereGate, images: ImageDirectory
) -> None:
    images.put("image", pattern(3000))
    reader = driver.open(driver.locate("image"))
    path = f"/folder/{images.name}/image?dcPath=DC0&dsName=LocalDS_0"
    gate.redirected(host.url + path, method="GET", word="/image")
    assert bytes(reader.pread(3000, 0)) == pattern(3000)
    (asked,) = host.asked("GET")
    assert "cookie" not in asked.headers


def test_a_redirect_in_a_circle_ends(
    driver: VmwareDriver, gate: VsphereGate, images: ImageDirectory
) -> None:
    gate.redirected(f"{gate.url}/folder/{images.name}/image", word="/folder", times=99)
    with pytest.raises(exceptions.MaxRedirectsExceeded):
        driver.stat(driver.locate("image"))


@pytest.mark.parametrize("length", [3000, 9 * MiB], ids=["short", "streamed"])
def test_an_upload_follows_a_redirect_before_it_begins(
    make: Make, gate: VsphereGate, host: VsphereGate, images: ImageDirectory, length: int
) -> None:
    driver = make(vmware_server_host=gate.host)
    sent = {"times": 0}

    def send_on() -> None:
        (request,) = [r for r in gate.asked("PUT") if r.path.endswith(".tmp")]
        fault.page = (307, b"", {"Location": f"{host.url}{request.path}?{request.query}"})
        sent["times"] += 1

    fault = gate.redirected("", method="PUT", word=".tmp", then=send_on)
    add(driver, "image", pattern(length))
    assert read(driver, "image") == pattern(length)
    assert sent["times"] == 1
    assert host.asked("PUT", ".tmp?")[-1].length == length
    assert all("cookie" not in r.headers for r in host.requests)
    assert "image" in images.files()
