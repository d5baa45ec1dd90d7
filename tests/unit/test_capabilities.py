# SPDX-License-Identifier: Apache-2.0

import pytest

from storefs import capabilities, exceptions
from storefs.capabilities import BitMasks, StoreCapability, check, describe
from storefs.configured_store import ConfiguredStore
from storefs.driver import Store


def test_numbers_are_glances() -> None:
    numbers = {name: int(mask) for name, mask in BitMasks.__members__.items()}
    assert numbers == {
        "NONE": 0,
        "ALL": 255,
        "READ_ACCESS": 1,
        "READ_OFFSET": 3,
        "READ_CHUNK": 5,
        "READ_RANDOM": 7,
        "WRITE_ACCESS": 8,
        "WRITE_OFFSET": 24,
        "WRITE_CHUNK": 40,
        "WRITE_RANDOM": 56,
        "RW_ACCESS": 9,
        "RW_OFFSET": 27,
        "RW_CHUNK": 45,
        "RW_RANDOM": 63,
        "DRIVER_REUSABLE": 64,
    }


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (0, "NONE"),
        (79, "READ_RANDOM|WRITE_ACCESS|DRIVER_REUSABLE"),
        (63, "READ_RANDOM|WRITE_RANDOM"),
        (5, "READ_CHUNK"),
    ],
)
def test_describe(mask: int, words: str) -> None:
    assert describe(mask) == words


class Fake(StoreCapability):
    _CAPABILITIES = BitMasks.READ_ACCESS

    @check
    def get(
        self, location: str, offset: int = 0, chunk_size: int | None = None, context: object = None
    ) -> tuple[str, int, int | None]:
        return location, offset, chunk_size

    @check
    def add(self, image_id: str) -> str:
        return image_id

    @check
    def delete(self, location: str) -> str:
        return location


def test_a_mask_is_capable_of_all_its_parts() -> None:
    store = Fake()
    store.set_capabilities(BitMasks.WRITE_ACCESS, BitMasks.DRIVER_REUSABLE)
    assert store.capabilities == 73
    assert store.is_capable(BitMasks.READ_ACCESS, BitMasks.WRITE_ACCESS)
    assert not store.is_capable(BitMasks.READ_ACCESS, BitMasks.READ_OFFSET)
    assert StoreCapability.contains(7, 5)
    assert not StoreCapability.contains(5, 7)


def test_unsetting_clears_only_its_own_bits() -> None:
    store = Fake()
    store.set_capabilities(BitMasks.WRITE_RANDOM)
    store.unset_capabilities(BitMasks.WRITE_ACCESS)
    assert store.capabilities == 0b110001
    assert not store.is_capable(BitMasks.WRITE_OFFSET)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1,), {}),
        ((0, 1), {}),
        ((), {"offset": 1}),
        ((), {"chunk_size": 1}),
        ((0,), {"chunk_size": 1}),
    ],
)
def test_partial_reads_count_alike_by_position_and_keyword(
    args: tuple[int, ...], kwargs: dict[str, int]
) -> None:
    store = Fake()
    with pytest.raises(exceptions.StoreRandomGetNotSupported):
        store.get("l", *args, **kwargs)
    store.set_capabilities(BitMasks.READ_RANDOM)
    assert store.get("l", *args, **kwargs)[0] == "l"


def test_whole_reads_need_read_access_only() -> None:
    store = Fake()
    assert store.get("l", 0, None) == ("l", 0, None)
    store.unset_capabilities(BitMasks.READ_ACCESS)
    with pytest.raises(exceptions.StoreGetNotSupported) as caught:
        store.get("l")
    assert not isinstance(caught.value, exceptions.StoreRandomGetNotSupported)


def test_writing_needs_write_access() -> None:
    store = Fake()
    with pytest.raises(exceptions.StoreAddDisabled):
        store.add("x")
    with pytest.raises(exceptions.StoreDeleteNotSupported):
        store.delete("x")
    store.set_capabilities(BitMasks.WRITE_ACCESS)
    assert (store.add("x"), store.delete(location="x")) == ("x", "x")


def test_a_wrong_call_is_told_as_such() -> None:
    with pytest.raises(TypeError, match="nonsense"):
        Fake().get("l", nonsense=1)


@pytest.mark.parametrize("method", [Store.get, Store.add, Store.delete, Fake.get])
def test_wrapper_has_the_name_glances_tests_look_for(method: object) -> None:
    assert method.__name__ == "op_checker"


def test_store_is_a_capability() -> None:
    assert issubclass(ConfiguredStore, capabilities.StoreCapability)
