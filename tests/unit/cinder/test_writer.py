# SPDX-License-Identifier: Apache-2.0
"""Volumes that are made right, or doubled, or as long as the quota allows."""

from collections.abc import Callable
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.cinder.volume import GiB
from tests.unit.cinder.fakes import FakeCinder

MakeDriver = Callable[..., Any]


def _write(driver: Any, size: int | None, ends: list[int]) -> Any:
    """A writer that has written a byte before each of *ends*."""
    writer = driver.create(driver.locate("image"), size)
    for end in ends:
        writer.skip(1, end - 1)
    return writer


def _gib(cinder: FakeCinder) -> int:
    (known,) = cinder.known.values()
    gib: int = known["gib"]
    return gib


@pytest.mark.parametrize(("size", "gib"), [(0, 1), (GiB, 1), (3 * GiB + 1, 4)])
def test_a_known_size_is_made_at_once(
    cinder: FakeCinder, make_driver: MakeDriver, size: int, gib: int
) -> None:
    writer = _write(make_driver(), size, [max(1, size)])
    assert _gib(cinder) == gib
    assert "extend" not in cinder.steps
    writer.abort()
    assert cinder.leftovers == []


def test_an_unknown_size_doubles_the_volume(cinder: FakeCinder, make_driver: MakeDriver) -> None:
    ends = [n * GiB // 2 for n in range(1, 21)]
    writer = _write(make_driver(), None, ends)
    assert cinder.steps.count("extend") == 4
    assert _gib(cinder) == 16
    writer.commit(10 * GiB)
    assert cinder.leftovers == []


def test_a_long_volume_is_not_doubled(cinder: FakeCinder, make_driver: MakeDriver) -> None:
    writer = _write(make_driver(), 100 * GiB, [1, 100 * GiB + 1])
    assert _gib(cinder) == 164
    writer.abort()


def test_a_volume_is_detached_to_grow_unless_that_is_allowed(
    cinder: FakeCinder, make_driver: MakeDriver
) -> None:
    writer = _write(make_driver(), None, [1, GiB + 1])
    assert cinder.steps.count("reserve") == 2
    writer.abort()
    cinder.steps.clear()
    writer = _write(make_driver(cinder_do_extend_attached=True), None, [1, GiB + 1])
    assert cinder.steps.count("reserve") == 1
    assert "extended" in cinder.steps
    writer.abort()
    assert cinder.leftovers == []


def test_where_doubling_is_too_much_what_is_needed_is_asked_for(
    cinder: FakeCinder, make_driver: MakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cinder.extend

    def limited(volume_id: str, gib: int) -> None:
        if gib > 5:
            raise exceptions.StorageFull("quota")
        real(volume_id, gib)

    monkeypatch.setattr(cinder, "extend", limited)
    driver = make_driver()
    writer = _write(driver, None, [1, GiB + 1, 2 * GiB + 1, 4 * GiB + 1])
    assert _gib(cinder) == 5
    with pytest.raises(exceptions.StorageFull):
        writer.skip(1, 5 * GiB)
    writer.abort()
    assert cinder.leftovers == []


def test_a_device_that_is_not_zeros_gets_them(
    cinder: FakeCinder, make_driver: MakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.unit.cinder.fakes.FakeDevice.fresh", False)
    writer = make_driver().create(make_driver().locate("image"), None)
    writer.pwrite(memoryview(b"start"), 0)
    writer.skip(100, 5)
    (data,) = cinder.data.values()
    assert bytes(data) == b"start" + bytes(100)
    writer.abort()


def test_too_large_is_told_before_anything_is_made(
    cinder: FakeCinder, make_driver: MakeDriver
) -> None:
    driver = make_driver()
    with pytest.raises(exceptions.ImageTooLarge):
        driver.create(driver.locate("image"), 2**61)
    assert cinder.known == {}
