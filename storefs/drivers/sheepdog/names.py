# SPDX-License-Identifier: Apache-2.0
"""Names for VDIs that are not published, which can be given another one afterwards.

Sheepdog has no rename, but a name is nothing but the first 256 bytes of the inode:
who looks for one hashes it, and reads the inodes from the id of that hash on
until it is found. So an inode whose first name has the *hash of the second one* is
found under either, and to write the name is to rename. The
hash is FNV-1a cut to 24 bits, of which each step can be undone; a name with
the hash of another one is found in a few milliseconds.
"""

import itertools
import re
import secrets

from storefs.drivers.sheepdog.wire import VDI_IDS

#: What the names of VDIs begin with that are no images.
HIDDEN_PREFIX = b".storefs-"

_HIDDEN = re.compile(rb"\.storefs-(new|old)-[0-9a-f]{12}-[a-z]{6}")

_MASK = VDI_IDS - 1
_BASIS = 0xCBF29CE484222325 & _MASK
_PRIME = 0x100000001B3 & _MASK
_INVERSE = pow(_PRIME, -1, VDI_IDS)

_LETTERS = b"abcdefghijklmnopqrstuvwxyz"


def vdi_hash(name: bytes, state: int = _BASIS) -> int:
    """The id *name* has unless it is taken; *state* is the hash of what stands before."""
    for byte in name:
        state = (state ^ byte) * _PRIME & _MASK
    return state


def hidden_name(kind: str, beside: bytes) -> bytes:
    """A new name of *kind* (``new``, ``old``) with the hash of the name *beside*."""
    while True:
        name = b"%s%s-%s-" % (HIDDEN_PREFIX, kind.encode(), secrets.token_hex(6).encode())
        end = _end(vdi_hash(name), vdi_hash(beside))
        if end is not None:
            return name + end


def is_hidden(name: bytes) -> bool:
    return _HIDDEN.fullmatch(name) is not None


def _end(state: int, target: int) -> bytes | None:
    """Six letters that lead from hash *state* to hash *target*: three forth meet three back.

    There are some 18 such ends for any two hashes; none in one of 10**8 cases.
    """
    back = {target: b""}
    for _ in range(3):
        back = {
            (after * _INVERSE & _MASK) ^ letter: bytes((letter,)) + end
            for after, end in back.items()
            for letter in _LETTERS
        }
    for first, second, third in itertools.product(_LETTERS, repeat=3):
        begin = bytes((first, second, third))
        end = back.get(vdi_hash(begin, state))
        if end is not None:
            return begin + end
    return None
