# SPDX-License-Identifier: Apache-2.0
"""Where drivers remember things."""

import os
import pathlib

import pytest

from storefs.drivers.state import state_directory


def test_what_systemd_names_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/run/first:/run/second")
    assert state_directory() == pathlib.Path("/run/first")


def test_root_has_the_host_s_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert state_directory() == pathlib.Path("/var/lib/storefs")


def test_a_user_has_a_place_of_the_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/user/state")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert state_directory() == pathlib.Path("/home/user/state/storefs")
