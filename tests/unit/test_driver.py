# SPDX-License-Identifier: Apache-2.0

import copy
import gc
import hashlib
import io
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oslo_config import cfg

from storefs import capabilities, exceptions, image_iterator, location
from storefs.capabilities import BitMasks
from storefs.driver import Store, back_compat_add, check_location_metadata
from storefs.drivers import base
from storefs.drivers.base import ImageInfo, Reader, Writer
from storefs.drivers.file import FileDriver
from storefs.drivers.memory import MemoryDriver, MemoryLocation
from storefs.image_iterator import ImageIterator
from tests.unit.conftest import Parse

Expect = Callable[..., None]

DATA = bytes(range(256)) * 40


class PlainDriver(base.Driver[MemoryLocation]):
    """Reads, and nothing else; one image, in *data*."""

    SCHEMES = ("plain", "plain+tls")
    LOCATION = MemoryLocation
    data = DATA
    size: int | None = len(DATA)
    short = 0

    def locate(self, image_id: str) -> MemoryLocation:
        return MemoryLocation({"image_id": image_id})

    def stat(self, location: MemoryLocation) -> ImageInfo:
        if location.image_id != "x":
            raise exceptions.NotFound(image=location.image_id)
        return ImageInfo("x", self.size)

    def open(self, location: MemoryLocation) -> "PlainReader":
        return PlainReader(self.stat(location), self.data, self.short)


class PlainReader(Reader):
    def __init__(self, info: ImageInfo, data: bytes, short: int) -> None:
        self.info = info
        self.closed = 0
        self._data = data[: len(data) - short]

    def pread(self, length: int, offset: int) -> memoryview:
        return memoryview(self._data)[offset : offset + length]

    def close(self) -> None:
        self.closed += 1


def make(driver_class: Any = MemoryDriver, backend: str | None = "s", **values: Any) -> Store:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    store = Store(conf, backend, driver_class)
    for name, value in values.items():
        conf.set_override(name, value, group=backend or "glance_store")
    store.configure()
    return store


def at(store: Store, image_id: str = "x") -> location.Location:
    cls = store.get_store_location_class()
    return location.Location("memory", cls, store.conf, store_specs={"image_id": image_id})


def read(store: Store, image_id: str = "x") -> bytes:
    return b"".join(store.get(at(store, image_id))[0])


# -- options -------------------------------------------------------------------


def test_an_option_is_the_stores_own_or_the_shared_default_or_the_documented_one(
    parse: Parse,
) -> None:
    conf = parse("""
        [backend_defaults]
        memory_store_capacity = 100
        memory_store_part_size = 10
        weight = 7
        [s]
        memory_store_capacity = 200
        """)
    options = Store(conf, "s", MemoryDriver)
    options.configure()
    assert options.options.memory_store_capacity == 200
    assert options.options.memory_store_part_size == 10
    assert (options.weight, options.description) == (7, None)
    assert options.store_conf.read_only is False


def test_a_value_set_by_a_program_counts_like_one_in_the_group(parse: Parse) -> None:
    conf = parse("[backend_defaults]\nweight = 7")
    Store(conf, "s", MemoryDriver)
    conf.set_default("weight", 3, group="s")
    store = Store(conf, "s", MemoryDriver)
    store.configure()
    assert store.weight == 3
    conf.set_override("weight", 4, group="s")
    store.configure()
    assert store.weight == 4


def test_what_others_see_in_the_group_is_left_alone(parse: Parse) -> None:
    conf = parse("[backend_defaults]\nmemory_store_part_size = 10")
    Store(conf, "s", MemoryDriver).configure()
    assert conf.s.memory_store_part_size == 1024**2
    assert conf.s.weight == 0


def test_the_single_store_has_glances_group(parse: Parse) -> None:
    conf = parse("""
        [glance_store]
        memory_store_capacity = 5
        [backend_defaults]
        memory_store_part_size = 1
        """)
    store = Store(conf, None, MemoryDriver)
    store.configure()
    assert store.options.memory_store_capacity == 5
    assert store.options.memory_store_part_size == 1024**2
    assert store.store_id == "glance_store"


def test_options_others_registered_first_are_no_conflict(parse: Parse) -> None:
    conf = parse("[s]\nweight = 3\nmemory_store_capacity = 9")
    conf.register_opt(cfg.IntOpt("weight", default=50, help="another"), group="s")
    for group in ("s", "backend_defaults"):
        conf.register_opt(cfg.IntOpt("memory_store_part_size", default=None), group=group)
    conf.register_opt(cfg.StrOpt("store_description", help="another"), group="backend_defaults")
    store = Store(conf, "s", MemoryDriver)
    store.configure()
    assert (store.weight, store.options.memory_store_part_size) == (3, 1024**2)


def test_every_bad_value_is_told_with_file_and_line(parse: Parse, expect_log: Expect) -> None:
    conf = parse("""
        [backend_defaults]
        memory_store_part_size: many
        [s]
        weight = 1
        memory_store_capacity = 12
        # the last one counts
        memory_store_capacity = -1
        """)
    store = Store(conf, "s", MemoryDriver)
    store.configure()
    assert store.state.name == "broken"
    assert "storefs.conf:8: option memory_store_capacity in [s]: " in store.state.reason
    assert "storefs.conf:3: option memory_store_part_size in [backend_def" in store.state.reason
    assert store.weight == 1
    expect_log("Store s is broken: .*memory_store_capacity")


class SecretDriver(PlainDriver):
    OPTIONS = (
        cfg.StrOpt("acme_key", secret=True),
        cfg.IntOpt("acme_pin", secret=True),
        cfg.MultiStrOpt("acme_hosts", default=["one", "two"]),
    )

    def __init__(self, options: base.Options, store_id: str) -> None:
        raise ValueError(f"{options.acme_hosts} refused {options.acme_key}")


def test_no_reason_shows_a_secret(parse: Parse, expect_log: Expect) -> None:
    store = Store(parse("[s]\nacme_key = hunter2"), "s", SecretDriver)
    store.configure()
    assert store.state.reason == "ValueError: ['one', 'two'] refused ***"
    assert "hunter2" not in repr(store.options)
    store = Store(parse("[s]\nacme_pin = x-x"), "s", SecretDriver)
    store.configure()
    assert store.state.reason.endswith("option acme_pin in [s]: its value is not valid")
    expect_log("Store s is broken")


def test_an_option_nobody_has_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no option nonsense"):
        _ = make().options.nonsense


# -- state and capabilities ----------------------------------------------------

WRITES = (base.SupportsAdd, base.SupportsDelete, base.SupportsRename, base.SupportsCopy)


def test_a_ready_store_supports_what_its_driver_is() -> None:
    store = make()
    assert (store.state.name, store.state.reason) == ("ready", "")
    assert all(store.supports(protocol) for protocol in (*WRITES, base.SupportsList))
    assert not store.supports(base.SupportsAcls)
    assert store.url_prefix == "memory://"
    assert store.get_schemes() == ("memory",)


def test_read_only_takes_the_writes_away() -> None:
    store = make(read_only=True)
    assert (store.state.name, store.state.reason) == ("read-only", "read_only is set")
    assert not any(store.supports(protocol) for protocol in WRITES)
    assert store.supports(base.SupportsList)
    with pytest.raises(
        exceptions.StoreAddDisabled, match="Store s is not writable: read_only is set"
    ):
        store.add("x", [b""], 0, "sha512")
    with pytest.raises(exceptions.StoreAddDisabled, match="read_only is set"):
        store.begin(store.locate("x"))
    with pytest.raises(exceptions.StoreDeleteNotSupported, match="read_only is set"):
        store.delete(at(store))


class Links(PlainDriver):
    """Names for what lives elsewhere."""

    def register(self, image_id: str, uri: str) -> None: ...

    def unregister(self, image_id: str) -> None: ...


def test_links_can_be_made_where_images_cannot() -> None:
    assert make(Links).state.name == "read-only"
    assert make(Links).supports(base.SupportsRegister)
    assert not make(Links, read_only=True).supports(base.SupportsRegister)


class Full(MemoryDriver):
    writable = "the licence has expired"


@pytest.mark.parametrize(
    ("driver_class", "values", "mask"),
    [
        (MemoryDriver, {}, "READ_RANDOM|WRITE_ACCESS|DRIVER_REUSABLE"),
        (MemoryDriver, {"read_only": True}, "READ_RANDOM|DRIVER_REUSABLE"),
        (PlainDriver, {}, "READ_RANDOM|DRIVER_REUSABLE"),
        (Links, {}, "READ_RANDOM|DRIVER_REUSABLE"),
        (Full, {}, "READ_RANDOM|DRIVER_REUSABLE"),
    ],
)
def test_masks_promise_no_more_than_the_types(
    driver_class: Any, values: dict[str, Any], mask: str
) -> None:
    store = make(driver_class, **values)
    assert capabilities.describe(store.capabilities) == mask
    if store.is_capable(BitMasks.WRITE_ACCESS):
        assert isinstance(store.driver, base.SupportsAdd | base.SupportsDelete)
        assert store.state.name == "ready"


def test_why_a_driver_takes_no_images_is_told() -> None:
    assert make(Full).state.reason == "the licence has expired"
    with pytest.raises(exceptions.StoreAddDisabled, match="licence"):
        make(Full).add("x", [b""], 0)


class BadDriver(MemoryDriver):
    def __init__(self, options: base.Options, store_id: str) -> None:
        raise exceptions.BadStoreConfiguration(store_name=store_id, reason="set acme_host")


def test_a_broken_store_says_why_in_every_operation(expect_log: Expect) -> None:
    store = make(BadDriver)
    assert (store.state.name, store.state.reason) == ("broken", "set acme_host")
    operations: list[Callable[[], Any]] = [
        lambda: store.get(at(store)),
        lambda: store.get_size(at(store)),
        lambda: store.add("x", [b""], 0),
        lambda: store.delete(at(store)),
        lambda: store.set_acls(at(store)),
        lambda: store.locate("x"),
        lambda: store.begin(at(store).store_location),
        lambda: store.driver,
    ]
    for operation in operations:
        with pytest.raises(exceptions.BadStoreConfiguration, match=r"Store s .*: set acme_host$"):
            operation()
    assert store.url_prefix is None
    assert store.capabilities == 0
    assert not store.supports(base.SupportsList)
    expect_log("^Store s is broken: set acme_host$")


def test_configuring_raises_only_on_request(expect_log: Expect) -> None:
    store = make(BadDriver)
    with pytest.raises(exceptions.BadStoreConfiguration, match="set acme_host"):
        store.configure(re_raise_bsc=True)
    expect_log("Store s is broken")
    make(PlainDriver).configure(re_raise_bsc=True)


def test_a_store_can_be_configured_again(parse: Parse) -> None:
    store = make()
    store.conf.set_override("read_only", True, group="s")
    store.configure()
    assert not store.supports(base.SupportsAdd)
    store.conf.clear_override("read_only", group="s")
    store.configure()
    assert store.supports(base.SupportsAdd)
    assert store.is_capable(BitMasks.WRITE_ACCESS)


def test_configuring_again_closes_the_former_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[MemoryDriver] = []

    def close(driver: MemoryDriver) -> None:
        closed.append(driver)

    monkeypatch.setattr(MemoryDriver, "close", close)
    store = make()
    former = store.driver
    store.configure()
    assert closed == [former]
    assert store.driver is not former


class Closing(PlainDriver):
    closed = 0

    def close(self) -> None:
        type(self).closed += 1
        raise RuntimeError("already gone")


def test_closing_is_final_and_never_fails(expect_log: Expect) -> None:
    store = make(Closing)
    store.close()
    store.close()
    assert Closing.closed == 1
    with pytest.raises(exceptions.BadStoreConfiguration, match="it was closed"):
        store.get_size(at(store))
    expect_log("Store s could not be closed: RuntimeError: already gone")


class NeedsPool(Store):
    driver_class = MemoryDriver

    def configure_add(self) -> None:
        raise exceptions.BadStoreConfiguration(store_name="s", reason="no pool")

    def update_capabilities(self) -> None:
        raise RuntimeError("must not matter")


def test_a_subclass_may_refuse_adding_alone(parse: Parse, expect_log: Expect) -> None:
    store = NeedsPool(parse(""), "s")
    with pytest.raises(exceptions.BadStoreConfiguration, match="no pool"):
        store.configure(re_raise_bsc=True)
    assert (store.state.name, store.state.reason) == ("read-only", "no pool")
    assert not store.is_capable(BitMasks.WRITE_ACCESS)
    expect_log("Store s is read-only: no pool")


class Glances(Store):
    """A store of the old kind: no driver, its own methods."""

    OPTIONS = (cfg.StrOpt("acme_host", default="h"),)
    _CAPABILITIES = BitMasks.RW_ACCESS

    def get_schemes(self) -> tuple[str, ...]:
        return ("acme",)

    @capabilities.check
    def add(self, image_id: str, image_file: Any, image_size: int, hashing_algo: str) -> Any:
        return ("acme://x", 0, "c", "m", {})


class GlancesOwn(Glances):
    """Wrapped by its author as well, as Glance's drivers are."""

    add = back_compat_add(Glances.add)


@pytest.mark.parametrize("kind", [Glances, GlancesOwn])
def test_a_store_without_a_driver_serves_glances_functions(parse: Parse, kind: type[Store]) -> None:
    store = kind(parse("[s]\nacme_host = g"), "s")
    assert store.state.name == "ready"
    assert store.options.acme_host == "g"
    assert store.add("x", [], 0) == ("acme://x", 0, "c", {})
    assert store.add("x", [], 0, hashing_algo="md5") == ("acme://x", 0, "c", "m", {})
    assert store.add.__name__ == "op_checker"
    assert not store.supports(base.SupportsAdd)
    with pytest.raises(exceptions.BadStoreConfiguration, match="no driver"):
        _ = store.driver


# -- adding --------------------------------------------------------------------


def test_add_gives_what_glance_keeps() -> None:
    store = make()
    result = store.add("x", io.BytesIO(DATA), len(DATA), "sha256")
    assert result == (
        "memory://x",
        len(DATA),
        hashlib.md5(DATA).hexdigest(),
        hashlib.sha256(DATA).hexdigest(),
        {"store": "s"},
    )
    assert result.multihash == result[3]
    assert read(store) == DATA


@pytest.mark.parametrize("size", [0, None, 3])
def test_sizes_that_are_unknown_or_right(size: int | None) -> None:
    assert make().add("x", [b"abc"], size, "md5").size == 3


def test_the_single_store_names_no_store() -> None:
    assert make(backend=None).add("x", [b""], 0, "md5").metadata == {}


NAMES = ("image_id", "image_file", "image_size", "hashing_algo", "context", "verifier")


def _calls() -> Iterator[tuple[int, bool, tuple[str, ...]]]:
    for positional, algorithm in itertools.product(range(7), (True, False)):
        for extra in ((), ("context",), ("context", "verifier")):
            yield positional, algorithm, extra


@pytest.mark.parametrize(("positional", "algorithm", "extra"), list(_calls()))
def test_every_form_of_calling_add(
    positional: int, algorithm: bool, extra: tuple[str, ...]
) -> None:
    """With the algorithm there are five values, without it four; for any split of arguments."""
    values = dict(zip(NAMES, ("x", [b"abc"], 3, "sha256", None, None)))
    names = [
        n for n in NAMES if n in NAMES[:3] or (n == "hashing_algo" and algorithm) or n in extra
    ]
    args = [values[name] for name in names[:positional]]
    kwargs = {name: values[name] for name in names[positional:]}
    result = make().add(*args, **kwargs)
    assert len(result) == (5 if algorithm else 4)
    assert result[:3] == ("memory://x", 3, hashlib.md5(b"abc").hexdigest())
    assert result[-1] == {"store": "s"}
    if algorithm:
        assert result[3] == hashlib.sha256(b"abc").hexdigest()


def broken_source(error: BaseException) -> Iterator[bytes]:
    yield b"abc"
    raise error


@pytest.mark.parametrize(
    ("source", "size", "caught"),
    [
        (broken_source(KeyError("k")), 0, KeyError),
        (broken_source(KeyboardInterrupt()), 0, KeyboardInterrupt),
        ([b"abc"], 4, exceptions.Invalid),
        ([b"abc"], 2, exceptions.Invalid),
        ([b"x" * 101], 0, exceptions.StorageFull),
    ],
)
def test_whatever_fails_leaves_nothing(source: Any, size: int, caught: type[BaseException]) -> None:
    store = make(memory_store_capacity=100, memory_store_part_size=2)
    with pytest.raises(caught):
        store.add("x", source, size, "sha512")
    assert list(store.driver.list()) == []
    assert store.driver.capacity().free == 100
    assert store.add("x", [b"y" * 100], 100, "sha512").size == 100


def test_checks_come_in_glances_order() -> None:
    store = make()
    store.add("x", [b"first"], 0, "sha512")
    with pytest.raises(exceptions.UnknownHashingAlgo):
        store.add("x", broken_source(AssertionError()), 0, "nonsense")
    with pytest.raises(exceptions.Duplicate):
        store.add("x", broken_source(AssertionError()), 0, "sha512")
    with pytest.raises(exceptions.UnknownHashingAlgo):
        make(read_only=True).begin(store.locate("x"), algorithm="nonsense")
    assert read(store) == b"first"


def test_an_image_is_replaced_on_request_only() -> None:
    store = make()
    store.add("x", [b"old"], 0, "sha512")
    where = store.locate("x")
    with pytest.raises(exceptions.Duplicate):
        store.begin(where)
    upload = store.begin(where, 3, replace=True)
    upload.feed([b"new"])
    assert read(store) == b"old"
    store.publish(upload, where, {"mtime_ns": "5"})
    assert read(store) == b"new"
    kept = store.driver.properties(where)
    assert (kept["mtime_ns"], kept["md5"]) == ("5", hashlib.md5(b"new").hexdigest())


class UnstagedWriter(Writer):
    def __init__(self, inner: Writer) -> None:
        self._inner = inner

    def pwrite(self, data: memoryview, offset: int) -> None:
        self._inner.pwrite(data, offset)

    def commit(self, size: int) -> None:
        self._inner.commit(size)

    def abort(self) -> None:
        self._inner.abort()


class Unstaged(MemoryDriver):
    """Keeps properties, but not in one step with the commit."""

    def create(
        self, location: MemoryLocation, size: int | None, *, replace: bool = False
    ) -> Writer:
        return UnstagedWriter(super().create(location, size, replace=replace))


def test_properties_are_set_afterwards_where_they_cannot_be_staged() -> None:
    store = make(Unstaged)
    result = store.add("x", [b"abc"], 0, "sha256")
    kept = store.driver.properties(store.locate("x"))
    assert (kept["md5"], kept["os_hash_algo"]) == (result.checksum, "sha256")


def test_staged_properties_are_not_set_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store = make()
    monkeypatch.setattr(MemoryDriver, "set_properties", Forgetful.set_properties)
    store.add("x", [b"abc"], 0, "sha256")
    assert store.driver.properties(store.locate("x"))["os_hash_algo"] == "sha256"


class Forgetful(Unstaged):
    def set_properties(self, location: MemoryLocation, properties: Any) -> None:
        raise exceptions.Forbidden


def test_properties_that_cannot_be_kept_cost_no_image(expect_log: Expect) -> None:
    store = make(Forgetful)
    store.add("x", [b"abc"], 0, "sha256")
    assert read(store) == b"abc"
    expect_log("did not keep the hashes of memory://x: You are not authorized")


class Sticky(MemoryDriver):
    """Cannot even clean up."""

    def create(
        self, location: MemoryLocation, size: int | None, *, replace: bool = False
    ) -> Writer:
        writer = UnstagedWriter(super().create(location, size, replace=replace))
        writer.abort = self._abort
        return writer

    def _abort(self) -> None:
        raise RuntimeError("still stuck")


def test_the_first_error_is_the_one_told(expect_log: Expect) -> None:
    with pytest.raises(KeyError, match="first"):
        make(Sticky).add("x", broken_source(KeyError("first")), 0, "md5")
    expect_log("Store s could not clean up: RuntimeError: still stuck")


class Mounted(MemoryDriver):
    metadata: dict[str, Any] = {"id": "m", "mountpoint": "/m"}

    def location_metadata(self, location: MemoryLocation) -> dict[str, Any]:
        return self.metadata


def test_a_drivers_metadata_goes_along() -> None:
    result = make(Mounted).add("x", [b""], 0, "md5")
    assert result.metadata == {"id": "m", "mountpoint": "/m", "store": "s"}
    assert Mounted.metadata == {"id": "m", "mountpoint": "/m"}


def test_metadata_glance_would_refuse_is_refused_before_publication() -> None:
    class Odd(Mounted):
        metadata = {"id": [1]}

    store = make(Odd)
    with pytest.raises(exceptions.BackendException, match=r"id\[0\]"):
        store.add("x", [b"abc"], 0, "md5")
    assert list(store.driver.list()) == []


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": 1}, "key a "),
        ({"a": ["x", b"y"]}, r"a\[1\]"),
        (None, "key +has"),
        ({"a": {"b": 1.5}}, "b "),
    ],
)
def test_metadata_of_other_types_is_refused(value: Any, place: str) -> None:
    with pytest.raises(exceptions.BackendException, match=place):
        check_location_metadata(value)


def test_metadata_of_strings_passes() -> None:
    check_location_metadata({"a": "b", "c": ["d", {"e": "f"}]})


# -- reading -------------------------------------------------------------------


@given(offset=st.integers(0, len(DATA) + 10), length=st.integers(0, len(DATA) + 10))
@pytest.mark.parametrize("size", [len(DATA), None])
def test_any_range_is_a_slice(size: int | None, offset: int, length: int) -> None:
    class Sized(PlainDriver):
        pass

    Sized.size = size
    store = make(Sized)
    pieces, told = store.get(at(store), offset, length)
    assert b"".join(pieces) == DATA[offset : offset + length if length else None]
    assert told == (length or size)


@pytest.mark.parametrize("size", [len(DATA), None])
def test_an_image_longer_than_a_piece(monkeypatch: pytest.MonkeyPatch, size: int | None) -> None:
    monkeypatch.setattr(image_iterator, "READ_CHUNKSIZE", 1000)
    reader = PlainReader(ImageInfo("x", size), DATA, 0)
    pieces = list(ImageIterator(reader, 100))
    assert b"".join(pieces) == DATA[100:]
    assert {len(piece) for piece in pieces[:-1]} == {1000}
    assert all(type(piece) is bytes for piece in pieces)
    assert reader.closed == 1


def test_a_piece_is_four_mebibytes() -> None:
    assert Store.READ_CHUNKSIZE == Store.WRITE_CHUNKSIZE == 4 * 1024 * 1024


def test_keywords_read_alike() -> None:
    store = make(PlainDriver)
    pieces, size = store.get(at(store), offset=5, chunk_size=7, context=None)
    assert (b"".join(pieces), size) == (DATA[5:12], 7)


@pytest.mark.parametrize("short", [1, len(DATA)])
def test_a_short_image_is_an_error(short: int) -> None:
    class Short(PlainDriver):
        pass

    Short.short = short
    store = make(Short)
    with pytest.raises(exceptions.BackendException, match=f"ended at byte {len(DATA) - short},"):
        list(store.get(at(store))[0])


def test_a_missing_image_is_told_at_once() -> None:
    store = make(PlainDriver)
    with pytest.raises(exceptions.NotFound):
        store.get(at(store, "y"))
    with pytest.raises(exceptions.NotFound):
        store.get_size(at(store, "y"))
    assert store.get_size(at(store)) == len(DATA)


def test_a_size_nobody_knows_is_none() -> None:
    class Unsized(PlainDriver):
        size = None

    store = make(Unsized)
    assert store.get_size(at(store)) is None


def test_the_reader_is_closed_by_whoever_stops_first() -> None:
    info = ImageInfo("x", len(DATA))
    closed = PlainReader(info, DATA, 0)
    pieces = ImageIterator(closed)
    pieces.close()
    pieces.close()
    assert (list(pieces), closed.closed) == ([], 1)
    dropped = PlainReader(info, DATA, 0)
    next(ImageIterator(dropped))
    gc.collect()
    assert dropped.closed == 1


def test_a_reader_that_fails_is_closed() -> None:
    class Failing(PlainReader):
        def pread(self, length: int, offset: int) -> memoryview:
            raise exceptions.ImageChanged(image="x")

    reader = Failing(ImageInfo("x", 5), b"", 0)
    pieces = ImageIterator(reader)
    with pytest.raises(exceptions.ImageChanged):
        next(pieces)
    assert reader.closed == 1


# -- deleting, access ----------------------------------------------------------


def test_delete() -> None:
    store = make()
    store.add("x", [b""], 0, "md5")
    assert read(store) == b""
    store.delete(at(store))
    with pytest.raises(exceptions.NotFound):
        store.delete(at(store), context=None)


class Guarded(PlainDriver):
    told: Any = None

    def set_acls(self, location: MemoryLocation, **who: Any) -> None:
        type(self).told = (location.image_id, who)


def test_access_is_set_where_there_is_any() -> None:
    store = make(Guarded)
    store.set_acls(at(store), public=True, read_tenants=["t"])
    who = {"public": True, "read_tenants": ("t",), "write_tenants": ()}
    assert Guarded.told == ("x", who)
    with pytest.raises(NotImplementedError):
        make().set_acls(at(store))


def test_glance_reads_the_details_of_a_file_store(parse, tmp_path):
    """/v2/info/stores/detail shows datadir, chunk_size and thin_provisioning."""
    conf = parse(f"[s]\nfilesystem_store_datadir = {tmp_path}\nfilesystem_store_chunk_size = 7")
    store = Store(conf, "s", FileDriver)
    store.configure()
    assert (store.datadir, store.chunk_size) == (str(tmp_path), 7)
    assert store.thin_provisioning is False
    with pytest.raises(AttributeError):
        _ = store.pool


class MeasuredDriver(MemoryDriver):
    OPTIONS = (cfg.IntOpt("part_mib", default=8), cfg.StrOpt("pool", default="images"))
    DETAILS = {"part_size": ("part_mib", 2**20), "pool": "pool"}


def test_a_detail_with_a_unit_is_in_bytes() -> None:
    store = make(MeasuredDriver, part_mib=3)
    assert (store.part_size, store.pool) == (3 * 2**20, "images")


class AdoptingDriver(MemoryDriver, base.SupportsContext):
    """Its volumes are a caller's own."""

    project = "service"

    def for_context(self, context: Any) -> base.Driver[Any]:
        view = copy.copy(self)
        view.project = context["project_id"]
        return view

    def adopts(self, object_id: str) -> bool:
        if object_id == "gone":
            raise exceptions.NotFound(image=object_id)
        return object_id == f"volume of {self.project}"


def test_glance_asks_whose_a_volume_is() -> None:
    store, caller = make(AdoptingDriver), {"project_id": "blue"}
    assert store.is_image_associated_with_store(caller, "volume of blue")
    assert store.is_image_associated_with_store(None, "volume of service")
    assert not store.is_image_associated_with_store(caller, "volume of service")
    assert not store.is_image_associated_with_store(caller, "gone")
    assert not make().is_image_associated_with_store(caller, "volume of blue")


def test_a_broken_store_adopts_nothing(expect_log: Expect) -> None:
    assert not make(BadDriver).is_image_associated_with_store(None, "volume")
    expect_log("is broken")


class TenantDriver(MemoryDriver, base.SupportsContext):
    """Every project has a place of its own, named before the image."""

    project = "service"
    shared: MemoryDriver

    def for_context(self, context: Any) -> base.Driver[Any]:
        view = copy.copy(self)
        view.project = context["project_id"]
        return view

    def locate(self, image_id: str) -> MemoryLocation:
        return super().locate(f"{self.project}-{image_id}")


def test_operations_go_to_the_caller_s_own_place() -> None:
    store, caller = make(TenantDriver), {"project_id": "blue"}
    added = store.add("x", io.BytesIO(DATA), len(DATA), "sha512", context=caller)
    assert added.url.endswith("blue-x")
    assert [info.image_id for info in store.driver.list()] == ["blue-x"]  # type: ignore[attr-defined]
    assert store.get(at(store, "blue-x"), context=caller)[1] == len(DATA)
    store.delete(at(store, "blue-x"), context=caller)
    assert store.locate("x").get_uri().endswith("service-x")
    assert make().on_behalf_of(caller).locate("x").get_uri().endswith("//x")
