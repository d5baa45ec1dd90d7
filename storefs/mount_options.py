# SPDX-License-Identifier: Apache-2.0
"""What may stand behind ``-o``, on the command line and in /etc/fstab."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping

from storefs import opts

#: words mount(8), systemd and fstab use among themselves
GENERIC = frozenset(
    "_netdev async atime auto defaults dev diratime exec group nodev "  # noqa: SIM905
    "nodiratime noexec nofail "
    "noatime noauto norelatime nostrictatime nosuid nouser owner relatime rw strictatime suid "
    "sync user users".split()
)

_FUSE = ("allow_root", "default_permissions", "fsname")


class BadMountOption(Exception):
    """An option after ``-o`` that nobody knows; the text says which, and what is close."""


@dataclasses.dataclass(frozen=True, slots=True)
class MountOptions:
    """What the kernel is told about the mount.

    *read_ahead_kb* is in KiB, *max_background* in requests.
    """

    fsname: str = "storefs"
    read_only: bool = False
    allow_other: bool = False
    allow_root: bool = False
    read_ahead_kb: int = 8192
    max_background: int = 64

    def for_fuse(self) -> set[str]:
        """As libfuse takes them. Permissions are always checked by the kernel."""
        flags = {
            "ro": self.read_only,
            "allow_other": self.allow_other,
            "allow_root": self.allow_root and not self.allow_other,
        }
        fsname = self.fsname.replace("\\", "\\\\").replace(",", "\\,")
        chosen = {name for name, wanted in flags.items() if wanted}
        return chosen | {"default_permissions", f"fsname={fsname}", "subtype=storefs"}


def parse(arguments: Iterable[str]) -> dict[str, str]:
    """Options by name, the last one wins; raises `BadMountOption`.

    A word without a value becomes ``"true"``; words that only mount(8) cares
    for are left out.
    """
    words = (word.strip() for argument in arguments for word in argument.split(","))
    pairs = (word.partition("=") for word in words if word and not _generic(word))
    found = {}
    for name, equals, value in pairs:
        key = "read_only" if name == "ro" else name
        found[_known(key)] = value if equals else "true"
    return found


def for_storefs(options: Mapping[str, str]) -> dict[str, str]:
    """Those that override an option of ``[storefs]``."""
    return {name: value for name, value in options.items() if name not in _FUSE}


def _generic(word: str) -> bool:
    return word in GENERIC or word.lower().startswith(("x-", "comment="))


def _known(name: str) -> str:
    known = [*opts.names(), *_FUSE]
    if name in known:
        return name
    close = difflib.get_close_matches(name, [*known, "ro", *GENERIC], n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(sorted(known))}, ro"
    raise BadMountOption(f"unknown mount option {name!r}: {hint}")
