# SPDX-License-Identifier: Apache-2.0
"""pjdfstest over a mounted file store; what it may find wrong is listed, with the reason.

The list is docs/posix.md: it is written into pjdfstest's configuration as its
expected failures, and one that does not fail any more is a failure, too.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.conftest import MakeMount
from tests.mount.requirements import need, need_root, need_tools
from tests.servers.cargo_tools import PJDFSTEST, cargo_tool
from tests.servers.process import ServerFailed

HERE = Path(__file__).parent
LIST = HERE.parent.parent / "docs" / "posix.md"

_BLOCK = re.compile(r"^```pjdfstest\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: Two users of every Debian, for those who may not; the nap is longer than a tick of the clock.
CONFIGURATION = """\
[features]
utime_now = {{}}
utimensat = {{}}
[settings]
naptime = 0.02
expected_failures = [{expected}]
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"""

#: The whole suite takes half a minute; after this many seconds it hangs.
_PATIENCE = 300


def exclusions() -> list[str]:
    """The names in the page's blocks: ``a::{b,c}`` stands for ``a::b`` and ``a::c``."""
    lines = "".join(_BLOCK.findall(LIST.read_text())).splitlines()
    return [name for line in lines for name in _expanded(line)]


def _expanded(line: str) -> Iterator[str]:
    prefix, brace, rest = line.partition("{")
    if brace:
        yield from (prefix + name for name in rest.removesuffix("}").split(","))
    else:
        yield line


@pytest.fixture
def program() -> Path:
    try:
        return cargo_tool(*PJDFSTEST)
    except ServerFailed as exc:
        need("pjdfstest", False, str(exc))
        raise


@pytest.fixture
def preload(tmp_path: Path) -> Path:
    """What makes each directory of pjdfstest's own the store's."""
    need_tools("cc")
    library = tmp_path / "directories.so"
    command = ["cc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library]
    subprocess.run([*command, HERE / "pjdfstest" / "directories.c"], check=True)
    return library


@pytest.fixture
def directories() -> Iterator[Path]:
    """Where pjdfstest works: other users must get there, and pytest's directories are its own."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield Path(path)


def test_nothing_is_excluded_twice() -> None:
    names = exclusions()
    assert len(names) == len(set(names)) > 0


def test_pjdfstest_fails_only_where_the_page_says_so(
    make_mount: MakeMount, program: Path, preload: Path, directories: Path, tmp_path: Path
) -> None:
    need_root()
    mount = make_mount({"shared": "file"}, arguments=["-o", "allow_other"])
    configuration = tmp_path / "pjdfstest.toml"
    expected = ", ".join(f'"{name}"' for name in exclusions())
    configuration.write_text(CONFIGURATION.format(expected=expected))
    environment = {"DIRECTORIES": directories, "STORE": mount / "shared", "LD_PRELOAD": preload}
    result = subprocess.run(
        ["unshare", "--mount", program, "-c", configuration, "-p", directories],
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
    )
    mount.forget_log()  # an error of each kind was asked for
    wrong = re.compile(r"FAILED|PASSED UNEXPECTEDLY")
    assert [line for line in result.stdout.splitlines() if wrong.search(line)] == []
    assert result.returncode == 0, result.stdout + result.stderr
