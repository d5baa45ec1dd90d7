# SPDX-License-Identifier: Apache-2.0
"""What librados and librbd made is closed and let go of, and never left to the garbage collector.

That frees it in any order and in any thread: an image after its connection, which crashes
the process, or one whose OSD is away, which hangs it.
"""

import contextlib
import functools
import gc
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.base import Writer
from storefs.drivers.rbd import RbdDriver
from storefs.drivers.rbd.aside import Asides
from storefs.drivers.rbd.io import MiB
from tests.contract.images import add, listed, pattern, read, write
from tests.servers.rbd_pool import RbdPool
from tests.unit.rbd.conftest import Make
from tests.unit.rbd.test_writer import STEPS, Failing


@pytest.fixture
def garbage(images: RbdPool) -> Iterator[Callable[[], list[str]]]:
    """Which objects of the two libraries only the garbage collector has found."""
    before = gc.get_threshold(), gc.get_debug()
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.set_threshold(20, 2, 2)

    def found() -> list[str]:
        gc.collect()
        types = [type(thing) for thing in gc.garbage]
        return [str(found) for found in types if found.__module__ in ("rados", "rbd")]

    yield found
    gc.set_threshold(*before[0])
    gc.set_debug(before[1])
    gc.garbage.clear()
    gc.collect()


Use = Callable[[RbdDriver, RbdPool], None]


def _ends_well(driver: RbdDriver, _images: RbdPool) -> None:
    for number in range(2):
        data = pattern(9 * MiB, number)
        add(driver, "image", data, replace=True)
        assert read(driver, "image") == data
    driver.set_properties(driver.locate("image"), {"md5": "x"})
    assert listed(driver) == {"image": 9 * MiB}
    driver.delete(driver.locate("image"))


def _upload(writer: Writer) -> None:
    write(writer, b"bytes")
    writer.stage({"md5": "x"})
    writer.commit(5)


def _fails_at(step: str, driver: RbdDriver, _images: RbdPool) -> None:
    rbd = driver._cluster.sdk.rbd
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rbd, "Image", functools.partial(Failing, rbd, rbd.Image, step))
        writer = driver.create(driver.locate("image"), None)
        with pytest.raises(exceptions.StorageFull):
            _upload(writer)
        writer.abort()


def _cannot_begin(driver: RbdDriver, images: RbdPool) -> None:
    rbd = driver._cluster.sdk.rbd

    def fail(ioctx: Any, *_args: Any, **_how: Any) -> None:
        assert ioctx
        raise rbd.NoSpace("no room", errno=28)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rbd, "Image", fail)
        for _ in range(2):
            with pytest.raises(exceptions.StorageFull):
                driver.create(driver.locate("image"), None)
    driver.close()
    assert [name for name in images.names() if not name.startswith(".storefs-")] == []


def _was_removed(driver: RbdDriver, _images: RbdPool) -> None:
    add(driver, "image", pattern(9 * MiB))
    with contextlib.closing(driver.open(driver.locate("image"))) as reader:
        driver.delete(driver.locate("image"))
        with pytest.raises(exceptions.ImageChanged):
            reader.pread(9 * MiB, 0)


def _is_never_closed(driver: RbdDriver, _images: RbdPool) -> None:
    add(driver, "image", pattern(9 * MiB))
    reader = driver.open(driver.locate("image"))
    writer = driver.create(driver.locate("other"), None)
    write(writer, pattern(9 * MiB))
    assert reader.pread(1, 0)
    # In a cycle, as what an exception's traceback has.
    ring: list[Any] = [reader, writer]
    ring.append(ring)


def _listing_is_left(driver: RbdDriver, _images: RbdPool) -> None:
    for name in "abc":
        add(driver, name, b"bytes")
    found = driver.list()
    assert next(found).size == 5
    with pytest.raises(exceptions.NotFound):
        driver.stat(driver.locate("missing"))


USES: dict[str, Use] = {
    "ends well": _ends_well,
    **{f"fails at {step}": functools.partial(_fails_at, step) for step in STEPS},
    "cannot begin": _cannot_begin,
    "was removed": _was_removed,
    "is never closed": _is_never_closed,
    "listing is left": _listing_is_left,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_nothing_is_left_to_the_garbage_collector(
    make: Make, images: RbdPool, garbage: Callable[[], list[str]], use: Use
) -> None:
    driver = make()
    use(driver, images)
    driver.close()
    assert garbage() == []


def test_a_connection_that_fails_is_freed_at_once(
    make: Make, garbage: Callable[[], list[str]], tmp_path: Any
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        conf = tmp_path / "ceph.conf"
        port = nobody.getsockname()[1]
        conf.write_text(f"[global]\nmon_host = v2:127.0.0.1:{port}\nauth_client_required = none\n")
        driver = make(rbd_store_ceph_conf=str(conf), rados_connect_timeout=1)
        for _ in range(2):
            with pytest.raises(exceptions.TimeoutError):
                driver.stat(driver.locate("image"))
        assert garbage() == []


def test_a_connection_in_use_is_not_shut_down(make: Make) -> None:
    driver = make()
    cluster = driver._cluster
    with cluster.using("images", "Pool images") as ioctx:
        connection = cluster._connection
        assert connection is not None
        closing = threading.Thread(target=connection.shutdown)
        closing.start()
        while not connection._ended:
            pass
        assert list(ioctx.list_objects()) is not None
        assert connection.handle.state == "connected"
        with pytest.raises(exceptions.BackendException, match="closed"), connection.use():
            pass
    closing.join()
    assert connection.handle.state == "shutdown"


def test_images_are_closed_before_their_connection_and_used_no_more(make: Make) -> None:
    driver = make()
    add(driver, "image", b"bytes")
    reader = driver.open(driver.locate("image"))
    connection = driver._cluster._connection
    driver.close()
    assert connection is not None
    assert connection.handle.state == "shutdown"
    with pytest.raises(exceptions.BackendException, match="closed"):
        reader.pread(1, 0)
    reader.close()


def test_the_failure_of_work_aside_is_in_no_cycle() -> None:
    class Held:
        """Stands in for an image among the locals of the work."""

    def work() -> None:
        held = Held()
        raise exceptions.StorageFull(str(held))

    asides = Asides()
    gc.disable()
    try:
        with contextlib.suppress(exceptions.StorageFull):
            asides.run(work, 60, "Work")
        assert asides.finished(60)
        assert not any(isinstance(thing, Held) for thing in gc.get_objects())
    finally:
        gc.enable()
