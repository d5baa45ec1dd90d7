# SPDX-License-Identifier: Apache-2.0
"""Where drivers keep the little they have to remember on this host."""

import os
import pathlib


def state_directory() -> pathlib.Path:
    """/var/lib/storefs for root, else storefs in the user's own place for state."""
    if os.geteuid() == 0:
        return pathlib.Path("/var/lib/storefs")
    base = os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local" / "state"
    return pathlib.Path(base) / "storefs"
