# SPDX-License-Identifier: Apache-2.0
"""A store that fails at each step of an upload, seen by the programs people write images with.

Wherever it fails: the program says so and its exit code too, the log has one
line, the old image is as it was, nothing stays behind, and the mount goes on.
"""

import errno
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mount.conftest import MakeMount
from tests.mount.mounting import Mount, mounted
from tests.mount.requirements import need_fuse, need_root
from tests.mount.tools import PATIENCE, MiB, Result, attempt, await_true, data, run

PLUGIN = Path(__file__).parent / "plugin"

OLD, NEW = data(1000, 1), data(5 * MiB + 5, 2)

#: What the store does -> what strerror(3) makes of it.
ERRORS = {
    "StorageFull": errno.ENOSPC,
    "RemoteServiceUnavailable": errno.EREMOTEIO,
    "Stalled": errno.ETIMEDOUT,
    "ValueError": errno.EIO,
}

Program = Callable[[Path, Path], Result]


def _dd(source: Path, target: Path, *words: str) -> Result:
    return attempt("dd", f"if={source}", f"of={target}", "bs=64K", "status=none", *words)


#: How images are written: each takes the source and the target.
PROGRAMS: dict[str, Program] = {
    "cp": lambda source, target: attempt("cp", source, target),
    "rsync": lambda source, target: attempt("rsync", source, target),
    "dd": lambda source, target: _dd(source, target, "iflag=fullblock"),
    "dd-fsync": lambda source, target: _dd(source, target, "conv=fsync"),
    "dd-sparse": lambda source, target: _dd(source, target, "conv=sparse"),
    "tar": lambda source, target: attempt(
        *("bash", "-euo", "pipefail", "-c"),
        'tar c --transform "s/.*/$2/" "$1" 2>/dev/null | tar x -C "$3"',
        *("-", source, target.name, target.parent),
    ),
}


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    need_fuse()
    mount = Mount(
        tmp_path_factory.mktemp("faulty"),
        {"faulty": "faulty", "shared": "file"},
        options={"attribute_timeout": 0},
        environment={"PYTHONPATH": str(PLUGIN)},
    )
    with mounted(mount):
        yield mount


@pytest.fixture
def faulty(standing: Mount) -> Iterator[Mount]:
    """The store ``faulty``, which is empty before and after."""
    store = standing / "faulty"
    assert (os.listdir(store), _used(store)) == ([], 0)
    yield standing
    for name in os.listdir(store):
        os.unlink(store / name)
    # what was stored of an upload that failed counts, too
    await_true(lambda: _used(store) == 0, "an empty store")
    standing.check_log()


def _used(path: Path) -> int:
    status = os.statvfs(path)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An image with a hole of several parts in its middle."""
    path = tmp_path / "source"
    path.write_bytes(NEW[: 2 * MiB] + bytes(3 * MiB) + NEW[2 * MiB :])
    return path


def _fails(mount: Mount, program: Program, source: Path, name: str, number: int) -> None:
    image = mount / "faulty" / name
    mount.expect_log(f"faulty/.*{name}.*{errno.errorcode[number]}")
    result = program(source, image)
    assert result.returncode != 0
    assert os.strerror(number) in result.stderr
    assert mount.log_count(name) == 1


@pytest.mark.parametrize(
    ("program", "error"),
    [*(("cp", error) for error in ERRORS), *((program, "StorageFull") for program in PROGRAMS)][1:],
)
@pytest.mark.parametrize("step", ["create", "pwrite@1", "pwrite@3", "stage", "commit"])
def test_a_new_image(faulty: Mount, source: Path, step: str, error: str, program: str) -> None:
    name = f"{step}-{error}-{program}"
    _fails(faulty, PROGRAMS[program], source, name, ERRORS[error])
    assert not (faulty / "faulty" / name).exists()
    assert os.listdir(faulty / "faulty") == []
    run("cp", source, faulty / "faulty" / "another")
    assert (faulty / "faulty" / "another").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("program", sorted({*PROGRAMS} - {"tar"}))  # which unlinks the old one
@pytest.mark.parametrize("step", ["create@2", "pwrite@2", "pwrite@4", "stage@2", "commit@2"])
def test_a_new_version(faulty: Mount, source: Path, step: str, program: str) -> None:
    """The first upload of the name works; what it made stays."""
    image = faulty / "faulty" / f"{step}-StorageFull-{program}"
    image.write_bytes(OLD)
    _fails(faulty, PROGRAMS[program], source, image.name, errno.ENOSPC)
    assert image.read_bytes() == OLD
    assert os.listdir(faulty / "faulty") == [image.name]


@pytest.mark.parametrize("error", ERRORS)
def test_a_hole(faulty: Mount, source: Path, error: str) -> None:
    """Where nothing was written the store is told so, and may fail there as well."""
    name = f"skip-{error}"
    _fails(faulty, PROGRAMS["dd-sparse"], source, name, ERRORS[error])
    assert os.listdir(faulty / "faulty") == []


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("error", ["TimeoutError", "NotFound"])
def test_what_fails_after_the_publication_is_no_failure(
    faulty: Mount, source: Path, error: str, program: str
) -> None:
    """It is stored: no program may be told that it is not."""
    image = faulty / "faulty" / f"published-{error}-{program}"
    result = PROGRAMS[program](source, image)
    assert (result.returncode, result.stderr) == (0, "")
    assert image.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("step", ["create", "pwrite@2", "stage", "commit"])
def test_a_store_that_is_slow_is_waited_for(faulty: Mount, source: Path, step: str) -> None:
    """And the other store is not: it answers while this one does not."""
    image = faulty / "faulty" / f"{step}-Slow"
    copying = subprocess.Popen(["cp", source, image])
    (faulty / "shared" / "other").write_bytes(OLD)
    assert (faulty / "shared" / "other").read_bytes() == OLD
    os.unlink(faulty / "shared" / "other")
    assert copying.wait(PATIENCE) == 0
    assert image.read_bytes() == source.read_bytes()


def test_a_disk_that_is_really_full(make_mount: MakeMount, tmp_path: Path) -> None:
    need_root()
    disk = tmp_path / "disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", disk)
    try:
        mount = make_mount(
            {"shared": "file"}, sections={"shared": {"filesystem_store_datadir": disk / "images"}}
        )
        source = tmp_path / "source"
        source.write_bytes(data(12 * MiB))
        for program in ("cp", "rsync", "dd", "dd-fsync"):
            mount.expect_log("shared/.*image.*ENOSPC")
            result = PROGRAMS[program](source, mount / "shared" / "image")
            assert result.returncode != 0
            assert os.strerror(errno.ENOSPC) in result.stderr
            await_true(lambda: os.listdir(disk / "images") == [], "room again")
            mount.check_log()
        (mount / "shared" / "image").write_bytes(OLD)
        assert (mount / "shared" / "image").read_bytes() == OLD
        mount.umount()
    finally:
        run("umount", "-l", disk)


def test_killed_while_the_kernel_waits_for_a_directory(
    make_mount: MakeMount, tmp_path: Path
) -> None:
    """Nobody waits for ever: neither the killed process nor who asked it something.

    What others change is told to the kernel, for which that needs the directory,
    which a rename has that the store is slow with.
    """
    mount = make_mount(
        {"faulty": "faulty"},
        options={"attribute_timeout": 0},
        environment={"PYTHONPATH": str(PLUGIN)},
    )
    directory = mount / "faulty"
    (directory / "rename-Dead").write_bytes(OLD)
    (directory / "changing").write_bytes(OLD)
    failed: list[int | None] = []
    renaming = threading.Thread(target=lambda: failed.append(_errno(directory)))
    known = os.open(directory / "changing", os.O_PATH)
    renaming.start()
    await_true(lambda: _sleeps_in_rename(renaming), "a rename under way")
    os.fstat(known)
    await_true(lambda: "D" in _states(mount.pid), "a thread that waits for the directory")
    mount.kill9()
    renaming.join(PATIENCE)
    os.close(known)
    assert failed[0] in {errno.ECONNABORTED, errno.ENOTCONN}


def _states(pid: int) -> set[str]:
    """What its threads do, in ps' letters; D is a sleep that no signal ends."""
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}


def _errno(directory: Path) -> int | None:
    try:
        os.rename(directory / "rename-Dead", directory / "renamed")
    except OSError as exc:
        return exc.errno
    return None


def _sleeps_in_rename(thread: threading.Thread) -> bool:
    """Does the kernel hold the directory for it? (rename is 82 on x86-64, renameat 38 elsewhere)"""
    call = Path(f"/proc/self/task/{thread.native_id}/syscall").read_text().split()[0]
    return call in {"82", "38", "264", "276", "316"}
