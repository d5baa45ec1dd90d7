# SPDX-License-Identifier: Apache-2.0
"""What is tried with Cinder's volumes of every kind."""

import os
from pathlib import Path

from tests.mount.tools import MiB, await_true
from tests.servers.cinder_client import Project


def detached(project: Project) -> None:
    """Until nothing is attached."""
    await_true(lambda: project.attachments() == [], "the end of the attachments")


def grow_a_volume(image: Path, project: Project) -> None:
    """Write *image*, of a GiB of holes and a few bytes, without telling how large it gets."""
    with open(image, "wb", buffering=0) as file:
        file.write(b"start")
        file.seek(1025 * MiB)
        file.write(b"bytes")
    assert project.volume_of(image.name).size == 2
    assert os.stat(image).st_size == 1025 * MiB + 5
    with open(image, "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 5, 0) == b"start"
        assert os.pread(file.fileno(), 5, 1025 * MiB) == b"bytes"
        assert os.pread(file.fileno(), 4096, 100 * MiB) == bytes(4096)
