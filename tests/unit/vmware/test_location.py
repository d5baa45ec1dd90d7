# SPDX-License-Identifier: Apache-2.0
"""Locations as Glance writes them, and none that leads out of the store."""

import pytest

from storefs import exceptions
from storefs.drivers.vmware import VmwareDriver
from storefs.drivers.vmware.location import VmwareLocation
from storefs.drivers.vmware.names import HIDDEN, file_name, image_of, note_name
from tests.contract.harness import configured

GIVEN = {
    "vmware_server_host": "vcenter.example.org",
    "vmware_server_username": "glance",
    "vmware_server_password": "secret-word",
    "vmware_datastores": ["DC0:LocalDS_0", "folder/DC1:other store:5"],
}

GLANCE_S = "vsphere://vcenter.example.org/folder/openstack_glance/ID?dsName=LocalDS_0&dcPath=DC0"


def _parsed(uri: str) -> VmwareLocation:
    location = VmwareLocation(None)
    location.parse_uri(uri)
    return location


@pytest.fixture
def driver() -> VmwareDriver:
    """One that never connects."""
    made: VmwareDriver = configured(VmwareDriver, **GIVEN)
    return made


def test_the_image_glance_wrote_is_meant() -> None:
    location = _parsed(GLANCE_S)
    assert (location.host, location.directory) == ("vcenter.example.org", "openstack_glance")
    assert (location.name, location.datacenter) == ("ID", "DC0")
    assert (location.datastore, location.image_id) == ("LocalDS_0", "ID")


def test_what_storefs_writes_glance_reads(driver: VmwareDriver) -> None:
    assert driver.locate("ID").get_uri() == (
        "vsphere://vcenter.example.org/folder/openstack_glance/ID"
        "?dcPath=folder%2FDC1&dsName=other+store"
    )
    assert driver.url_prefix == "vsphere://vcenter.example.org/folder/openstack_glance/"


@pytest.mark.parametrize("netloc", ["[2001:db8::1]", "[2001:db8::1]:8443", "10.0.0.1:443", "HOST"])
def test_hosts_of_all_kinds(netloc: str) -> None:
    uri = f"vsphere://{netloc}/folder/a/b/ID?dcPath=DC0&dsName=ds"
    assert _parsed(uri).get_uri() == uri
    assert _parsed(uri).directory == "a/b"


@pytest.mark.parametrize(
    "uri",
    [
        "vsphere://",
        "vsphere://host",
        "vsphere://host/",
        "vsphere:///folder/a/ID?dcPath=DC0&dsName=ds",
        "vsphere://user:word@host/folder/a/ID?dcPath=DC0&dsName=ds",
        "vsphere://host/other/a/ID?dcPath=DC0&dsName=ds",
        "vsphere://host/folder?dcPath=DC0&dsName=ds",
        "vsphere://host/folder/?dcPath=DC0&dsName=ds",
        "vsphere://host/folder/a/?dcPath=DC0&dsName=ds",
        "vsphere://host/folder/../ID?dcPath=DC0&dsName=ds",
        "vsphere://host/folder/%2E%2E/ID?dcPath=DC0&dsName=ds",
        "vsphere://host/folder/a/b%2Fc?dcPath=DC0&dsName=ds",
        "vsphere://host/folder/a/%FF?dcPath=DC0&dsName=ds",
        "vsphere://host/folder/a/.storefs-ID.json?dcPath=DC0&dsName=ds",
        "vsphere://host/folder/a/ID",
        "vsphere://host/folder/a/ID?dcPath=DC0",
        "vsphere://host/folder/a/ID?dsName=ds",
        "vsphere://host/folder/a/ID?dcPath=DC0&dsName=ds&dsName=other",
        "vsphere://host/folder/a/I\nD?dcPath=DC0&dsName=ds",
    ],
)
def test_malformed_locations_are_refused(uri: str) -> None:
    with pytest.raises(exceptions.BadStoreUri):
        _parsed(uri)


@pytest.mark.parametrize(
    "uri",
    [
        GLANCE_S.replace("vcenter", "elsewhere"),
        GLANCE_S.replace("openstack_glance", "machine"),
        GLANCE_S.replace("openstack_glance/", ""),
        GLANCE_S.replace("LocalDS_0", "LocalDS_1"),
        GLANCE_S.replace("DC0", "DC1"),
    ],
)
def test_what_is_none_of_the_store_s_is_neither_read_nor_deleted(
    driver: VmwareDriver, uri: str
) -> None:
    for function in (driver.stat, driver.open, driver.delete, driver.properties):
        with pytest.raises(exceptions.BadStoreUri, match="vmware_datastores"):
            function(_parsed(uri))


@pytest.mark.parametrize("image_id", ["ID", "a b", "per%20cent", "..."])
def test_a_usual_name_stands_as_it_is(image_id: str) -> None:
    assert file_name(image_id) == image_id
    assert image_of(image_id) == image_id


@pytest.mark.parametrize("image_id", [" a", "a ", "a\nb", "a\\b", ".%41", "\u00a0a", "a\x01"])
def test_a_name_vsphere_would_change_is_quoted(image_id: str) -> None:
    assert file_name(image_id).startswith(".%")
    assert file_name(image_id).isprintable()
    assert image_of(file_name(image_id)) == image_id


@pytest.mark.parametrize("name", [".%41", ".%zz", HIDDEN + "x", HIDDEN + "x.json", ".", ""])
def test_some_files_are_no_images(name: str) -> None:
    assert image_of(name) is None


@pytest.mark.parametrize("image_id", ["n" * 256, "ü" * 128, "\n" * 90, "\udcff", HIDDEN + "x"])
def test_some_names_cannot_be(image_id: str) -> None:
    with pytest.raises(exceptions.Invalid):
        file_name(image_id)


def test_the_note_of_a_long_name_has_a_name_as_well() -> None:
    names = {note_name("n" * 255), note_name("n" * 254 + "m"), note_name("ID")}
    assert len(names) == 3
    assert all(len(name) <= 255 and name.startswith(HIDDEN) for name in names)
