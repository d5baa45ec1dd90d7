# SPDX-License-Identifier: Apache-2.0
"""A store's options: what they mean, and what is said when they cannot work."""

import pathlib
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.vmware import VmwareDriver
from tests.contract.harness import configured, options_of
from tests.contract.images import add, read
from tests.servers.process import free_port
from tests.servers.vcsim import PASSWORD, ImageDirectory
from tests.servers.vsphere_gate import VsphereGate
from tests.unit.vmware.conftest import Make
from tests.unit.vmware.test_location import GIVEN

#: Glance's names with Glance's defaults.
DEFAULTS = {
    "vmware_server_host": None,
    "vmware_server_username": None,
    "vmware_server_password": None,
    "vmware_api_retry_count": 10,
    "vmware_task_poll_interval": 5,
    "vmware_store_image_dir": "/openstack_glance",
    "vmware_insecure": False,
    "vmware_ca_file": None,
}


def test_names_and_defaults_are_glance_s() -> None:
    options = options_of(VmwareDriver)
    assert {name: getattr(options, name) for name in DEFAULTS} == DEFAULTS
    assert not options.vmware_datastores
    secret = {option.dest for option in VmwareDriver.OPTIONS if option.secret}
    assert secret == {"vmware_server_password"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"vmware_server_host": None}, "vmware_server_host is not set"),
        ({"vmware_server_username": None}, "vmware_server_username is not set"),
        ({"vmware_server_password": ""}, "vmware_server_password is not set"),
        ({"vmware_datastores": []}, "vmware_datastores: it is not set"),
        ({"vmware_datastores": ["DC0"]}, "vmware_datastores: 'DC0'"),
        ({"vmware_server_host": "https://host"}, "without https://"),
        ({"vmware_server_host": "host:0"}, "host:port"),
        ({"vmware_server_host": "user:secret-word@host"}, "host:port"),
        ({"vmware_store_image_dir": "/a/../b"}, "vmware_store_image_dir"),
        ({"vmware_ca_file": "/proc/none.pem"}, "vmware_ca_file: No such file"),
    ],
)
def test_what_cannot_work_is_told_with_the_option(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(exceptions.BadStoreConfiguration, match=says) as caught:
        configured(VmwareDriver, **{**GIVEN, **wrong})
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "netloc"),
    [("::1", "[::1]"), ("[::1]:8443", "[::1]:8443"), (" host:8443 ", "host:8443")],
)
def test_a_host_may_have_a_port_or_be_an_address(host: str, netloc: str) -> None:
    driver = configured(VmwareDriver, **{**GIVEN, "vmware_server_host": host})
    assert driver.locate("image").netloc == netloc


def test_images_may_be_in_no_directory_at_all(make: Make, images: ImageDirectory) -> None:
    driver = make(vmware_store_image_dir="/", vmware_datastores=["DC0:LocalDS_0"])
    name = f"{images.name}-at-the-root"
    add(driver, name, b"bytes")
    assert read(driver, name) == b"bytes"
    assert name in [info.image_id for info in driver.list()]
    driver.delete(driver.locate(name))


def test_a_directory_below_others_is_made(make: Make, images: ImageDirectory) -> None:
    driver = make(vmware_store_image_dir=f"/{images.name}/a/b/")
    assert list(driver.list()) == []
    add(driver, "image", b"bytes")
    assert (images.path("a") / "b" / "image").read_bytes() == b"bytes"


def test_a_certificate_nobody_vouches_for_is_refused(make: Make) -> None:
    driver = make(vmware_ca_file=None)
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="vmware_ca_file"):
        driver.stat(driver.locate("image"))


def test_verification_can_be_switched_off(make: Make) -> None:
    driver = make(vmware_ca_file=None, vmware_insecure=True)
    add(driver, "image", b"bytes")
    assert read(driver, "image") == b"bytes"


def test_a_server_that_is_down_is_told_at_the_first_call(make: Make) -> None:
    driver = make(vmware_server_host=f"127.0.0.1:{free_port()}")
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="Cannot connect"):
        driver.stat(driver.locate("image"))


def test_a_server_that_is_no_vsphere_is_told(make: Make, gate: VsphereGate) -> None:
    gate.fault(word="/sdk", times=9, page=(200, b"<html>hello", {}))
    driver = make(vmware_server_host=gate.host)
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="check vmware_server_host"):
        driver.stat(driver.locate("image"))


def test_a_wrong_password_is_sent_once(make: Make, gate: VsphereGate) -> None:
    """vCenter locks an account after a few."""
    driver = make(vmware_server_host=gate.host, vmware_server_password="other-word")
    for _ in range(3):
        with pytest.raises(exceptions.NotAuthenticated, match="vmware_server_password") as caught:
            driver.stat(driver.locate("image"))
        assert "other-word" not in repr(caught.value)
    assert len(gate.asked("POST", "/sdk")) == 2  # what there is, and the login


def test_the_password_shows_nowhere(driver: VmwareDriver, tmp_path: pathlib.Path) -> None:
    add(driver, "image", b"bytes")
    shown = [repr(vars(driver)), repr(driver.locate("image")), repr(driver._server)]
    assert not any(PASSWORD in text for text in shown)
    assert not any(PASSWORD in p.read_text() for p in tmp_path.rglob("*") if p.is_file())
