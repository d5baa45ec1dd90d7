# SPDX-License-Identifier: Apache-2.0
"""docs/semantics.md, typed into a shell in a mount: what it says is what happens."""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storefs.fuse.errno import ERRNO
from tests.docs_runner import PageError, Section, Shell, matches, run_section, sections
from tests.mount.conftest import MakeMount
from tests.mount.mounting import Mount
from tests.mount.requirements import need, need_tools
from tests.servers.nginx import Nginx

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "semantics.md"

#: The page's stores; `default_backend` is disk.
STORES = {"disk": "file", "ram": "memory", "tiny": "memory", "web": "http"}

#: A failed operation logs one WARNING with its errno, a temporary nobody renames another:
#: the page shows both.
_TOLD = re.compile(
    r"WARNING storefs\.(fuse\.reporting: .*\[E[A-Z]+\]"
    r"|streams\.streaming: .*(no rename followed|its writer was killed)"
    r"|streams\.spooling: tiny: big: could not be stored)"
)

SECTIONS = sections(PAGE)
RUN = [section for section in SECTIONS if section.blocks]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Nginx]:
    need("http", shutil.which("nginx") or Path("/usr/sbin/nginx").exists(), "no nginx")
    directory = tmp_path / "nginx"
    directory.mkdir()
    nginx = Nginx(directory)
    (nginx.images / "cirros.img").write_bytes(b"not really an image\n")
    nginx.start()
    yield nginx
    nginx.stop()


@pytest.fixture
def documented(make_mount: MakeMount, tmp_path: Path) -> Mount:
    """The mount the page speaks of."""
    need_tools("rsync", "getfattr", "qemu-img", "fallocate")
    options = {
        "ram": {"weight": 10},
        "tiny": {"memory_store_capacity": 1024 * 1024},
        "web": {"http_store_catalog": tmp_path / "catalog"},
    }
    return make_mount(
        STORES,
        sections=options,
        options={"rename_grace": 2.0, "publish_delay": 0.5},
        default="disk",
    )


@pytest.fixture
def shell(documented: Mount, web: Nginx, tmp_path: Path) -> Iterator[Shell]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    own = {"SCRATCH": scratch, "LOG": documented.log, "URL": web.url + "/images"}
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC0"}
    shell = Shell(documented.path, {**environment, **{k: str(v) for k, v in own.items()}})
    yield shell
    shell.close()


@pytest.mark.parametrize("section", RUN, ids=[section.title for section in RUN])
def test_section(section: Section, shell: Shell, documented: Mount) -> None:
    ran = run_section(section, PAGE, shell)
    assert ran == len(section.commands) > 0
    for line in filter(_TOLD.search, documented.log_text.splitlines()):
        documented.expect_log(re.escape(line))


def test_every_block_is_run() -> None:
    fences = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("```")]
    assert len(fences) == 2 * sum(section.blocks for section in RUN) > 0


def test_error_table_is_the_code() -> None:
    """Each errno the page lists names exactly the exceptions that become it, and none lacks."""
    listed = dict(
        re.findall(r"^- `(E[A-Z]+)`: .*?\((`.*?`)\)", PAGE.read_text("utf-8"), re.MULTILINE)
    )
    told = {name: set(re.findall(r"`(\w+)`", classes)) for name, classes in listed.items()}
    known: dict[str, set[str]] = {}
    for exception, number in ERRNO.items():
        known.setdefault(errno.errorcode[number], set()).add(exception.__name__)
    assert told == known


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def page(text: str) -> Path:
        path = tmp_path / "page.md"
        path.write_text(text)
        return path

    return page


@pytest.mark.parametrize(
    "text",
    ["```console\n$ true\n```\n", "## A\n```sh\ntrue\n```\n", "## A\n```console\n$ true\n"],
    ids=["before a section", "another kind", "without end"],
)
def test_a_block_that_would_not_be_run_is_refused(write: Write, text: str) -> None:
    with pytest.raises(PageError):
        sections(write(text))


@pytest.mark.parametrize(
    ("command", "printed"),
    [("echo a", "b"), ("echo a", ""), ("false", ""), ("true", "[exit 1]"), ("true", "a")],
)
def test_a_page_that_lies_is_found_out(
    write: Write, tmp_path: Path, command: str, printed: str
) -> None:
    page = write(f"## A\n```console\n$ {command}\n{printed}\n```\n".replace("\n\n", "\n"))
    shell = Shell(tmp_path, os.environ)
    with pytest.raises(PageError):
        run_section(sections(page)[0], page, shell)
    shell.close()


def test_the_shell_keeps_its_variables(write: Write, tmp_path: Path) -> None:
    page = write("## A\n```console\n$ for i in 1 2\n> do x=$i; done\n$ echo $x\n2\n```\n")
    shell = Shell(tmp_path, os.environ)
    assert run_section(sections(page)[0], page, shell) == 2
    shell.close()


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        (["a...c"], ["abbbc"], True),
        (["a...c"], ["abbbd"], False),
        (["..."], [], True),
        (["...", "b"], ["a", "a", "b"], True),
        (["...", "b"], ["a", "b", "c"], False),
    ],
)
def test_dots(expected: list[str], printed: list[str], same: bool) -> None:
    assert matches(expected, printed) is same
