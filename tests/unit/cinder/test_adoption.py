# SPDX-License-Identifier: Apache-2.0
"""What Glance does with an image whose location names no store, at a real Cinder."""

import contextlib
import pathlib
import uuid
from collections.abc import Iterator

import pytest

from storefs import exceptions
from storefs.drivers.cinder import CinderDriver
from storefs.drivers.cinder.location import CinderLocation
from tests.contract.harness import making
from tests.mount.requirements import needed_context
from tests.servers.cinder_client import Project, own_project


@pytest.fixture
def project(state: pathlib.Path) -> Iterator[Project]:
    with needed_context("cinder", own_project()) as project:
        yield project


@pytest.mark.parametrize(
    ("kind", "adopted"), [("rbd", True), ("rbd-multi", False), (None, True), ("nowhere", False)]
)
def test_a_store_adopts_volumes_of_its_type(
    project: Project, kind: str | None, adopted: bool
) -> None:
    volume_id = project.put("image", b"bytes")
    with making(CinderDriver) as make:
        driver = make(**{**project.options, "cinder_volume_type": kind})
        assert driver.adopts(volume_id) == adopted
        location = CinderLocation({})
        location.parse_uri(f"{driver.url_prefix}/{volume_id}")  # as Glance writes it
        assert location.get_uri() == f"cinder://store/{volume_id}"
        with contextlib.closing(driver.open(location)) as reader:
            assert bytes(reader.pread(5, 0)) == b"bytes"


def test_a_volume_that_is_gone_is_nobody_s(project: Project) -> None:
    with making(CinderDriver) as make:
        driver = make(**project.options)
        with pytest.raises(exceptions.NotFound):
            driver.adopts(str(uuid.uuid4()))
