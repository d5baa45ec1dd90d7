# SPDX-License-Identifier: Apache-2.0
"""storefs under the name glance_store: what Glance with several stores asks of it."""

import pathlib
import subprocess
import sys

import pytest

import storefs
from storefs import backend, driver_types, exceptions, location
from storefs.driver import Store
from tests.contract.harness import options_of
from tests.unit.conftest import Parse

MiB = 2**20
#: Swift's, as Glance counts
MB = 1000 * 1024

MEMORY = "[DEFAULT]\nenabled_backends = a:memory\n"

#: Read in Glance 33: it imports the first three and calls, or catches, the others.
ASKED_FOR = """
    backend exceptions location add_with_multihash check_location_metadata create_multi_stores
    create_stores delete delete_from_backend get get_known_schemes
    get_known_schemes_for_multi_store get_size_from_uri_and_backend
    get_store_from_store_identifier get_store_weight register_opts register_store_opts
    set_acls_for_multi_store verify_store Duplicate Forbidden Invalid NotFound
    RemoteServiceUnavailable StorageFull StorageWriteDenied StoreAddDisabled
    StoreDeleteNotSupported StoreGetNotSupported StoreRandomGetNotSupported UnknownScheme
    UnsupportedBackend exceptions.HasSnapshot exceptions.InUseByStore exceptions.NotFound
    exceptions.TimeoutError exceptions.UnknownScheme exceptions.Forbidden
    location.SCHEME_TO_CLS_BACKEND_MAP location.get_location_from_uri_and_backend
    backend.register_opts
"""


def test_everything_glance_asks_for_is_there_under_its_name() -> None:
    code = (
        "import operator, sys, storefs; sys.modules['glance_store'] = storefs; "
        "import glance_store; from glance_store import backend, exceptions, location; "
        f"operator.attrgetter(*{ASKED_FOR.split()!r})(glance_store)"
    )
    root = pathlib.Path(storefs.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


#: What /v2/info/stores/detail reads of a store of each type: attribute -> value by default.
DETAILS = {
    "file": {"datadir": "/data", "chunk_size": 65536, "thin_provisioning": False},
    "rbd": {"chunk_size": 8 * MiB, "pool": "images", "thin_provisioning": False},
    "s3": {
        "s3_store_large_object_size": 100 * MiB,
        "s3_store_large_object_chunk_size": 10 * MiB,
        "s3_store_thread_pools": 10,
    },
    "swift": {
        "container": "glance",
        "large_object_size": 5120 * MB,
        "large_object_chunk_size": 200 * MB,
    },
    "cinder": {"volume_type": None, "use_multipath": False},
}


@pytest.mark.parametrize("kind", DETAILS)
def test_glance_s_administrators_see_the_details_of_a_store(kind: str) -> None:
    found = driver_types.load(kind)
    store = Store(None, "s", found)
    given = {"filesystem_store_datadir": "/data"} if kind == "file" else {}
    store.options = options_of(found, **given)
    assert {name: getattr(store, name) for name in DETAILS[kind]} == DETAILS[kind]


def test_the_single_store_s_schemes_are_those_of_its_map(
    parse: Parse, monkeypatch: pytest.MonkeyPatch
) -> None:
    storefs.create_multi_stores(parse(MEMORY))
    assert list(storefs.get_known_schemes()) == []
    store = storefs.get_store_from_store_identifier("a")
    entry: location.StoreEntry = {
        "store": store,
        "location_class": store.get_store_location_class(),
        "store_entry": "memory",
    }
    monkeypatch.setattr(location, "SCHEME_TO_CLS_MAP", {"x": entry})
    assert list(storefs.get_known_schemes()) == ["x"]


def test_one_store_without_an_identifier_says_what_to_set(parse: Parse) -> None:
    conf = parse("")
    storefs.register_opts(conf)
    with pytest.raises(RuntimeError, match="set enabled_backends"):
        storefs.create_stores(conf)


@pytest.mark.parametrize("text", ["", MEMORY])
def test_glance_status_reads_the_options_of_glance_store(parse: Parse, text: str) -> None:
    conf = parse(text + "[glance_store]\ndefault_backend = a\nstores = file, sheepdog\n")
    for _ in range(2):
        backend.register_opts(conf)
    assert conf.glance_store.default_backend == "a"
    assert conf.glance_store.stores == ["file", "sheepdog"]


def test_the_scrubber_deletes_what_names_no_store(parse: Parse) -> None:
    conf = parse(MEMORY)
    storefs.create_multi_stores(conf)
    url = storefs.add(conf, "x", [b"abc"], 3, "a")[0]
    storefs.delete_from_backend(url, None)
    with pytest.raises(exceptions.NotFound):
        storefs.delete_from_backend(url, None)
