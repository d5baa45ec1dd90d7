# SPDX-License-Identifier: Apache-2.0
"""Which volumes are images, and what is read off them."""

from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.cinder.volume import GiB, Volume, gib_of, metadata_of, newest

GLANCE = {"glance_image_id": "id", "image_size": "5", "image_owner": "x", "readonly": "True"}


def _volume(metadata: dict[str, str], name: str = "image-id", **more: Any) -> Volume:
    told = {"id": "1", "status": "available", "gib": 2, "created_ns": 1}
    return Volume(name=name, metadata=metadata, **{**told, **more})


@pytest.mark.parametrize(
    ("volume", "published"),
    [
        (_volume(GLANCE), True),
        (_volume(GLANCE, status="in-use"), True),
        (_volume(GLANCE, name="renamed by somebody"), True),
        (_volume({"readonly": "True"}), True),
        (_volume({**GLANCE, "readonly": "False"}), False),
        (_volume({"glance_image_id": "id", "image_size": "0"}), False),
        (_volume({"glance_image_id": "id"}), True),
        (_volume({}), False),
        (_volume({}, name="database"), False),
        (_volume({"readonly": "True"}, name="database"), False),
        (_volume({**GLANCE, "storefs_upload": "id"}), False),
        (_volume(GLANCE, status="error"), False),
        (_volume(GLANCE, status="deleting"), False),
    ],
)
def test_what_is_whole_is_an_image(volume: Volume, published: bool) -> None:
    assert volume.published is published


def test_the_size_is_glance_s_and_not_the_volume_s() -> None:
    assert _volume(GLANCE).size == 5
    assert _volume({"glance_image_id": "id"}).size == 2 * GiB


def test_of_two_volumes_of_an_image_the_one_published_last_counts() -> None:
    old = _volume({**GLANCE, "storefs_published": "10"}, created_ns=9)
    new = _volume({**GLANCE, "storefs_published": "11"}, created_ns=2)
    glances = _volume(GLANCE, created_ns=5)
    assert newest([old, new, glances]) is new
    assert newest([]) is None


def test_times_are_utc_in_nanoseconds() -> None:
    class Told:
        def to_dict(self) -> dict[str, Any]:
            created = "1970-01-01T00:00:01.5"
            return {"id": "1", "status": "available", "size": 1, "created_at": created}

    assert Volume.of(Told()).created_ns == 1_500_000_000


@pytest.mark.parametrize(("size", "gib"), [(0, 1), (1, 1), (GiB, 1), (GiB + 1, 2)])
def test_volumes_are_whole_gib(size: int, gib: int) -> None:
    assert gib_of(size) == gib


def test_properties_that_cinder_cannot_keep_are_invalid() -> None:
    with pytest.raises(exceptions.Invalid, match="too long"):
        metadata_of({"md5": "x" * 256})
    with pytest.raises(exceptions.Invalid):
        metadata_of({"mtime_ns": "yesterday"})
