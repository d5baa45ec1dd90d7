# SPDX-License-Identifier: Apache-2.0
"""What is tried with every store behind a server: other programs, outages and kills.

*store* is an image's directory, ``mount / "s3"``; the server goes and comes back by
*stop* and *start*. A mount that outlives its server has the store ``shared``, too.
"""

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path

from tests.images.collection import Images
from tests.mount.mounting import Mount
from tests.mount.tools import MiB, attribute, await_true, data, failure, md5, run, sha512
from tests.servers.fault_proxy import FaultProxy

#: What a program may be told of a server that is gone.
UNREACHABLE = {errno.EIO, errno.EREMOTEIO, errno.ETIMEDOUT}

#: What closing a file may say whose mount is dead.
DEAD = {0, errno.ENOTCONN, errno.ECONNABORTED}

#: Of `dated`, seconds.
MTIME = 1_234_567_890.5

#: What the file store is given, and has to give back.
_OTHER = b"the file store goes on"


# -- other programs


def dated(path: Path, content: bytes) -> Path:
    """*path* with *content*, last changed at `MTIME`."""
    path.write_bytes(content)
    os.utime(path, (0, MTIME))
    return path


def rsync_in(images: Images, source: Path, store: Path) -> None:
    """Copy *images* to a new directory *source*, and by rsync into *store*."""
    source.mkdir()
    for image in images.all:
        run("cp", "--preserve=timestamps", image, source)
    run("rsync", "-a", f"{source}/", f"{store}/")
    for image in images.all:
        assert sha512(store / image.name) == sha512(image)


def rsync_sends_nothing(source: Path, store: Path) -> None:
    """All that is in *source* is in *store* as it is."""
    assert ">f" not in run("rsync", "-ai", f"{source}/", f"{store}/")


def rsync_after_a_remount(mount: Mount, store: Path, image: Path, proxy: FaultProxy) -> None:
    """Rsync *image* there twice; *proxy* has then what the second time is asked of the server."""
    dated(image, data(12 * MiB))
    run("rsync", "-a", image, f"{store}/")
    mount.remount()
    proxy.requests.clear()
    assert ">f" not in run("rsync", "-ai", image, f"{store}/")
    assert os.stat(store / image.name).st_mtime == MTIME


def shared_with(
    store: Path, put: Callable[[str, bytes], object], get: Callable[[str], bytes]
) -> str:
    """Another program *put*s what shows up, and *get*s what is written; the latter's location."""
    theirs, ours = data(9 * MiB, 1), data(11 * MiB, 2)
    put("theirs", theirs)
    assert os.listdir(store) == ["theirs"]
    assert (store / "theirs").read_bytes() == theirs
    (store / "ours").write_bytes(ours)
    assert get("ours") == ours
    assert attribute(store / "ours", "md5") == md5(ours)
    return attribute(store / "ours", "location")


def stale_after(change: Callable[[], object], image: Path, content: bytes) -> None:
    """Who has *image*, of *content*, open at a *change* elsewhere reads no mix of versions."""
    with open(image, "rb", buffering=0) as file:
        assert file.read(4096) == content[:4096]
        change()
        assert failure(lambda: os.pread(file.fileno(), 4096, len(content) - 4 * MiB)) == (
            errno.ESTALE
        )


def replaced(image: Path, put: Callable[[bytes], object]) -> None:
    """Another program *put*s *image*, and another version of it while it is open."""
    old, new = data(24 * MiB, 1), data(24 * MiB, 2)
    put(old)
    stale_after(lambda: put(new), image, old)
    await_true(lambda: image.read_bytes() == new, "the new image")


# -- servers that are gone


def fails_alone(mount: Mount, name: str, log: str) -> int:
    """The errno the store *name* cannot be listed with, logged as *log*."""
    _goes_on(mount)
    mount.expect_log(log)
    number = failure(lambda: os.listdir(mount / name))
    _goes_on(mount)
    return number


def _goes_on(mount: Mount) -> None:
    (mount / "shared" / "other").write_bytes(_OTHER)
    assert (mount / "shared" / "other").read_bytes() == _OTHER


def stop_while_reading(
    mount: Mount,
    name: str,
    content: bytes,
    stop: Callable[[], object],
    start: Callable[[], object],
    how: Callable[[io.FileIO], object] = io.FileIO.readall,
) -> None:
    """A read of the store's ``image``, of *content*, fails in time, and goes on after *start*."""
    image = mount / name / "image"
    with open(image, "rb", buffering=0) as file:
        assert file.read(4096) == content[:4096]
        stop()
        mount.expect_log(f"{name}.*image")
        assert failure(lambda: how(file)) in UNREACHABLE
        _goes_on(mount)
        start()
        offset = len(content) // 4 * 3
        assert os.pread(file.fileno(), 4096, offset) == content[offset : offset + 4096]
    assert image.read_bytes() == content


def stop_while_writing(
    mount: Mount, name: str, length: int, begun: Callable[[], object], stop: Callable[[], object]
) -> None:
    """*length* bytes of ``image`` are written when *begun*; the next, or close, fail in time."""
    mount.expect_log(f"{name}.*image")
    descriptor = begin_writing(mount / name / "image", length, begun)
    stop()
    failed = [failure(lambda: os.write(descriptor, data(length)))]
    failed.append(failure(lambda: os.close(descriptor)))
    assert {number for number in failed if number} <= UNREACHABLE
    assert any(failed)
    _goes_on(mount)


def begin_writing(image: Path, length: int, begun: Callable[[], object]) -> int:
    """The descriptor of *image*, of which *length* bytes are written and something has *begun*."""
    descriptor = os.open(image, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(descriptor, data(length))
    await_true(begun, "an upload")
    return descriptor


def kill_while_writing(mount: Mount, image: Path, length: int, begun: Callable[[], object]) -> int:
    """End the mount when *begun*; the errno with which *image* is closed, of `DEAD`."""
    descriptor = begin_writing(image, length, begun)
    mount.kill9()
    number = failure(lambda: os.close(descriptor))
    assert number in DEAD
    return number
