# SPDX-License-Identifier: Apache-2.0
"""Where drivers keep the little they have to remember on this host."""

import os
import pathlib


def state_directory() -> pathlib.Path:
    """What systemd's StateDirectory= names, /var/lib/storefs for root, else the user's own place.

    systemd tells it in $STATE_DIRECTORY, several with colons between
    (systemd.exec(5)).
    """
    if given := os.environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return pathlib.Path(given)
    if os.geteuid() == 0:
        return pathlib.Path("/var/lib/storefs")
    base = os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local" / "state"
    return pathlib.Path(base) / "storefs"
