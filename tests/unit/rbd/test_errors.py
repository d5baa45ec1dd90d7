# SPDX-License-Identifier: Apache-2.0
"""What librados and librbd say, in Glance's words."""

import errno
import pathlib
import sys

import pytest

from storefs import exceptions, multi_backend
from storefs.drivers.rbd import RbdDriver
from storefs.drivers.rbd.errors import failure, translated
from tests.conftest import ExpectLog
from tests.servers.rbd_pool import RbdPool
from tests.unit.conftest import Parse
from tests.unit.rbd.conftest import Make


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        (errno.ENOENT, exceptions.NotFound),
        (errno.EEXIST, exceptions.Duplicate),
        (errno.EPERM, exceptions.Forbidden),
        (errno.ENOSPC, exceptions.StorageFull),
        (errno.EDQUOT, exceptions.StorageFull),
        (errno.EBUSY, exceptions.InUseByStore),
        (errno.ENOTEMPTY, exceptions.HasSnapshot),
        (errno.ETIMEDOUT, exceptions.TimeoutError),
        (errno.ESHUTDOWN, exceptions.RemoteServiceUnavailable),
        (errno.E2BIG, exceptions.BackendException),
    ],
)
def test_a_return_value_has_one_meaning(code: int, raised: type[Exception]) -> None:
    found = failure(-code, "Image 100%s")
    assert type(found) is raised
    assert str(found).startswith(f"Image 100%s ({errno.errorcode[code]}): ")


def test_the_sdk_s_exceptions_are_translated_and_others_are_not(images: RbdPool) -> None:
    with pytest.raises(exceptions.NotFound) as caught, translated("Image i"):
        images.rbd.Image(images.ioctx, "nowhere")
    assert isinstance(caught.value.__cause__, images.rbd.ImageNotFound)
    with pytest.raises(KeyError), translated("Image i"):
        raise KeyError


def test_without_the_sdk_the_store_says_what_to_install(
    parse: Parse, monkeypatch: pytest.MonkeyPatch, expect_log: ExpectLog
) -> None:
    monkeypatch.setitem(sys.modules, "rbd", None)
    conf = parse("[DEFAULT]\nenabled_backends = ceph:rbd\n[ceph]\n")
    multi_backend.register_store_opts(conf)
    multi_backend.create_multi_stores(conf)
    expect_log("ceph is broken.*apt-get install python3-rados python3-rbd.*site-packages")


def _stat(driver: RbdDriver) -> None:
    driver.stat(driver.locate("image"))


def test_a_wrong_key_is_told_with_the_user(
    images: RbdPool, make: Make, tmp_path: pathlib.Path
) -> None:
    text = images.ceph.conf.read_text()
    wrong = tmp_path / "keyring"
    wrong.write_text(images.keyring("client.admin").read_text().replace("admin", "glance"))
    conf = tmp_path / "ceph.conf"
    conf.write_text(
        text.replace(f"keyring = {images.ceph.conf.parent}/keyring.$name", f"keyring = {wrong}")
    )
    driver = make(rbd_store_ceph_conf=str(conf))
    with pytest.raises(exceptions.BadStoreConfiguration, match=r"client\.glance.*rbd_store_user"):
        _stat(driver)


def test_a_user_nobody_knows_is_told(make: Make) -> None:
    with pytest.raises(exceptions.BadStoreConfiguration, match=r"client\.nobody.*rbd_store_user"):
        _stat(make(rbd_store_user="nobody"))


def test_a_missing_ceph_conf_is_told(make: Make) -> None:
    with pytest.raises(exceptions.BadStoreConfiguration, match=r"/nowhere.*rbd_store_ceph_conf"):
        _stat(make(rbd_store_ceph_conf="/nowhere"))


def test_a_missing_pool_is_told(make: Make) -> None:
    with pytest.raises(exceptions.BadStoreConfiguration, match=r"no pool nowhere.*rbd_store_pool"):
        _stat(make(rbd_store_pool="nowhere", rbd_store_user=None))


def test_without_a_user_it_is_admin(images: RbdPool, make: Make) -> None:
    """client.admin's key is the only one beside this file."""
    driver = make(rbd_store_user=None)
    images.put("image", b"bytes")
    assert driver.stat(driver.locate("image")).size == 5
    assert driver._cluster.access.user == "admin"


def test_monitors_that_are_down_are_a_time_out(
    images: RbdPool, make: Make, tmp_path: pathlib.Path
) -> None:
    conf = tmp_path / "ceph.conf"
    text = images.ceph.conf.read_text()
    line = next(line for line in text.splitlines() if line.startswith("mon_host"))
    conf.write_text(text.replace(line, "mon_host = [v2:127.0.0.1:9]"))
    driver = make(rbd_store_ceph_conf=str(conf), rados_connect_timeout=1)
    with pytest.raises(exceptions.TimeoutError, match="rados_connect_timeout"):
        _stat(driver)


def test_a_user_who_may_only_read_reads(images: RbdPool, make: Make) -> None:
    images.put_glance("image", b"bytes")
    driver = make(rbd_store_user="glance-ro")
    location = driver.locate("image")
    reader = driver.open(location)
    assert bytes(reader.pread(10, 0)) == b"bytes"
    reader.close()
    assert [info.image_id for info in driver.list()] == ["image"]
    with pytest.raises(exceptions.Forbidden):
        driver.create(driver.locate("other"), 5)
    with pytest.raises(exceptions.Forbidden):
        driver.set_properties(location, {"md5": "1"})
    with pytest.raises(exceptions.Forbidden):
        driver.delete(location)
    with pytest.raises(exceptions.Forbidden):
        driver.rename(location, driver.locate("other"))
    assert images.get("image") == b"bytes"
    assert images.names() == ["image"]
