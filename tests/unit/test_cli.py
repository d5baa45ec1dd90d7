# SPDX-License-Identifier: Apache-2.0
"""The command as people type it, in processes of its own."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storefs import cli, cli_umount, daemon, mountpoint
from storefs.driver_types import known

Run = Callable[..., "subprocess.CompletedProcess[str]"]

#: long enough for a loaded machine; nothing waits that long unless it hangs
PATIENCE = 60

ROOT = Path(__file__).parents[2]


@pytest.fixture
def storefs(tmp_path: Path) -> Iterator[Run]:
    """Run `storefs` for a user who has nothing yet; what is mounted in the end is unmounted."""
    variables = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "NOTIFY_SOCKET")
    environment = {key: value for key, value in os.environ.items() if key not in variables}
    environment["HOME"] = str(tmp_path)

    def run(*arguments: object, program: tuple[str, ...] = ("-m", "storefs.cli")) -> object:
        return subprocess.run(
            [sys.executable, *program, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=environment,
            cwd=tmp_path,
        )

    yield run  # type: ignore[misc]
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        path = mountpoint.parse_mountinfo(line).path
        if path.startswith(f"{tmp_path}/"):
            mountpoint.detach(path, lazy=True)


@pytest.fixture
def mnt(tmp_path: Path) -> Path:
    path = tmp_path / "mnt"
    path.mkdir()
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def configure(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "a.conf"
    path.write_text(text)
    return path


def pid_of(mnt: Path) -> int:
    return int(os.getxattr(mnt, "user.storefs.pid"))


def is_running(pid: int) -> bool:
    """A child that has ended, but that nobody has waited for, is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def test_from_nothing_to_an_image_and_back(
    storefs: Run, mnt: Path, log: Path, tmp_path: Path
) -> None:
    mounted = storefs("mount", "--daemon", "--log-file", log, mnt)
    assert (mounted.returncode, mounted.stdout) == (0, "")
    assert mounted.stderr == f"storefs: mounted on {mnt}, logging to {log}\n"
    (mnt / "images" / "one").write_bytes(b"image")
    assert (tmp_path / ".local/share/storefs/images/one").read_bytes() == b"image"
    pid = pid_of(mnt)
    unmounted = storefs("umount", mnt)
    assert (unmounted.returncode, unmounted.stderr) == (0, "")
    assert not is_running(pid)
    assert list(mnt.iterdir()) == []


def test_mount_py_is_the_same_thing(storefs: Run, mnt: Path, log: Path) -> None:
    program = (str(ROOT / "mount.py"),)
    mounted = storefs(mnt, "--daemon", "--log-file", log, program=program)
    assert (mounted.returncode, mounted.stderr[:16]) == (0, "storefs: mounted")
    assert storefs("umount", mnt).returncode == 0


def test_the_way_mount_8_calls_it(storefs: Run, mnt: Path, tmp_path: Path) -> None:
    conf = configure(tmp_path, "[DEFAULT]\nenabled_backends = m:memory\n")
    options = f"rw,_netdev,x-systemd.automount,ro,log_file={tmp_path}/log"
    mounted = storefs(conf, mnt, "-o", options)
    assert (mounted.returncode, mounted.stderr[:16]) == (0, "storefs: mounted")
    assert os.listdir(mnt) == ["m"]
    assert os.statvfs(mnt).f_flag & os.ST_RDONLY
    assert storefs("umount", mnt).returncode == 0


def test_mount_8_itself(storefs: Run, mnt: Path, tmp_path: Path) -> None:
    conf = configure(tmp_path, "[DEFAULT]\nenabled_backends = m:memory\n")
    source = f"{ROOT}/mount.py#{conf}"
    subprocess.run(
        ["mount", "-t", "fuse3", source, str(mnt), "-o", f"_netdev,log_file={tmp_path}/log"],
        check=True,
        timeout=PATIENCE,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert os.listdir(mnt) == ["m"]
    assert storefs("umount", mnt).returncode == 0


def test_the_configured_mount_point_will_do(
    storefs: Run, mnt: Path, log: Path, tmp_path: Path
) -> None:
    text = (
        f"[DEFAULT]\nenabled_backends = m:memory\n[storefs]\nmountpoint = {mnt}\nlog_file = {log}\n"
    )
    conf = configure(tmp_path, text)
    assert storefs("mount", "--daemon", "--config-file", conf).returncode == 0
    assert os.listdir(mnt) == ["m"]
    assert storefs("umount", mnt).returncode == 0


def test_a_broken_store_is_told_and_the_others_are_mounted(
    storefs: Run, mnt: Path, log: Path, tmp_path: Path
) -> None:
    text = "[DEFAULT]\nenabled_backends = m:memory, b:file\n[b]\nfilesystem_store_datadir = "
    conf = configure(tmp_path, f"{text}{tmp_path}/a.conf\n")
    mounted = storefs("mount", "--daemon", "--log-file", log, "--config-file", conf, mnt)
    assert mounted.returncode == 0
    assert "storefs: store 'b' is broken: " in mounted.stderr
    (mnt / "m" / "image").write_bytes(b"x")
    assert "Store b is broken" in log.read_text()
    assert storefs("umount", mnt).returncode == 0


@pytest.mark.parametrize("background", [["--daemon"], []])
def test_with_no_usable_store_nothing_is_mounted(
    storefs: Run, mnt: Path, log: Path, tmp_path: Path, background: list[str]
) -> None:
    conf = configure(tmp_path, "[DEFAULT]\nenabled_backends = a:nosuch, b:memry\n")
    failed = storefs("mount", *background, "--log-file", log, "--config-file", conf, mnt)
    assert failed.returncode == 1
    assert "store 'a' is broken: unknown store type nosuch" in failed.stderr
    assert "store 'b' is broken: unknown store type memry (did you mean memory?)" in failed.stderr
    assert "storefs: no store is usable" in failed.stderr
    assert mountpoint.find(str(mnt)) is None


def test_misspelt_options_are_reported(storefs: Run, mnt: Path, log: Path, tmp_path: Path) -> None:
    conf = configure(tmp_path, "[DEFAULT]\nenabled_backends = m:memory\n[m]\nwieght = 3\n")
    mounted = storefs("mount", "--daemon", "--log-file", log, "--config-file", conf, mnt)
    assert f"{conf}:4: [m] has no option 'wieght': did you mean 'weight'?" in mounted.stderr
    assert storefs("umount", mnt).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["mount", "nowhere"], 1, "mkdir -p nowhere"),
        (["mount", "/proc"], 1, "already a mount point"),
        (["mount"], 2, "where to?"),
        (["mount", "-o", "raed_only", "mnt"], 2, "did you mean 'read_only'?"),
        (["mount", "-o", "uid=x", "mnt"], 1, "-o uid=x"),
        (["mount", "--config-file", "none.conf", "mnt"], 1, "none.conf: check the name"),
        (["mount", "--log-file", "/proc/x", "mnt"], 1, "cannot log to /proc/x"),
        (["mount", "a", "b", "c"], 2, "one directory"),
        (["umount", "mnt"], 1, "mnt is not mounted"),
        (["umount", "/proc"], 1, "use `umount /proc`"),
        (["umount"], 2, "see `storefs --help`"),
        (["frobnicate"], 2, "invalid choice: 'frobnicate'"),
        ([], 2, "COMMAND"),
    ],
)
@pytest.mark.usefixtures("mnt")
def test_what_is_wrong_is_said_in_a_line(
    storefs: Run, arguments: list[str], code: int, message: str
) -> None:
    failed = storefs(*arguments)
    assert (failed.returncode, failed.stdout) == (code, "")
    assert failed.stderr.startswith("storefs: ")
    assert failed.stderr.count("\n") == 1
    assert message in failed.stderr


def test_a_mount_in_use(storefs: Run, mnt: Path, log: Path) -> None:
    storefs("mount", "--daemon", "--log-file", log, mnt)
    pid = pid_of(mnt)
    user = os.open(mnt / "images", os.O_RDONLY | os.O_DIRECTORY)
    try:
        busy = storefs("umount", mnt)
        assert (busy.returncode, "is in use" in busy.stderr) == (1, True)
        assert storefs("umount", "--lazy", mnt).returncode == 0
        assert mountpoint.find(str(mnt)) is None
        assert is_running(pid)
    finally:
        os.close(user)
    wait_for_end(pid)


def wait_for_end(pid: int) -> None:
    """Until *pid* is gone; hangs into the test's time-out otherwise."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(PATIENCE * 1000)
    os.close(pidfd)


def test_a_mount_whose_server_was_killed(storefs: Run, mnt: Path, log: Path) -> None:
    storefs("mount", "--daemon", "--log-file", log, mnt)
    pid = pid_of(mnt)
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)
    refused = storefs("mount", "--daemon", "--log-file", log, mnt)
    assert (refused.returncode, "is a dead mount" in refused.stderr) == (1, True)
    assert storefs("umount", mnt).returncode == 0
    assert storefs("mount", "--daemon", "--log-file", log, mnt).returncode == 0
    assert storefs("umount", mnt).returncode == 0


def test_a_server_that_does_not_answer_is_not_taken_for_one_that_is_done(
    storefs: Run, mnt: Path, log: Path
) -> None:
    storefs("mount", "--daemon", "--log-file", log, mnt)
    pid = pid_of(mnt)
    os.kill(pid, signal.SIGSTOP)
    refused = storefs("umount", mnt)
    assert (refused.returncode, "does not answer" in refused.stderr) == (1, True)
    assert storefs("umount", "--lazy", mnt).returncode == 0
    os.kill(pid, signal.SIGCONT)
    wait_for_end(pid)


def test_waiting_has_an_end() -> None:
    with subprocess.Popen(["sleep", "60"]) as busy:
        with pytest.raises(mountpoint.MountError, match=r"after 0\.01 seconds .* --timeout"):
            cli_umount._await_end("/mnt", os.pidfd_open(busy.pid), 0.01)
        busy.kill()


def test_stores_as_a_table(storefs: Run, tmp_path: Path) -> None:
    text = "[DEFAULT]\nenabled_backends = m:memory, x:nosuch\n[m]\nweight = 7\n"
    conf = configure(tmp_path, f"{text}[glance_store]\ndefault_backend = m\n")
    shown = storefs("stores", "--config-file", conf)
    assert shown.returncode == 1
    header, first, second = (line.split() for line in shown.stdout.splitlines())
    assert header == ["STORE", "TYPE", "STATE", "DEFAULT", "WEIGHT", "CAPABILITIES", "REASON"]
    assert first[:5] == ["m", "memory", "ready", "yes", "7"]
    assert (second[:3], second[-1]) == (["x", "nosuch", "broken"], known()[-1])


def test_stores_for_programs(storefs: Run, tmp_path: Path) -> None:
    text = "[DEFAULT]\nenabled_backends = m:memory, r:memory\n[r]\nread_only = true\n"
    shown = storefs("stores", "--json", "--config-file", configure(tmp_path, text))
    assert (shown.returncode, shown.stderr) == (0, "")
    first, second = json.loads(shown.stdout)
    assert (first["store"], first["state"], first["default"]) == ("m", "ready", False)
    assert (second["state"], second["reason"]) == ("read-only", "read_only is set")
    assert "WRITE" not in second["capabilities"]


def test_version(storefs: Run) -> None:
    shown = storefs("--version")
    assert (shown.returncode, shown.stdout.split()[0]) == (0, "storefs")


def test_a_child_that_dies_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    def die(_: object) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    assert daemon.run(die) == 1
    assert "SIGKILL" in capfd.readouterr().err


@pytest.mark.parametrize(("code", "expected"), [(3, 3), (0, 1)])
def test_a_child_that_ends_early_has_failed(code: int, expected: int) -> None:
    assert daemon.run(lambda _: code) == expected


def test_a_child_that_raises_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    def fail(_: object) -> int:
        raise mountpoint.MountError("the moon is full")

    assert daemon.run(fail) == 1
    assert "storefs: the moon is full\n" in capfd.readouterr().err


def test_a_child_that_is_ready_lets_go_of_the_terminal() -> None:
    reading, writing = os.pipe()

    def work(on_ready: Callable[[], None]) -> int:
        os.close(reading)
        on_ready()
        streams = {os.readlink(f"/proc/self/fd/{stream}") for stream in (0, 1, 2)}
        os.write(
            writing, repr((sorted(streams), os.getcwd(), os.getsid(0) == os.getpid())).encode()
        )
        return 0

    assert daemon.run(work) == 0
    os.close(writing)
    with open(reading, "rb") as report:
        assert report.read() == b"(['/dev/null'], '/', True)"


def test_help_is_for_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    for command in cli.COMMANDS:
        with pytest.raises(SystemExit) as caught:
            cli.main([command, "--help"])
        assert caught.value.code == 0
        assert f"usage: storefs {command}" in capsys.readouterr().out
