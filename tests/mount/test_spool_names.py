# SPDX-License-Identifier: Apache-2.0
"""What becomes of names while the bytes behind them wait in the spool."""

import os

from tests.mount.mounting import Mount


def test_a_rename_takes_the_stored_version_along_with_the_one_that_waits(mount: Mount) -> None:
    """An image was stored, is replaced through the spool, and renamed before that is stored."""
    store = mount / "shared"
    (store / "old").write_bytes(b"stored")
    descriptor = os.open(store / "old", os.O_RDWR | os.O_TRUNC)
    os.pwrite(descriptor, b"written", 3)
    os.pwrite(descriptor, b"backwards", 0)
    os.close(descriptor)
    os.rename(store / "old", store / "new")
    assert os.listdir(store) == ["new"]
    assert os.listdir(mount.datadirs["shared"]) == ["new"]
    assert (store / "new").read_bytes() == b"backwardsn"
