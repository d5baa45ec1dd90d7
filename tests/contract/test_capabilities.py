# SPDX-License-Identifier: Apache-2.0
"""What a driver cannot do it says by its type, and the store above refuses it."""

from typing import Any

import pytest
from oslo_config import cfg

from storefs import exceptions, location
from storefs.capabilities import BitMasks
from storefs.driver import Store
from storefs.drivers import base
from tests.contract.harness import Harness

_PROTOCOLS = [
    base.SupportsAdd,
    base.SupportsDelete,
    base.SupportsList,
    base.SupportsCapacity,
    base.SupportsRename,
    base.SupportsCopy,
    base.SupportsAcls,
    base.SupportsProperties,
    base.SupportsRegister,
]


def _store(driver: Any) -> Store:
    """A store over the harness's driver, as the registry makes one over a class."""

    class Given:
        OPTIONS = ()
        SCHEMES = driver.SCHEMES
        LOCATION = driver.LOCATION

        def __new__(cls, *_args: Any) -> Any:
            return driver

    return Store(cfg.ConfigOpts(), "store", driver_class=Given)  # type: ignore[arg-type]


def _wrapped(harness: Harness, image_id: str) -> location.Location:
    driver = harness.driver
    uri = driver.locate(image_id).get_uri()
    return location.Location(driver.SCHEMES[0], driver.LOCATION, None, uri=uri)


@pytest.mark.parametrize("protocol", _PROTOCOLS, ids=lambda p: p.__name__)
def test_the_type_tells_what_the_driver_can(harness: Harness, protocol: Any) -> None:
    assert isinstance(harness.driver, protocol) == issubclass(harness.driver_class, protocol)


@pytest.mark.lacks.with_args(base.SupportsAdd)
def test_a_store_that_cannot_add_says_so(harness: Harness) -> None:
    store = _store(harness.driver)
    assert not store.is_capable(BitMasks.WRITE_ACCESS)
    with pytest.raises(exceptions.StoreAddDisabled):
        store.add("image", [b"bytes"], 5, "sha512")
    with pytest.raises(exceptions.StoreAddDisabled):
        store.begin(store.locate("image"))


@pytest.mark.lacks.with_args(base.SupportsDelete)
def test_a_store_that_cannot_delete_says_so(harness: Harness) -> None:
    harness.seed("image", b"bytes")
    with pytest.raises(exceptions.StoreDeleteNotSupported):
        _store(harness.driver).delete(_wrapped(harness, "image"))
    assert harness.driver.stat(harness.driver.locate("image")).size in {5, None}


@pytest.mark.lacks.with_args(base.SupportsAcls)
def test_a_store_without_access_control_says_so(harness: Harness) -> None:
    with pytest.raises(NotImplementedError):
        _store(harness.driver).set_acls(_wrapped(harness, "image"), public=True)


@pytest.mark.needs.with_args(base.SupportsAdd, base.SupportsDelete)
def test_a_store_that_can_add_and_delete_does(harness: Harness) -> None:
    store = _store(harness.driver)
    assert store.is_capable(BitMasks.RW_ACCESS, BitMasks.READ_RANDOM)
    result = store.add("image", [b"by", b"tes"], 5, "sha256")
    where = location.Location("x", harness.driver.LOCATION, None, uri=result.url)
    assert b"".join(store.get(where)[0]) == b"bytes"
    store.delete(where)
    with pytest.raises(exceptions.NotFound):
        store.get(where)


def test_any_store_gives_a_part_of_an_image(harness: Harness) -> None:
    harness.seed("image", b"0123456789")
    chunks, size = _store(harness.driver).get(_wrapped(harness, "image"), offset=3, chunk_size=4)
    assert b"".join(chunks) == b"3456"
    assert size == 4
