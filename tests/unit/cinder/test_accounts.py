# SPDX-License-Identifier: Apache-2.0
"""Who asks: an application credential, or the callers of Glance's API, at a real Keystone."""

import contextlib
import pathlib
import types
from collections.abc import Iterator
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.cinder import CinderDriver
from tests.contract.harness import configured
from tests.contract.images import add, listed, read
from tests.mount.requirements import needed_context
from tests.mount.tools import await_true
from tests.servers.cinder_client import PASSWORD, Project, own_project

SERVICE = (
    "cinder_store_auth_address",
    "cinder_store_user_name",
    "cinder_store_password",
    "cinder_store_project_name",
)


@pytest.fixture
def project(state: pathlib.Path) -> Iterator[Project]:
    with needed_context("cinder", own_project()) as project:
        yield project


def _callers(project: Project, **more: Any) -> Any:
    """A store without an account."""
    options = {name: v for name, v in project.options.items() if name not in SERVICE}
    return configured(CinderDriver, **options, **more)


def _caller(project: Project) -> Any:
    """Glance's context of a request by the project's user."""
    keystone = project.cinder.keystone
    token, user = keystone.token("glance", PASSWORD, project.name)
    catalog = keystone.catalog(token)
    return types.SimpleNamespace(
        project_id=project.id, user_id=user, auth_token=token, service_catalog=catalog
    )


def test_each_caller_has_images_of_its_own(project: Project) -> None:
    other = Project(project.cinder)
    with contextlib.closing(_callers(project)) as driver:
        ours, theirs = driver.for_context(_caller(project)), driver.for_context(_caller(other))
        add(ours, "image", b"ours")
        add(theirs, "image", b"theirs, longer")
        assert (read(ours, "image"), read(theirs, "image")) == (b"ours", b"theirs, longer")
        assert listed(ours) == {"image": 4}
        assert project.volume_of("image").metadata["image_owner"] == project.id
        assert project.attachments() == other.attachments() == []
        location = ours.locate("image")
        theirs.delete(theirs.locate("image"))
        assert other.volumes() == []
        assert ours.stat(location).size == 4


def test_a_caller_whose_token_is_not_good_is_not_authenticated(project: Project) -> None:
    caller = _caller(project)
    caller.auth_token = "made-up-token"
    with contextlib.closing(_callers(project)) as driver:
        view = driver.for_context(caller)
        with pytest.raises(exceptions.NotAuthenticated) as caught:
            view.stat(view.locate("image"))
    assert "made-up-token" not in str(caught.value)


def test_an_application_credential_at_an_endpoint_of_its_own(project: Project) -> None:
    keystone = project.cinder.keystone
    made, secret = keystone.add_application_credential(
        project.name, "glance", PASSWORD, project.name
    )
    options = {name: v for name, v in project.options.items() if name not in SERVICE}
    driver = configured(
        CinderDriver,
        **options,
        cinder_store_auth_address=keystone.url,
        cinder_store_application_credential_id=made,
        cinder_store_application_credential_secret=secret,
        cinder_endpoint_template=f"{project.cinder.url}/%(tenant)s",
        cinder_do_extend_attached=True,
    )
    with contextlib.closing(driver):
        writer = driver.create(driver.locate("image"), None)
        writer.pwrite(memoryview(b"start"), 0)
        writer.pwrite(memoryview(b"bytes"), 2**30)
        writer.commit(2**30 + 5)
        assert project.volume_of("image").size == 2
        with contextlib.closing(driver.open(driver.locate("image"))) as reader:
            assert bytes(reader.pread(5, 0)) == b"start"
            assert bytes(reader.pread(10, 2**30)) == b"bytes"
    assert project.volume_of("image").metadata["readonly"] == "True"


def test_a_region_that_is_not_there_says_what_to_check(project: Project) -> None:
    options = {**project.options, "cinder_os_region_name": "nowhere"}
    driver = configured(CinderDriver, **options)
    with pytest.raises(exceptions.BadStoreConfiguration, match="cinder_os_region_name"):
        driver.stat(driver.locate("image"))
    driver.close()


def test_a_type_that_is_not_there_and_a_quota_that_is_used_up(project: Project) -> None:
    options = {**project.options, "cinder_volume_type": "nowhere"}
    driver = configured(CinderDriver, **options)
    with pytest.raises(exceptions.BadStoreConfiguration, match="cinder_volume_type"):
        add(driver, "image", b"bytes")
    driver.close()
    quota = {"quota_set": {"gigabytes": 1}}
    project.cinder.call("PUT", f"/os-quota-sets/{project.id}", quota)
    with contextlib.closing(configured(CinderDriver, **project.options)) as driver:
        assert driver.capacity().free == 2**30
        with pytest.raises(exceptions.StorageFull, match="quota"):
            add(driver, "image", b"bytes", size=2 * 2**30)
        add(driver, "image", b"bytes")
        assert driver.capacity().free == 0
    assert len(project.volumes()) == 1


def test_an_image_with_a_snapshot_stays(project: Project) -> None:
    volume_id = project.put("image", b"bytes")
    snapshot = project.client.volume_snapshots.create(volume_id)
    await_true(lambda: project.client.volume_snapshots.get(snapshot.id).status == "available", "it")
    with contextlib.closing(configured(CinderDriver, **project.options)) as driver:
        with pytest.raises((exceptions.HasSnapshot, exceptions.InUseByStore)):
            driver.delete(driver.locate("image"))
        assert read(driver, "image") == b"bytes"
    project.client.volume_snapshots.delete(snapshot.id)
