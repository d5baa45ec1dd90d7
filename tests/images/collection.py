# SPDX-License-Identifier: Apache-2.0
"""Real images: Debian's own, and a filesystem with known files in a raw and a qcow2 image."""

import dataclasses
import glob
import os
import subprocess
from pathlib import Path

from tests.mount.requirements import need, need_tools
from tests.mount.tools import data

_GRUB = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso"
_NETBOOT = "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64"

#: Of the ext4 inside; most of it stays empty, as in a fresh cloud image.
FILESYSTEM_SIZE = 48 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Images:
    """*iso*: GRUB's rescue CD. *initrd*, *kernel*: of Debian's netboot installer.
    *raw*: an ext4 with *files* in it, sparse. *qcow2*: the same, compressed by its holes.
    """

    iso: Path
    initrd: Path
    kernel: Path
    raw: Path
    qcow2: Path
    files: dict[str, bytes] = dataclasses.field(repr=False)

    @property
    def all(self) -> list[Path]:
        return [self.iso, self.initrd, self.kernel, self.raw, self.qcow2]


def collect(directory: Path) -> Images:
    """Find Debian's images and make the others in *directory*."""
    need_tools("mke2fs", "qemu-img", "debugfs", "isoinfo", "7z", "file")
    need("images", os.path.exists(_GRUB), "no grub-rescue-pc")
    need("images", glob.glob(f"{_NETBOOT}/*"), "no debian-installer-12-netboot-amd64")
    files = {"kernel.log": b"booted\n" * 1000, "random.bin": data(3_000_001, seed=7)}
    raw, qcow2 = directory / "disk.raw", directory / "disk.qcow2"
    _make_filesystem(raw, directory / "content", files)
    _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(qcow2))
    return Images(
        Path(_GRUB), Path(_NETBOOT, "initrd.gz"), Path(_NETBOOT, "linux"), raw, qcow2, files
    )


def _make_filesystem(path: Path, content: Path, files: dict[str, bytes]) -> None:
    content.mkdir()
    for name, text in files.items():
        (content / name).write_bytes(text)
    path.touch()
    os.truncate(path, FILESYSTEM_SIZE)
    _run("mke2fs", "-q", "-t", "ext4", "-d", str(content), str(path))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
