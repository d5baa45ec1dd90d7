# SPDX-License-Identifier: Apache-2.0
"""Glance's functions, over real stores: files, memory, and packages of third parties."""

import hashlib
import io
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from oslo_config import cfg

import storefs
from storefs import driver_types, exceptions, location, multi_backend
from storefs.drivers.base import ImageInfo
from storefs.drivers.memory import MemoryDriver
from tests.unit.conftest import Install, Parse

Expect = Callable[..., None]

#: a store type whose name is not its scheme, as with vmware's vsphere
ACME = """
    from storefs.drivers.memory import MemoryDriver, MemoryLocation

    class AcmeLocation(MemoryLocation):
        def get_uri(self):
            return super().get_uri().replace("memory", "zzz", 1)

        def parse_uri(self, uri):
            super().parse_uri(uri.replace("zzz", "memory", 1))

    class Driver(MemoryDriver):
        SCHEMES = ("zzz", "zzz+tls")
        LOCATION = AcmeLocation

        def locate(self, image_id):
            return AcmeLocation({"image_id": image_id})
"""

FAULTY = """
    from storefs import exceptions
    from storefs.drivers.memory import MemoryDriver
    from storefs.driver import Store

    class Crashing(MemoryDriver):
        def __init__(self, options, store_id):
            raise ZeroDivisionError("oops")

    class Unconfigured(MemoryDriver):
        def __init__(self, options, store_id):
            raise exceptions.BadStoreConfiguration(store_name=store_id, reason="set acme_host")

    class Lazy(MemoryDriver):
        def __init__(self, options, store_id):
            import no_such_sdk

    class Old(Store):
        def configure(self, re_raise_bsc=False):
            raise NotImplementedError("not here")

    class Mute(MemoryDriver):
        SCHEMES = ()

    class Unreachable(MemoryDriver):
        def open(self, location):
            raise exceptions.RemoteServiceUnavailable

        stat = delete = open

    class Reading(MemoryDriver):
        writable = "nobody may write"

    thing = 5
"""

SOURCE = (b"never read" for _ in range(1))


def two(parse: Parse, more: str = "", **types: str) -> cfg.ConfigOpts:
    """Stores a and b, of memory unless *types* say otherwise; a is the default."""
    types = {"a": "memory", "b": "memory", **types}
    enabled = ", ".join(f"{name}:{kind}" for name, kind in types.items())
    return parse(
        f"[DEFAULT]\nenabled_backends = {enabled}\n[glance_store]\ndefault_backend = a\n{more}"
    )


def put(store_id: str, image_id: str = "x", data: bytes = b"abc") -> str:
    """An image in one store, by its driver; its URI."""
    store = multi_backend.get_store_from_store_identifier(store_id)
    return str(store.add(image_id, [data], 0, "sha512").url)


def content(uri: str, backend: str | None = None) -> bytes:
    return b"".join(storefs.get(uri, backend)[0])


# -- making stores -------------------------------------------------------------


def test_stores_are_counted_and_not_their_schemes(parse: Parse, tmp_path: pathlib.Path) -> None:
    conf = two(parse, f"[a]\nfilesystem_store_datadir = {tmp_path}/a", a="file")
    assert storefs.create_multi_stores(conf) == 2
    assert list(storefs.get_known_schemes_for_multi_store()) == ["file", "filesystem", "memory"]


def test_stores_come_in_configured_order(parse: Parse, tmp_path: pathlib.Path) -> None:
    more = "".join(f"[{n}]\nfilesystem_store_datadir = {tmp_path}/{n}\n" for n in "ad")
    conf = two(parse, more, a="file", c="memory", d="file", e="memory")
    storefs.create_multi_stores(conf)
    assert list(multi_backend.stores()) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("alias", ["glance.store.filesystem.Store", "file"])
def test_glances_names_for_the_types(parse: Parse, tmp_path: pathlib.Path, alias: str) -> None:
    conf = two(parse, "[a]\nfilesystem_store_chunk_size = 4096", a=alias)
    storefs.register_store_opts(conf)
    conf.set_override("filesystem_store_datadir", str(tmp_path / "a"), group="a")
    assert conf.a.filesystem_store_chunk_size == 4096
    assert storefs.create_multi_stores(conf) == 2
    url = storefs.add(conf, "x", [b"abc"], 3, None)[0]
    assert url == f"file://{tmp_path}/a/x"
    assert (tmp_path / "a" / "x").read_bytes() == b"abc"
    storefs.delete(url, "a")
    assert os.listdir(tmp_path / "a") == []


def test_every_alias_of_glance_is_known() -> None:
    names = {name.split(".")[2]: kind for name, kind in driver_types.ALIASES.items()}
    kinds = {"http", "swift", "rbd", "cinder", "s3", "sheepdog"}
    assert names == {
        "filesystem": "file",
        "vmware_datastore": "vmware",
        **{kind: kind for kind in kinds},
    }


def test_a_third_party_needs_an_entry_point_alone(parse: Parse, install: Install) -> None:
    install("acme_images", ACME, acme="Driver")
    conf = two(parse, "[b]\nweight = 4", b="acme")
    assert storefs.create_multi_stores(conf) == 2
    url, size, checksum, multihash, metadata = storefs.add_with_multihash(
        conf, "x", io.BytesIO(b"abc"), 3, "b", "sha256"
    )
    assert (url, size, metadata) == ("zzz://x", 3, {"store": "b"})
    assert checksum == hashlib.md5(b"abc").hexdigest()
    assert multihash == hashlib.sha256(b"abc").hexdigest()
    assert storefs.get_size_from_uri_and_backend(url, "b") == 3
    assert content(url, "b") == content(url) == b"abc"
    assert storefs.get_store_weight("b") == 4
    conf.set_override("default_backend", "b", group="glance_store")
    storefs.verify_store()
    storefs.delete(url, "b")
    with pytest.raises(exceptions.NotFound):
        storefs.get(url, "b")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("crashing", "ZeroDivisionError: oops"),
        ("unconfigured", "set acme_host"),
        ("lazy", "No module named 'no_such_sdk': install faulty"),
        ("old", "NotImplementedError: not here"),
        ("mute", "its driver names no URI scheme"),
        ("thing", "5 is neither a Driver nor a Store"),
        ("gone", "module 'faulty' has no attribute 'Gone'"),
        ("meory", "unknown store type meory (did you mean memory?); installed types: "),
    ],
)
def test_a_bad_store_stops_no_other(
    parse: Parse, install: Install, expect_log: Expect, kind: str, reason: str
) -> None:
    names = ("crashing", "unconfigured", "lazy", "old", "mute", "gone")
    install("faulty", FAULTY, thing="thing", **{name: name.title() for name in names})
    conf = two(parse, b=kind, c="memory")
    assert storefs.create_multi_stores(conf) == 2
    broken = storefs.get_store_from_store_identifier("b")
    assert broken.state.name == "broken"
    assert reason in broken.state.reason
    assert list(multi_backend.stores()) == ["a", "b", "c"]
    assert broken.store_type == kind
    for operation in (
        lambda: storefs.add(conf, "x", SOURCE, 0, "b"),
        lambda: storefs.get("any://x", "b"),
        lambda: storefs.delete("memory://x", "b"),
        lambda: storefs.get_size_from_uri_and_backend("memory://x", "b"),
        lambda: storefs.set_acls_for_multi_store("memory://x", "b"),
    ):
        with pytest.raises(exceptions.BadStoreConfiguration, match=r"^Store b could not be conf"):
            operation()
    assert storefs.add(conf, "x", [b"abc"], 0, "c")[0] == "memory://x"
    expect_log("^Store b is broken: ")


def test_a_package_that_cannot_be_imported(
    parse: Parse, install: Install, expect_log: Expect
) -> None:
    install("needy", "import no_such_sdk\nDriver = 1", needy="Driver")
    assert storefs.create_multi_stores(two(parse, b="needy")) == 1
    reason = storefs.get_store_from_store_identifier("b").state.reason
    assert reason == "No module named 'no_such_sdk': install needy"
    expect_log("Store b is broken")


def test_what_to_install_for_a_type_of_ours() -> None:
    assert driver_types.requirement("glance.store.s3.Store") == "storefs[s3]"
    assert driver_types.requirement("memory") == "storefs[memory]"


def test_two_packages_with_one_type(parse: Parse, install: Install, expect_log: Expect) -> None:
    install("one_acme", ACME, acme="Driver")
    install("two_acme", ACME, acme="Driver")
    storefs.create_multi_stores(two(parse, b="acme"))
    reason = storefs.get_store_from_store_identifier("b").state.reason
    assert reason == "several packages offer type acme: one_acme:Driver, two_acme:Driver"
    expect_log("Store b is broken")


def test_a_group_that_cannot_be_is_told(parse: Parse, expect_log: Expect) -> None:
    conf = two(parse, "[b]\nread_only = perhaps")
    assert storefs.create_multi_stores(conf) == 1
    reason = storefs.get_store_from_store_identifier("b").state.reason
    assert "storefs.conf:6: option read_only in [b]: " in reason
    expect_log("Store b is broken")


def test_without_stores_the_error_says_what_to_set(parse: Parse) -> None:
    for conf in (parse(""), cfg.ConfigOpts()):
        storefs.register_store_opts(conf)
        with pytest.raises(exceptions.BadStoreConfiguration, match="set enabled_backends = "):
            storefs.create_multi_stores(conf)
        assert conf.glance_store.default_backend is None


def test_registering_twice_is_harmless(parse: Parse) -> None:
    conf = two(parse)
    conf.register_opt(cfg.StrOpt("default_backend", help="Glance's"), group="glance_store")
    conf.register_opt(cfg.IntOpt("weight", default=0, help="Glance's"), group="a")
    storefs.register_store_opts(conf)
    storefs.register_store_opts(conf)
    assert storefs.create_multi_stores(conf) == 2
    assert storefs.create_multi_stores(conf) == 2


def test_creating_again_replaces_what_that_configuration_made(parse: Parse) -> None:
    first, other = two(parse), parse("[DEFAULT]\nenabled_backends = z:memory")
    storefs.create_multi_stores(first)
    storefs.create_multi_stores(other)
    old = storefs.get_store_from_store_identifier("a")
    first.set_override("enabled_backends", {"b": "memory", "n": "memory"})
    assert storefs.create_multi_stores(first) == 2
    assert set(multi_backend.stores()) == {"z", "b", "n"}
    assert old.state.reason == "it was closed"
    with pytest.raises(exceptions.UnknownScheme, match="'a'"):
        storefs.get_store_from_store_identifier("a")


def test_a_store_that_changes_its_type_leaves_no_old_scheme(parse: Parse, install: Install) -> None:
    install("acme_images", ACME, acme="Driver")
    storefs.create_multi_stores(two(parse, a="acme", b="acme"))
    storefs.create_multi_stores(two(parse))
    assert list(location.SCHEME_TO_CLS_BACKEND_MAP) == ["memory"]


def test_the_map_callers_assign_is_the_one_read(parse: Parse) -> None:
    storefs.create_multi_stores(two(parse))
    stores = location.SCHEME_TO_CLS_BACKEND_MAP
    location.SCHEME_TO_CLS_BACKEND_MAP = {}
    with pytest.raises(exceptions.UnknownScheme):
        storefs.get_store_from_store_identifier("a")
    location.SCHEME_TO_CLS_BACKEND_MAP = {"memory": {"c": stores["memory"]["a"]}}
    assert storefs.get_store_from_store_identifier("c").store_id == "a"


def test_close_stores(parse: Parse) -> None:
    one, other = two(parse), parse("[DEFAULT]\nenabled_backends = z:memory")
    storefs.create_multi_stores(one)
    storefs.create_multi_stores(other)
    multi_backend.close_stores(other)
    assert list(multi_backend.stores()) == ["a", "b"]
    multi_backend.close_stores()
    assert location.SCHEME_TO_CLS_BACKEND_MAP == {}


def test_reserved_stores(parse: Parse, tmp_path: pathlib.Path) -> None:
    text = f"[os_glance_staging_store]\nfilesystem_store_datadir = {tmp_path}/staging"
    conf = two(parse, text)
    reserved = {"os_glance_staging_store": "file", "os_glance_tasks_store": "file"}
    storefs.register_store_opts(conf, reserved)
    assert conf.os_glance_staging_store.filesystem_store_datadir == f"{tmp_path}/staging"
    tasks = "/var/lib/glance/os_glance_tasks_store"
    assert conf.os_glance_tasks_store.filesystem_store_datadir == tasks
    del reserved["os_glance_tasks_store"]
    assert storefs.create_multi_stores(conf, reserved) == 3
    shown = {name: store.reserved for name, store in multi_backend.stores().items()}
    assert shown == {"a": False, "b": False, "os_glance_staging_store": True}
    assert set(conf.enabled_backends) == {"a", "b"}
    url = storefs.add(conf, "x", [b"abc"], 0, "os_glance_staging_store")[0]
    assert url == f"file://{tmp_path}/staging/x"


def test_reserved_directories_stand_back_for_directories_of_ones_own(
    parse: Parse, tmp_path: pathlib.Path
) -> None:
    conf = two(parse, f"[r]\nfilesystem_store_datadirs = {tmp_path}/one:5")
    assert storefs.create_multi_stores(conf, {"r": "file"}) == 3
    assert storefs.add(conf, "x", [b""], 0, "r")[0] == f"file://{tmp_path}/one/x"


def test_shared_defaults_do_not_move_a_reserved_store(
    parse: Parse, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storefs.registry.RESERVED_DIRECTORY", str(tmp_path / "var"))
    conf = two(parse, f"[backend_defaults]\nfilesystem_store_datadir = {tmp_path}/shared")
    storefs.create_multi_stores(conf, {"r": "file"})
    assert storefs.add(conf, "x", [b""], 0, "r")[0] == f"file://{tmp_path}/var/r/x"


def test_misspelt_options_of_the_stores(parse: Parse, expect_log: Expect) -> None:
    conf = two(parse, "[a]\nwieght = 5\n[b]\ns3_store_host = h\n[other]\nwieght = 1", b="s33")
    storefs.create_multi_stores(conf)
    assert [found[2:] for found in multi_backend.unknown_options(conf)] == [
        ("a", "wieght", "weight")
    ]
    expect_log("Store b is broken: unknown store type s33")


# -- which configuration counts ------------------------------------------------


def test_the_configuration_given_is_the_one_used(parse: Parse) -> None:
    one = two(parse)
    storefs.create_multi_stores(one)
    other = parse("[DEFAULT]\nenabled_backends = z:memory\n[glance_store]\ndefault_backend = z")
    storefs.create_multi_stores(other)
    assert storefs.add(one, "x", [b"one"], 0, None)[3] == {"store": "a"}
    assert storefs.add(other, "x", [b"other"], 0, None)[3] == {"store": "z"}
    assert content("memory://x", "a") == b"one"
    assert content("memory://x", "z") == b"other"
    storefs.verify_store()
    storefs.verify_store(one)


@pytest.mark.parametrize("default", [None, "nope"])
def test_verify_wants_a_default_that_exists(parse: Parse, default: str | None) -> None:
    conf = two(parse)
    storefs.create_multi_stores(conf)
    storefs.verify_store()
    conf.set_override("default_backend", default, group="glance_store")
    with pytest.raises(RuntimeError, match=r"default_backend (is not set|nope is none of .*a, b)"):
        storefs.verify_store()


def test_verify_before_there_is_any_store() -> None:
    with pytest.raises(RuntimeError, match="default_backend is not set"):
        storefs.verify_store()


def test_verify_tells_why_the_default_is_broken(
    parse: Parse, install: Install, expect_log: Expect
) -> None:
    install("faulty", FAULTY, faulty="Unconfigured")
    storefs.create_multi_stores(two(parse, a="faulty"))
    with pytest.raises(RuntimeError, match=r"default_backend a cannot be used: .*set acme_host"):
        storefs.verify_store()
    expect_log("Store a is broken")


def test_a_read_only_default_passes(parse: Parse) -> None:
    storefs.create_multi_stores(two(parse, "[a]\nread_only = true"))
    storefs.verify_store()


@pytest.mark.parametrize(
    "lookup", [storefs.get_store_from_store_identifier, storefs.get_store_weight]
)
def test_an_unknown_store_is_named(parse: Parse, lookup: Callable[[str], Any]) -> None:
    storefs.create_multi_stores(two(parse))
    with pytest.raises(exceptions.UnknownScheme, match="'nope'"):
        lookup("nope")


def test_a_type_is_no_identifier(parse: Parse) -> None:
    storefs.create_multi_stores(two(parse))
    with pytest.raises(exceptions.UnknownScheme):
        storefs.get_store_from_store_identifier("memory")


# -- adding --------------------------------------------------------------------


def test_add_gives_four_values_and_with_multihash_five(parse: Parse) -> None:
    conf = two(parse)
    storefs.create_multi_stores(conf)
    md5, sha = hashlib.md5(b"abc").hexdigest(), hashlib.sha512(b"abc").hexdigest()
    four = storefs.add(conf, "x", io.BytesIO(b"abc"), 3, "b", context=None, verifier=None)
    assert four == ("memory://x", 3, md5, {"store": "b"})
    five = storefs.add_with_multihash(
        conf, "y", io.BytesIO(b"abc"), 0, None, "sha512", scheme="ignored", verifier=None
    )
    assert five == ("memory://y", 3, md5, sha, {"store": "a"})


def test_add_without_any_default(parse: Parse) -> None:
    conf = parse("[DEFAULT]\nenabled_backends = a:memory")
    storefs.create_multi_stores(conf)
    with pytest.raises(exceptions.UnknownScheme, match="default_backend is not set"):
        storefs.add(conf, "x", [b""], 0, None)


def test_checks_come_in_glances_order(parse: Parse) -> None:
    conf = two(parse, "[b]\nread_only = true")
    storefs.create_multi_stores(conf)
    put("a")

    def unread() -> Iterator[bytes]:
        raise AssertionError("data was read")
        yield

    def add(backend: str, algorithm: str) -> None:
        storefs.add_with_multihash(conf, "x", unread(), 0, backend, algorithm)

    for name in ("nonsense", "shake_128"):
        with pytest.raises(exceptions.UnknownHashingAlgo):
            add("b", name)
    with pytest.raises(
        exceptions.StoreAddDisabled, match="Store b is not writable: read_only is set"
    ):
        add("b", "sha512")
    with pytest.raises(exceptions.Duplicate):
        add("a", "sha512")


class Reports:
    """A store that says *metadata* of the location."""

    def __init__(self, metadata: Any) -> None:
        self.metadata = metadata

    def add(self, image_id: str, data: Any, size: int, *args: Any, **kwargs: Any) -> Any:
        return ("u://x", 0, "c", *(["m"] if args else []), self.metadata)


@pytest.mark.parametrize("metadata", ["text", {"k": 5}, {"k": ["a", None]}, []])
def test_metadata_glance_cannot_keep(metadata: Any) -> None:
    with pytest.raises(exceptions.BackendException):
        storefs.store_add_to_backend("x", b"", 0, Reports(metadata))
    with pytest.raises(exceptions.BackendException):
        storefs.store_add_to_backend_with_multihash("x", b"", 0, "md5", Reports(metadata))


@pytest.mark.parametrize("metadata", [None, {}, {"k": {"l": ["m"]}}])
def test_metadata_glance_can_keep(metadata: Any) -> None:
    store = Reports(metadata)
    assert storefs.store_add_to_backend("x", b"", 0, store) == ("u://x", 0, "c", metadata)
    with_hash = storefs.store_add_to_backend_with_multihash("x", b"", 0, "md5", store)
    assert with_hash == ("u://x", 0, "c", "m", metadata)


# -- reading and deleting ------------------------------------------------------


@pytest.mark.parametrize("backend", ["a", None])
def test_partial_get(parse: Parse, backend: str | None) -> None:
    storefs.create_multi_stores(two(parse))
    uri = put("a", data=b"0123456789")
    pieces, size = storefs.get(uri, backend, offset=3, chunk_size=4)
    assert (b"".join(pieces), size) == (b"3456", 4)
    pieces, size = storefs.get(uri, backend, 8)
    assert (b"".join(pieces), size) == (b"89", 10)
    assert storefs.get_size_from_uri_and_backend(uri, backend) == 10


def test_the_heaviest_store_is_asked_first(parse: Parse) -> None:
    storefs.create_multi_stores(two(parse, "[a]\nweight = -1\n[c]\nweight = 1", c="memory"))
    for store_id in "abc":
        put(store_id, data=store_id.encode())
    found = []
    for _ in range(3):
        found.append(content("memory://x"))
        storefs.delete("memory://x", None)
    assert found == [b"c", b"b", b"a"]
    for search in (storefs.get, storefs.delete, storefs.get_size_from_uri_and_backend):
        with pytest.raises(exceptions.NotFound, match=r"^Image not found in any configured back"):
            search("memory://x", None)


def test_a_size_nobody_knows_is_a_number_to_glance(
    parse: Parse, monkeypatch: pytest.MonkeyPatch
) -> None:
    storefs.create_multi_stores(two(parse))
    uri = put("a")
    monkeypatch.setattr(MemoryDriver, "stat", lambda *_: ImageInfo("x", None))
    assert storefs.get_size_from_uri_and_backend(uri, "a") == 0


def test_a_web_server_that_is_not_there_is_the_uri_s_fault(parse: Parse) -> None:
    storefs.create_multi_stores(two(parse, b="http"))
    uri = "http://127.0.0.1:1/image"
    with pytest.raises(exceptions.BadStoreUri, match="refused"):
        storefs.get_size_from_uri_and_backend(uri, "b")
    with pytest.raises(exceptions.RemoteServiceUnavailable):
        storefs.get(uri, "b")


def test_an_empty_image_is_found(parse: Parse) -> None:
    storefs.create_multi_stores(two(parse))
    uri = put("b", data=b"")
    pieces, size = storefs.get(uri, None)
    assert (list(pieces), size) == ([], 0)


def test_a_search_passes_over_whoever_fails(
    parse: Parse, install: Install, expect_log: Expect
) -> None:
    install("faulty", FAULTY, dead="Unreachable", bad="Unconfigured", ro="Reading")
    more = "[a]\nweight=9\n[c]\nweight=8\n[d]\nweight=7"
    storefs.create_multi_stores(two(parse, more, a="dead", c="bad", d="ro"))
    expect_log("Store c is broken")
    # A broken store is in the map under the scheme its driver has.
    assert set(location.SCHEME_TO_CLS_BACKEND_MAP["memory"]) == {"a", "b", "c", "d"}
    uri = put("b")
    assert content(uri) == b"abc"
    storefs.delete(uri, None)
    expect_log("Store a was passed over in a search: Remote server")


@pytest.mark.parametrize(
    ("kind", "search", "caught"),
    [
        ("dead", storefs.get, exceptions.RemoteServiceUnavailable),
        ("dead", storefs.delete, exceptions.RemoteServiceUnavailable),
        ("bad", storefs.get, exceptions.BadStoreConfiguration),
        ("ro", storefs.delete, exceptions.StoreDeleteNotSupported),
        ("ro", storefs.get, exceptions.NotFound),
    ],
)
def test_a_failure_is_never_told_as_a_missing_image(
    parse: Parse,
    install: Install,
    watched_log: Any,
    kind: str,
    search: Callable[..., Any],
    caught: type[Exception],
) -> None:
    install("faulty", FAULTY, dead="Unreachable", bad="Unconfigured", ro="Reading")
    storefs.create_multi_stores(two(parse, b=kind))
    with pytest.raises(caught):
        search("memory://x", None)
    watched_log.records.clear()


def test_a_uri_of_no_store() -> None:
    with pytest.raises(exceptions.NotFound):
        storefs.get("nope://x", None)
    with pytest.raises(exceptions.UnknownScheme, match="'a'"):
        storefs.get("nope://x", "a")


def test_a_uri_of_another_store(parse: Parse, tmp_path: pathlib.Path) -> None:
    more = "".join(f"[{n}]\nfilesystem_store_datadir = {tmp_path}/{n}\n" for n in "ab")
    storefs.create_multi_stores(two(parse, more, a="file", b="file", c="memory"))
    uri = put("b")
    assert content(uri) == b"abc"
    with pytest.raises(exceptions.UnknownScheme):
        storefs.get("memory://x", "a")
    (tmp_path / "secret").write_text("not an image")
    for backend in ("a", None):
        with pytest.raises((exceptions.BadStoreUri, exceptions.NotFound, exceptions.Forbidden)):
            storefs.get(f"file://{tmp_path}/secret", backend)


def test_no_identifier_leads_out_of_a_store(parse: Parse, tmp_path: pathlib.Path) -> None:
    conf = two(parse, f"[a]\nfilesystem_store_datadir = {tmp_path}/a", a="file")
    storefs.create_multi_stores(conf)
    with pytest.raises(exceptions.Invalid):
        storefs.add(conf, "../x", [b"abc"], 0, "a")
    assert not (tmp_path / "x").exists()


def test_access(parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    storefs.create_multi_stores(two(parse))
    uri = put("a")
    storefs.set_acls_for_multi_store(uri, "a", public=True)
    told: list[Any] = []

    def set_acls(driver: MemoryDriver, where: Any, **who: Any) -> None:
        told.append((where.image_id, who))

    monkeypatch.setattr(MemoryDriver, "set_acls", set_acls, raising=False)
    storefs.set_acls_for_multi_store(uri, "a", read_tenants=["t"], write_tenants=["w"])
    who = {"public": False, "read_tenants": ("t",), "write_tenants": ("w",)}
    assert told == [("x", who)]
