# SPDX-License-Identifier: Apache-2.0
"""Options, URIs, gateways that fail, and names with a prefix."""

import contextlib
import socket
from typing import Any

import pytest

from storefs import exceptions
from storefs.drivers.sheepdog import SheepdogDriver
from storefs.drivers.sheepdog.location import SheepdogLocation, gateways_of
from tests.contract.harness import options_of
from tests.contract.images import add, listed, pattern, read
from tests.servers.process import free_port
from tests.servers.sheep import Sheep
from tests.servers.sheep_client import SheepClient
from tests.unit.sheepdog.conftest import MakeDriver


def _parsed(uri: str) -> SheepdogLocation:
    location = SheepdogLocation(None)
    location.parse_uri(uri)
    return location


@pytest.mark.parametrize(
    ("uri", "gateway", "vdi"),
    [
        ("sheepdog://image", None, "image"),
        ("sheepdog://10.0.0.1:7000:image", ("10.0.0.1", 7000), "image"),
        ("sheepdog://sheep.example:7001:a%3Ab%20c", ("sheep.example", 7001), "a:b c"),
        ("sheepdog://[fd00::1]:7000:image", ("fd00::1", 7000), "image"),
    ],
)
def test_a_uri_of_glance_s_is_taken_and_given(uri: str, gateway: Any, vdi: str) -> None:
    location = _parsed(uri)
    assert (location.gateway, location.vdi) == (gateway, vdi)
    assert location.get_uri() == uri


@pytest.mark.parametrize(
    "uri",
    [
        "sheepdog://",
        "sheepdog://host:image",
        "sheepdog://host:0:image",
        "sheepdog://host:65536:image",
        "sheepdog://host:x:image",
        "sheepdog://host:7000:",
        "sheepdog://host:7000:a/b",
        "sheepdog://host:7000:a%2Fb",
        "sheepdog://a:b:7000:image",
        "sheepdog://host:7000:.storefs-new",
        "sheepdog://" + "x" * 256,
        "dog://image",
    ],
)
def test_a_uri_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(exceptions.BadStoreUri):
        _parsed(uri)


@pytest.mark.parametrize(
    ("text", "gateways"),
    [
        ("127.0.0.1", [("127.0.0.1", 7000)]),
        ("a, b:7001 ,", [("a", 7000), ("b", 7001)]),
        ("::1", [("::1", 7000)]),
        ("[::1]:7002,fd00::2", [("::1", 7002), ("fd00::2", 7000)]),
        ("[::1]", [("::1", 7000)]),
    ],
)
def test_addresses(text: str, gateways: list[tuple[str, int]]) -> None:
    assert gateways_of(text, 7000) == gateways


@pytest.mark.parametrize("text", ["", " , ", "host:port", "a b", "host:0", "host:99999", "[::1"])
def test_an_address_that_is_none_is_told_with_its_option(text: str) -> None:
    with pytest.raises(exceptions.BadStoreConfiguration, match="sheepdog_store_address"):
        SheepdogDriver(options_of(SheepdogDriver, sheepdog_store_address=text), "store")


def test_glance_s_defaults() -> None:
    options = options_of(SheepdogDriver)
    assert options.sheepdog_store_address == "127.0.0.1"
    assert options.sheepdog_store_port == 7000
    assert options.sheepdog_store_chunk_size == 64
    driver = SheepdogDriver(options, "store")
    assert driver.url_prefix == "sheepdog://127.0.0.1:7000:"
    assert driver.locate("image").get_uri() == "sheepdog://127.0.0.1:7000:image"
    driver.close()


@pytest.mark.parametrize(("chunk", "lanes"), [(1, 1), (8, 2), (64, 4)])
def test_the_chunk_size_bounds_what_is_under_way(
    make_driver: MakeDriver, chunk: int, lanes: int
) -> None:
    driver = make_driver(chunk_size=chunk)
    writer = driver.create(driver.locate("image"), None)
    assert writer.max_concurrency == lanes
    writer.abort()


@pytest.mark.parametrize("name", ["x" * 256, ".storefs-new-0123456789ab-abcdef", "ü" * 128])
def test_a_name_no_vdi_can_have_is_invalid(driver: Any, name: str) -> None:
    with pytest.raises(exceptions.Invalid):
        driver.locate(name)


def test_the_longest_name(driver: Any, client: SheepClient) -> None:
    add(driver, "x" * 255, b"bytes")
    assert read(driver, "x" * 255) == b"bytes"
    assert client.get(b"x" * 255) == b"bytes"


def test_names_are_bytes(driver: Any, client: SheepClient) -> None:
    client.put(b"\xff\xfe", b"bytes")
    (name,) = listed(driver)
    assert read(driver, name) == b"bytes"
    assert _parsed(driver.locate(name).get_uri()).vdi == name


def test_a_prefix_parts_images_from_other_vdis(
    make_driver: MakeDriver, client: SheepClient
) -> None:
    driver = make_driver(prefix="glance-")
    client.put(b"vm-disk", b"not an image")
    client.put(b"glance-", b"no name")
    client.put(b"glance-theirs", b"bytes")
    add(driver, "ours", b"bytes of ours")
    assert listed(driver) == {"theirs": 5, "ours": 13}
    assert client.get(b"glance-ours") == b"bytes of ours"
    assert driver.stat(driver.locate("theirs")).image_id == "theirs"
    assert driver.locate("ours").get_uri().endswith(":glance-ours")
    with pytest.raises(exceptions.NotFound):
        driver.stat(driver.locate("vm-disk"))


def test_another_gateway_is_asked_when_one_is_down(
    make_driver: MakeDriver, sheep: Sheep, client: SheepClient
) -> None:
    client.put(b"image", b"bytes")
    driver = make_driver(address=f"127.0.0.1:{free_port()}, {sheep.host}:{sheep.port}")
    assert read(driver, "image") == b"bytes"
    add(driver, "other", pattern(9 << 20))
    assert read(driver, "other") == pattern(9 << 20)


def test_another_gateway_is_asked_when_one_is_silent(
    make_driver: MakeDriver, sheep: Sheep, client: SheepClient
) -> None:
    client.put(b"image", b"bytes")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        driver = make_driver(address=f"127.0.0.1:{port},127.0.0.1:{sheep.port}", timeout=0.3)
        assert read(driver, "image") == b"bytes"
        assert next(iter(driver._own.vdis.cluster._in_order())).port == sheep.port


def test_a_gateway_that_dies_while_an_image_is_written(make_driver: MakeDriver) -> None:
    first = Sheep()
    second = Sheep(first.cluster)
    driver = make_driver(address=f"127.0.0.1:{first.port},127.0.0.1:{second.port}")
    data = pattern(20 << 20)
    first.fault(0x01, fits=lambda asked: asked.oid & 3 == 2, reset=True, then=first.hang_up)
    add(driver, "image", data)
    assert read(driver, "image") == data
    first.stop()
    assert read(driver, "image") == data
    second.stop()


def test_a_daemon_that_was_restarted_is_no_error(
    driver: Any, sheep: Sheep, client: SheepClient
) -> None:
    client.put(b"image", b"bytes")
    assert read(driver, "image") == b"bytes"
    sheep.stop()
    sheep.start()
    assert read(driver, "image") == b"bytes"


def test_a_daemon_that_is_down_is_told_with_the_options(make_driver: MakeDriver) -> None:
    driver = make_driver(port=free_port())
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="sheepdog_store_port"):
        driver.stat(driver.locate("image"))


def test_a_host_that_is_not_known_is_told(make_driver: MakeDriver) -> None:
    driver = make_driver(address="no-such-host.invalid")
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="not known"):
        driver.stat(driver.locate("image"))


def test_ipv6(make_driver: MakeDriver) -> None:
    sheep = Sheep(host="::1")
    driver = make_driver(address="::1", port=sheep.port)
    add(driver, "image", b"bytes")
    assert driver.locate("image").get_uri() == f"sheepdog://[::1]:{sheep.port}:image"
    assert read(driver, "image") == b"bytes"
    sheep.stop()


def test_a_location_at_another_cluster_leads_there(
    driver: Any, sheep: Sheep, client: SheepClient
) -> None:
    other = Sheep()
    with contextlib.closing(SheepClient(other.host, other.port)) as there:
        there.put(b"image", b"there")
    client.put(b"image", b"here, and longer")
    location = _parsed(f"sheepdog://127.0.0.1:{other.port}:image")
    assert driver.stat(location).size == 5
    driver.delete(location)
    assert other.cluster.names() == {}
    assert driver.stat(_parsed("sheepdog://image")).size == 16
    assert driver.stat(_parsed(f"sheepdog://127.0.0.1:{sheep.port}:image")).size == 16
    other.stop()


def test_the_room_is_that_of_all_gateways_without_the_copies(make_driver: MakeDriver) -> None:
    first = Sheep()
    first.cluster.copies = 2
    second = Sheep(first.cluster)
    driver = make_driver(address=f"127.0.0.1:{first.port},127.0.0.1:{second.port}")
    assert driver.capacity().total == 1 << 40
    first.stop()
    second.stop()


def test_a_clone_is_read_through_its_parents(driver: Any, client: SheepClient) -> None:
    """Copy-on-write by another program: some objects are the clone's, some the parent's."""
    data = bytearray(pattern(12 << 20))
    client.put(b"base", bytes(data))
    snapshot, _ = client.snapshot(b"base", b"tag")
    clone = client.create(b"clone", len(data), snapshot)
    fields = (clone << 32 | 1, snapshot << 32 | 1)
    head = (
        b"".join(oid.to_bytes(8, "little") for oid in fields) + bytes(8) + (5).to_bytes(4, "little")
    )
    client.connection.sendall(
        b"\x02\x01\x03\0" + bytes(8) + (6).to_bytes(4, "little") + head.ljust(32, b"\0") + b"cloned"
    )
    assert client._take(48)[16:20] == bytes(4)
    client.write(1 << 63 | clone << 32, clone.to_bytes(4, "little"), 4664 + 4)
    data[(4 << 20) + 5 : (4 << 20) + 11] = b"cloned"
    assert read(driver, "clone") == bytes(data)
    assert read(driver, "base") == pattern(12 << 20)
    driver.delete(driver.locate("clone"))
    assert read(driver, "base") == pattern(12 << 20)


@pytest.mark.parametrize("result", [0x11, 0x8D], ids=["shutdown", "killed"])
def test_another_gateway_is_asked_when_one_is_leaving(result: int, make_driver: MakeDriver) -> None:
    first = Sheep()
    second = Sheep(first.cluster)
    driver = make_driver(address=f"127.0.0.1:{first.port},127.0.0.1:{second.port}")
    add(driver, "image", b"bytes")
    first.leaving = result
    assert read(driver, "image") == b"bytes"
    second.leaving = result
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="the daemon is"):
        driver.stat(driver.locate("image"))
    first.leaving = 0
    add(driver, "other", b"bytes")
    first.stop()
    second.stop()
