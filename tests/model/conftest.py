# SPDX-License-Identifier: Apache-2.0
"""One mount for all examples; each begins with an empty store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.mounting import Mount, mounted
from tests.mount.requirements import need_fuse


@pytest.fixture(scope="module", params=["memory", "file"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The directory of an empty store."""
    need_fuse()
    mount = Mount(
        tmp_path_factory.mktemp("model"), {"s": request.param}, options={"rename_grace": 600}
    )
    with mounted(mount):
        yield mount / "s"
