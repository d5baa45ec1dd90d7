# SPDX-License-Identifier: Apache-2.0
"""Images in the accounts of those who ask Glance: whose, until when, and who else may."""

import contextlib
import types
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.swift import SwiftDriver
from storefs.drivers.swift.options import MB
from tests.contract.images import add, pattern, read
from tests.mount.requirements import needed
from tests.servers import shared, swift_client
from tests.servers.swift_client import Container
from tests.unit.swift.conftest import Make

Context = types.SimpleNamespace


def _context(user: str, password: str, project: str) -> Context:
    """What Glance hands over, with the catalogue as the middleware makes it."""
    keystone = shared.keystone()
    token, user_id = keystone.token(user, password, project)
    return Context(
        auth_token=token,
        user_id=user_id,
        project_id=keystone.add_project(project),
        service_catalog=keystone.catalog(token),
        roles=["member"],
    )


@pytest.fixture
def names() -> Iterator[Any]:
    """A prefix for containers; those of anna and bert go at the end."""
    needed("swift-keystone", swift_client.keystone)
    keystone = shared.keystone()
    for user in ("anna", "bert"):
        keystone.add_user(user, f"{user}-pass", f"{user}s")
    prefix = f"storefs{uuid.uuid4().hex[:8]}"
    yield prefix
    for user in ("anna", "bert"):
        account = swift_client.keystone(user, f"{user}-pass", f"{user}s")
        for image in ("image", "large"):
            Container(account, f"{prefix}_{image}", make=False).remove()


@pytest.fixture
def anna(names: str) -> Context:
    return _context("anna", "anna-pass", "annas")


@pytest.fixture
def bert(names: str) -> Context:
    return _context("bert", "bert-pass", "berts")


@pytest.fixture
def store(make: Make, names: str) -> SwiftDriver:
    """Its own user is demo."""
    options = {**needed("swift-keystone", swift_client.keystone).options}
    return make(**options, swift_store_container=names, swift_store_multi_tenant=True)


def _located(uri: str) -> Any:
    location = SwiftDriver.LOCATION(None)
    location.parse_uri(uri)
    return location


def _trusts() -> list[Any]:
    trusts: list[Any] = shared.keystone().call("GET", "/OS-TRUST/trusts")["trusts"]
    return trusts


def test_an_image_is_in_the_account_of_who_asks(
    store: SwiftDriver, anna: Context, bert: Context, names: str
) -> None:
    hers = store.for_context(anna)
    add(hers, "image", pattern(2 * MB))
    uri = hers.locate("image").get_uri()
    account = f"AUTH_{anna.project_id}"
    assert uri.startswith("swift+http://127.0.0.1:")
    assert uri.endswith(f"/v1/{account}/{names}_image/image")
    assert uri.startswith(hers.url_prefix)
    container = Container(
        swift_client.keystone("anna", "anna-pass", "annas"), f"{names}_image", make=False
    )
    assert container.get("image") == pattern(2 * MB)
    assert hers.stat(_located(uri)).size == 2 * MB
    with pytest.raises(exceptions.Forbidden, match="ACL"):
        store.for_context(bert).stat(_located(uri))
    with pytest.raises(exceptions.NotFound):
        store.for_context(bert).stat(store.for_context(bert).locate("image"))
    hers.delete(_located(uri))
    assert container.answer("HEAD").status == 404


def test_acls_let_a_second_user_in(store: SwiftDriver, anna: Context, bert: Context) -> None:
    """A large image, too: its segments are where the ACL is."""
    hers, his = store.for_context(anna), store.for_context(bert)
    add(hers, "large", pattern(2 * MB))
    where = _located(hers.locate("large").get_uri())
    hers.set_acls(where, read_tenants=[bert.project_id])
    with contextlib.closing(his.open(where)) as reader:
        assert bytes(reader.pread(2 * MB, 0)) == pattern(2 * MB)
    with pytest.raises(exceptions.Forbidden):
        his.set_properties(where, {"md5": "1"})
    hers.set_acls(where, read_tenants=[bert.project_id], write_tenants=[bert.project_id])
    his.set_properties(where, {"md5": "1"})
    hers.set_acls(where)
    with pytest.raises(exceptions.Forbidden):
        his.stat(where)
    hers.set_acls(where, public=True)
    assert his.stat(where).size == 2 * MB


def test_admin_tenants_may_write_from_the_start(
    make: Make, names: str, anna: Context, bert: Context
) -> None:
    options = needed("swift-keystone", swift_client.keystone).options
    store = make(
        **options,
        swift_store_container=names,
        swift_store_multi_tenant=True,
        swift_store_admin_tenants=[bert.project_id],
    )
    hers, his = store.for_context(anna), store.for_context(bert)
    add(hers, "image", b"bytes")
    account = swift_client.keystone("anna", "anna-pass", "annas")
    account.token = bert.auth_token
    as_bert = Container(account, f"{names}_image", make=False)
    as_bert.put("image", b"other")
    where = _located(hers.locate("image").get_uri())
    hers.set_acls(where, read_tenants=[bert.project_id])
    assert his.stat(where).size == 5
    his.set_properties(where, {"md5": "2"})


def test_acls_of_what_is_not_there(store: SwiftDriver, anna: Context) -> None:
    hers = store.for_context(anna)
    with pytest.raises(exceptions.NotFound):
        hers.set_acls(hers.locate("image"), public=True)


def test_images_of_one_account_have_no_acls(make: Make, demo: Container) -> None:
    driver = make(**demo.options)
    with pytest.raises(NotImplementedError):
        driver.set_acls(driver.locate("image"), public=True)
    assert driver.for_context(Context(auth_token="x")) is driver


def test_a_trust_lasts_for_one_operation(store: SwiftDriver, anna: Context) -> None:
    before = len(_trusts())
    hers = store.for_context(anna)
    writer = hers.create(hers.locate("large"), None)
    assert len(_trusts()) == before + 1
    writer.pwrite(memoryview(pattern(MB)), 0)
    writer.pwrite(memoryview(pattern(MB)), MB)
    writer.commit(2 * MB)
    assert len(_trusts()) == before
    reader = hers.open(hers.locate("large"))
    assert len(_trusts()) == before + 1
    assert bytes(reader.pread(MB, MB)) == pattern(MB)
    reader.close()
    reader.close()
    assert len(_trusts()) == before
    with pytest.raises(exceptions.NotFound):
        hers.open(hers.locate("image"))
    writer = hers.create(hers.locate("image"), None)
    writer.abort()
    assert len(_trusts()) == before


def test_operations_within_a_second_have_a_trust_each(store: SwiftDriver, anna: Context) -> None:
    before = len(_trusts())
    hers = store.for_context(anna)
    writers = [hers.create(hers.locate(f"image-{n}"), None) for n in range(6)]
    assert len(_trusts()) == before + 6
    for writer in writers:
        writer.abort()
    assert len(_trusts()) == before


def test_without_trusts_the_caller_s_token_is_used(make: Make, names: str, anna: Context) -> None:
    options = needed("swift-keystone", swift_client.keystone).options
    store = make(
        **options,
        swift_store_container=names,
        swift_store_multi_tenant=True,
        swift_store_use_trusts=False,
    )
    before = len(_trusts())
    hers = store.for_context(anna)
    writer = hers.create(hers.locate("image"), None)
    assert len(_trusts()) == before
    writer.abort()


def test_without_an_own_account_it_serves_those_who_ask(
    make: Make, names: str, anna: Context
) -> None:
    store = make(swift_store_container=names, swift_store_multi_tenant=True)
    hers = store.for_context(anna)
    add(hers, "image", b"bytes")
    assert read(hers, "image") == b"bytes"
    with pytest.raises(exceptions.BadStoreConfiguration, match="swift_store_user"):
        store.stat(store.locate("image"))


def test_the_catalogue_may_have_the_old_form(store: SwiftDriver, anna: Context) -> None:
    url = swift_client.keystone("anna", "anna-pass", "annas").url
    endpoint = {"publicURL": url, "internalURL": url, "region": "RegionOne"}
    anna.service_catalog = [{"type": "object-store", "name": "swift", "endpoints": [endpoint]}]
    hers = store.for_context(anna)
    assert hers.locate("image").swift_url == url


def test_a_catalogue_without_swift_names_the_options(store: SwiftDriver, anna: Context) -> None:
    anna.service_catalog = []
    with pytest.raises(exceptions.BadStoreConfiguration, match="swift_store_service_type"):
        store.for_context(anna)
