# SPDX-License-Identifier: Apache-2.0
"""What a store can do, as Glance's bit masks.

Names and numbers are those of glance_store.capabilities. What decides is the
types a driver implements; `storefs.driver.Store` derives the mask from them.
"""

import enum
import functools
import inspect
from collections.abc import Callable
from typing import Any

from storefs import exceptions


class BitMasks(enum.IntFlag):
    """Wider masks include the access they refine: READ_OFFSET reads, too."""

    NONE = 0b00000000
    ALL = 0b11111111
    READ_ACCESS = 0b00000001
    READ_OFFSET = 0b00000011
    READ_CHUNK = 0b00000101
    READ_RANDOM = 0b00000111
    WRITE_ACCESS = 0b00001000
    WRITE_OFFSET = 0b00011000
    WRITE_CHUNK = 0b00101000
    WRITE_RANDOM = 0b00111000
    RW_ACCESS = 0b00001001
    RW_OFFSET = 0b00011011
    RW_CHUNK = 0b00101101
    RW_RANDOM = 0b00111111
    DRIVER_REUSABLE = 0b01000000


#: What `describe` looks for, widest first.
_WORDS = (
    BitMasks.READ_RANDOM,
    BitMasks.READ_OFFSET,
    BitMasks.READ_CHUNK,
    BitMasks.READ_ACCESS,
    BitMasks.WRITE_RANDOM,
    BitMasks.WRITE_OFFSET,
    BitMasks.WRITE_CHUNK,
    BitMasks.WRITE_ACCESS,
    BitMasks.DRIVER_REUSABLE,
)


def describe(mask: int) -> str:
    """*mask* in words, each bit once: ``READ_RANDOM|WRITE_ACCESS``."""
    words = []
    for word in _WORDS:
        if mask & word == word:
            words.append(str(word.name))
            mask &= ~word
    return "|".join(words) or "NONE"


class StoreCapability:
    """A mask that starts as ``_CAPABILITIES`` and may change while a store lives."""

    _CAPABILITIES: int = BitMasks.NONE

    def __init__(self) -> None:
        self._capabilities = int(self._CAPABILITIES)

    @property
    def capabilities(self) -> int:
        return self._capabilities

    @property
    def refusal(self) -> str | None:
        """Why adding and deleting are refused, for the error's text."""
        return None

    @staticmethod
    def contains(x: int, y: int) -> bool:
        """Whether every bit of *y* is in *x*."""
        return x & y == y

    def is_capable(self, *capabilities: int) -> bool:
        """Whether every bit of every one of *capabilities* is there."""
        return self.contains(self.capabilities, _union(capabilities))

    def set_capabilities(self, *capabilities: int) -> None:
        self._capabilities |= _union(capabilities)

    def unset_capabilities(self, *capabilities: int) -> None:
        """Clear these bits and no others: wider masks keep their own bits."""
        self._capabilities &= ~_union(capabilities)

    def update_capabilities(self) -> None:
        """For a subclass: called once a store is configured; must not raise."""

    def require_usable(self) -> None:
        """Raise if no operation at all can succeed; nothing by default."""


def _union(capabilities: tuple[int, ...]) -> int:
    mask = 0
    for capability in capabilities:
        mask |= int(capability)
    return mask


def _check_get(store: StoreCapability, arguments: dict[str, Any]) -> None:
    offset, chunk_size = arguments.get("offset"), arguments.get("chunk_size")
    if not store.is_capable(BitMasks.READ_ACCESS):
        raise exceptions.StoreGetNotSupported
    needed = BitMasks.READ_OFFSET if offset else BitMasks.NONE
    needed |= BitMasks.READ_CHUNK if chunk_size else BitMasks.NONE
    if not store.is_capable(needed):
        raise exceptions.StoreRandomGetNotSupported(offset=offset, chunk_size=chunk_size)


def _check_add(store: StoreCapability, arguments: dict[str, Any]) -> None:
    if not store.is_capable(BitMasks.WRITE_ACCESS):
        raise exceptions.StoreAddDisabled(store.refusal)


def _check_delete(store: StoreCapability, arguments: dict[str, Any]) -> None:
    if not store.is_capable(BitMasks.WRITE_ACCESS):
        raise exceptions.StoreDeleteNotSupported(store.refusal)


_CHECKS = {"get": _check_get, "add": _check_add, "delete": _check_delete}


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse ``get``, ``add`` or ``delete`` where the store's mask lacks the bits.

    Arguments count alike by position and by keyword. The wrapper's name is what
    Glance's shared tests look for on a store's methods.
    """
    verify = _CHECKS.get(function.__name__)
    signature = inspect.signature(function)

    @functools.wraps(function)
    def op_checker(store: StoreCapability, *args: Any, **kwargs: Any) -> Any:
        store.require_usable()
        if verify is not None:
            verify(store, signature.bind(store, *args, **kwargs).arguments)
        return function(store, *args, **kwargs)

    op_checker.__name__ = "op_checker"
    return op_checker
