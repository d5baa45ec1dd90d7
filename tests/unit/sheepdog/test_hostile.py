# SPDX-License-Identifier: Apache-2.0
"""A server that is broken, or means harm: an error in time, never a crash or foreign bytes."""

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storefs import exceptions
from storefs.drivers.sheepdog import wire
from storefs.drivers.sheepdog.cluster import Cluster, Settings
from storefs.drivers.sheepdog.connection import Connection, Gateway
from storefs.drivers.sheepdog.errors import RETRY, TABLE, error_of
from storefs.drivers.sheepdog.inode import HEAD, Inode, pack_properties
from storefs.drivers.sheepdog.vdis import Vdis
from tests.contract.images import listed, pattern
from tests.servers.sheep import Sheep
from tests.servers.sheep_client import SheepClient
from tests.servers.sheep_cluster import Answer, Asked
from tests.unit.sheepdog.conftest import MakeDriver

MiB = 1024 * 1024

_FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

#: What a driver may raise: what the layers above know.
_TOLD = (exceptions.GlanceStoreException, exceptions.BackendException)


class Pair:
    """A connection whose other end is the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, timeout: float = 20.0) -> None:
        ours, self.theirs = socket.socketpair()
        monkeypatch.setattr(socket, "create_connection", lambda *_: _NoDelay(ours))
        self.connection = Connection(Gateway("nowhere", 1), 1.0, timeout)
        monkeypatch.undo()

    def close(self) -> None:
        self.connection.close()
        self.theirs.close()


class _NoDelay:
    """A socket of a pair has no Nagle to switch off."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real

    def setsockopt(self, *_: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    pair = Pair(monkeypatch)
    yield pair
    pair.close()


def _reply(
    opcode: int, number: int, result: int = 0, length: int = 0, tail: bytes = bytes(28)
) -> bytes:
    return struct.pack("<BBHIIII", 0, opcode, 0, 1, number, length, result) + tail


def test_replies_in_any_order_fill_their_own_buffers(pair: Pair) -> None:
    buffers = [bytearray(n + 1) for n in range(12)]
    requests = [wire.read_object(n, memoryview(b)) for n, b in enumerate(buffers)]
    order = [0, 1, 3, 5, 7, 9, 11, 2, 6, 8, 4, 10]
    pair.theirs.sendall(
        b"".join(_reply(2, n + 1, length=n + 1) + bytes([n]) * (n + 1) for n in order)
    )
    replies = pair.connection.exchange(requests)
    assert [bytes(b) for b in buffers] == [bytes([n]) * (n + 1) for n in range(12)]
    assert [reply.number for reply in replies] == list(range(1, 13))


def test_what_an_error_brings_along_is_taken_off_the_line(pair: Pair) -> None:
    requests = [wire.read_object(n, memoryview(bytearray(4))) for n in range(2)]
    pair.theirs.sendall(_reply(2, 1, 0x03, 100_000) + bytes(100_000))
    pair.theirs.sendall(_reply(2, 2, 0, 4) + b"data")
    first, second = pair.connection.exchange(requests)
    assert (first.result, second.result) == (0x03, 0)
    assert bytes(requests[1].into or b"") == b"data"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (_reply(2, 99, length=4) + b"data", "not sent"),
        (_reply(3, 1, length=4) + b"data", "opcode"),
        (_reply(2, 1, length=3) + b"dat", "3 bytes"),
        (_reply(2, 1, length=5) + b"datas", "5 bytes"),
        (_reply(2, 1, length=0xFFFFFFFF), "4294967295 bytes"),
        (_reply(2, 1, 0x03, length=0xFFFFFFFF), "4294967295 bytes"),
    ],
    ids=["number", "opcode", "short", "long", "endless", "endless error"],
)
def test_a_reply_that_does_not_fit_is_malformed(pair: Pair, reply: bytes, reason: str) -> None:
    pair.theirs.sendall(reply)
    with pytest.raises(wire.Malformed, match=reason):
        pair.connection.exchange([wire.read_object(1, memoryview(bytearray(4)))])


def test_a_second_reply_to_a_request_is_malformed(pair: Pair) -> None:
    pair.theirs.sendall(_reply(2, 1, length=1) * 1 + b"x" + _reply(2, 1, length=1) + b"y")
    requests = [wire.read_object(n, memoryview(bytearray(1))) for n in range(2)]
    with pytest.raises(wire.Malformed, match="not sent"):
        pair.connection.exchange(requests)


def test_one_byte_now_and_then_does_not_hold_a_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch, timeout=0.3)
    stop = threading.Event()

    def trickle() -> None:
        with contextlib.suppress(OSError):
            while not stop.wait(0.05):
                pair.theirs.send(b"\0")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        with pytest.raises(TimeoutError):
            pair.connection.exchange([wire.find_vdi(b"image")])
    finally:
        stop.set()
        thread.join()
        pair.close()


@_FUZZ
@given(noise=st.binary(max_size=300))
def test_noise_is_an_error_or_an_answer(noise: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        pair = Pair(patch)
    with contextlib.closing(pair):
        pair.theirs.sendall(noise)
        pair.theirs.shutdown(socket.SHUT_WR)
        with contextlib.suppress(wire.Malformed, ConnectionResetError):
            pair.connection.exchange([wire.read_object(1, memoryview(bytearray(16)))])


@_FUZZ
@given(raw=st.binary(min_size=48, max_size=48))
def test_any_header_is_parsed(raw: bytes) -> None:
    reply = wire.Reply.parse(raw)
    total, free = reply.room
    assert 0 <= free <= total
    with contextlib.suppress(wire.Malformed):
        assert 0 < reply.vid < 1 << 24


@_FUZZ
@given(
    start=st.binary(min_size=600, max_size=700),
    name=st.binary(max_size=20),
    sane=st.booleans(),
)
def test_any_inode_is_parsed_or_malformed(start: bytes, name: bytes, sane: bool) -> None:
    raw = bytearray(start.ljust(HEAD, b"\xff"))
    raw[:256] = name.ljust(256, b"\0")
    if sane:
        raw[555], raw[560:564] = 22, (7).to_bytes(4, "little")
    with contextlib.suppress(wire.Malformed):
        inode = Inode.parse(bytes(raw), 7)
        assert inode.objects <= 1 << 20
        if inode.name:
            assert inode.info.size == inode.size < 1 << 63
            assert abs(inode.info.mtime_ns) < 1 << 63


@_FUZZ
@given(kept=st.one_of(st.binary(max_size=200), st.dictionaries(st.text(), st.text(), max_size=5)))
def test_properties_are_what_was_kept_or_nothing(kept: bytes | dict[str, str]) -> None:
    raw = bytearray(HEAD)
    packed = pack_properties(kept, 5) if isinstance(kept, dict) else b"storefs1" + kept
    raw[572 : 572 + len(packed)] = packed
    raw[:1], raw[555], raw[560] = b"x", 22, 7
    raw[536] = 5
    found = Inode.parse(bytes(raw), 7).properties
    assert found == (kept if isinstance(kept, dict) else {})
    raw[536] = 6
    assert Inode.parse(bytes(raw), 7).properties == {}


def test_properties_that_do_not_fit_are_invalid(driver: Any, client: SheepClient) -> None:
    client.put(b"image", b"bytes")
    with pytest.raises(exceptions.Invalid, match="do not fit"):
        driver.set_properties(driver.locate("image"), {"md5": "x" * 5000})


@pytest.mark.parametrize("result", range(0x20))
def test_every_result_is_an_exception_of_the_store(
    driver: Any, sheep: Sheep, client: SheepClient, result: int
) -> None:
    if result == 0:
        return
    client.put(b"image", b"bytes")
    sheep.fault(0x14, times=3, result=result)
    expected = TABLE.get(result, (Exception,))[0]
    if result == 0x02:  # of a lookup: an inode on the way is lost
        expected = exceptions.BackendException
    with pytest.raises(expected):
        driver.stat(driver.locate("image"))
    assert isinstance(error_of(result, "x"), _TOLD)


@pytest.mark.parametrize("result", sorted(RETRY))
def test_a_cluster_that_changes_is_asked_again(
    driver: Any, sheep: Sheep, client: SheepClient, result: int
) -> None:
    client.put(b"image", b"bytes")
    sheep.fault(0x14, times=2, result=result)
    assert driver.stat(driver.locate("image")).size == 5
    assert sheep.count(0x14) == 3


def test_a_cluster_that_was_never_formatted_says_what_to_do(driver: Any, sheep: Sheep) -> None:
    sheep.cluster.formatted = False
    for call in (lambda: driver.stat(driver.locate("image")), lambda: listed(driver)):
        with pytest.raises(exceptions.BackendException, match="dog cluster format"):
            call()


def _lying(sheep: Sheep, lie: Callable[[Asked, Answer], Answer]) -> None:
    handle = sheep.cluster.handle
    sheep.cluster.handle = lambda asked: lie(asked, handle(asked))  # type: ignore[method-assign]


@pytest.mark.parametrize("vid", [0, 1 << 24, 0xFFFFFFFF])
def test_an_id_that_cannot_be_is_an_error(driver: Any, sheep: Sheep, vid: int) -> None:
    tail = bytes(4) + vid.to_bytes(4, "little") + bytes(20)
    _lying(sheep, lambda asked, answer: Answer(tail=tail) if asked.opcode == 0x14 else answer)
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="makes no sense"):
        driver.stat(driver.locate("image"))


def test_an_index_that_names_no_vdi_is_an_error(driver: Any, client: SheepClient) -> None:
    vid = client.put(b"image", pattern(5 * MiB))
    client.write(1 << 63 | vid << 32, b"\xff" * 4, 4664)
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="names what is no VDI"):
        driver.open(driver.locate("image"))


def test_an_object_that_is_lost_is_an_error_and_no_zeros(driver: Any, client: SheepClient) -> None:
    vid = client.put(b"image", pattern(5 * MiB))
    client.ask(0x04, struct.pack("<Q", vid << 32 | 1))
    with contextlib.closing(driver.open(driver.locate("image"))) as reader:
        assert bytes(reader.pread(10, 0)) == pattern(10)
        with pytest.raises(exceptions.BackendException, match="lost an object"):
            reader.pread(10, 4 * MiB)


def test_an_inode_that_makes_no_sense_does_not_spoil_the_listing(
    driver: Any, client: SheepClient
) -> None:
    client.put(b"image", b"bytes")
    broken = client.put(b"broken", b"bytes")
    client.write(1 << 63 | broken << 32, bytes([77]), 555)
    assert listed(driver) == {"image": 5}
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="2\\*\\*77"):
        driver.stat(driver.locate("broken"))


def test_nothing_is_read_past_the_end_of_an_object(driver: Any, client: SheepClient) -> None:
    """There the sheep answers with what its memory held."""
    data = pattern(9 * MiB + 5)
    client.put(b"image", data)
    with contextlib.closing(driver.open(driver.locate("image"))) as reader:
        assert bytes(reader.pread(20 * MiB, 0)) == data
        assert bytes(reader.pread(20, 9 * MiB)) == data[9 * MiB :]


def test_a_server_that_lies_at_random_makes_errors(make_driver: MakeDriver, sheep: Sheep) -> None:
    """Answers of the right length and any content: no crash, and nothing but told errors."""

    def lie(asked: Asked, answer: Answer) -> Answer:
        if asked.opcode in {0x15, 0xC9}:
            return Answer(data=bytes(1000) + os.urandom(3) + bytes(2 * MiB - 1003))
        return Answer(data=os.urandom(len(answer.data)), tail=os.urandom(28))

    driver = make_driver()
    _lying(sheep, lie)
    where = driver.locate("image")
    for _ in range(20):
        for call in (
            lambda: driver.stat(where),
            lambda: driver.open(where),
            lambda: driver.delete(where),
            lambda: list(driver.list()),
            driver.capacity,
            lambda: driver.create(where, None),
        ):
            with contextlib.suppress(*_TOLD):
                call()


def test_a_server_that_says_nothing_is_a_time_out(make_driver: MakeDriver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        driver = make_driver(port=silent.getsockname()[1], timeout=0.2)
        with pytest.raises(exceptions.TimeoutError, match="sheepdog_store_timeout"):
            driver.stat(driver.locate("image"))


def test_a_cluster_is_asked_by_many_at_once_on_few_connections(
    sheep: Sheep, client: SheepClient
) -> None:
    vid = client.put(b"image", b"bytes")
    cluster = Cluster([Gateway(sheep.host, sheep.port)], Settings(idle=2))
    vdis = Vdis(cluster)
    for _ in range(20):
        assert vdis.inode(vid) is not None
    assert sheep.connections == 2
    cluster.close()
