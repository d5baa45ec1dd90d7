# SPDX-License-Identifier: Apache-2.0
"""Real images go in with cp and are read back by the tools that know their formats."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.images.collection import Images
from tests.mount.mounting import Mount
from tests.mount.tools import attempt, run, sha512


def _iso(original: Path, copy: Path, images: Images) -> None:
    listing = run("isoinfo", "-l", "-i", copy)
    assert "GRUB" in listing.upper()
    assert listing == run("isoinfo", "-l", "-i", original)
    assert "ISO 9660" in run("file", "-b", copy)


def _archive(original: Path, copy: Path, images: Images) -> None:
    assert "gzip compressed data" in run("file", "-b", copy)
    assert _seven_zip(copy) == _seven_zip(original)


def _kernel(original: Path, copy: Path, images: Images) -> None:
    description = run("file", "-b", copy)
    assert "Linux kernel x86 boot" in description
    assert description == run("file", "-b", original)


def _raw(original: Path, copy: Path, images: Images) -> None:
    listing = run("debugfs", "-R", "ls -l", copy, chatty=True)
    assert all(name in listing for name in images.files)
    assert "ext4 filesystem" in run("file", "-b", copy)
    assert "Images are identical." in run(
        "qemu-img", "compare", "-f", "raw", "-F", "qcow2", copy, images.qcow2
    )


def _qcow2(original: Path, copy: Path, images: Images) -> None:
    info = json.loads(run("qemu-img", "info", "--output=json", copy))
    assert info["format"] == "qcow2"
    assert info["virtual-size"] == os.stat(images.raw).st_size
    assert "No errors were found" in run("qemu-img", "check", copy)
    assert "Images are identical." in run("qemu-img", "compare", copy, images.raw)
    assert "QEMU QCOW" in run("file", "-b", copy)


def _seven_zip(path: Path) -> list[str]:
    """What `7z l` says of the content; the rest is about the file itself."""
    listing = run("7z", "l", "-ba", path)
    return listing.split()[-1:] + [w for w in listing.split() if w.isdigit()]


CHECKS: dict[str, Callable[[Path, Path, Images], None]] = {
    "iso": _iso,
    "initrd": _archive,
    "kernel": _kernel,
    "raw": _raw,
    "qcow2": _qcow2,
}


@pytest.mark.parametrize("kind", CHECKS)
@pytest.mark.parametrize("store", ["mem", "shared"])
def test_image_reads_back_by_its_tools(mount: Mount, images: Images, kind: str, store: str) -> None:
    original: Path = getattr(images, kind)
    copy = mount / store / original.name
    run("cp", original, copy)
    assert sha512(copy) == sha512(original)
    CHECKS[kind](original, copy, images)


def test_all_images_are_the_same_after_a_remount(own_mount: Mount, images: Images) -> None:
    for image in images.all:
        run("cp", image, own_mount / "shared")
    own_mount.remount()
    for kind, check in CHECKS.items():
        original: Path = getattr(images, kind)
        copy = own_mount / "shared" / original.name
        check(original, copy, images)
        assert sha512(copy) == sha512(original)


def test_files_inside_the_filesystem_of_an_image(
    mount: Mount, images: Images, tmp_path: Path
) -> None:
    run("cp", images.raw, mount / "shared")
    copy = mount / "shared" / images.raw.name
    for name, content in images.files.items():
        attempt("debugfs", "-R", f"dump /{name} {tmp_path / name}", copy)
        assert (tmp_path / name).read_bytes() == content


def test_checksums_verify(mount: Mount, images: Images, tmp_path: Path) -> None:
    run("cp", images.iso, images.kernel, mount / "shared")
    sums = run("md5sum", images.iso.name, cwd=images.iso.parent)
    (tmp_path / "MD5SUMS").write_text(sums)
    output = run("md5sum", "-c", tmp_path / "MD5SUMS", cwd=mount / "shared")
    assert output == f"{images.iso.name}: OK\n"


def test_hashes_of_the_store_are_those_of_the_bytes(mount: Mount, images: Images) -> None:
    run("cp", images.kernel, mount / "shared")
    copy = mount / "shared" / images.kernel.name
    getfattr = ("getfattr", "--absolute-names", "--only-values", "-n")
    value = run(*getfattr, "user.storefs.os_hash_value", copy)
    assert value == sha512(images.kernel)
    md5 = run(*getfattr, "user.storefs.md5", copy)
    assert md5 == run("md5sum", images.kernel).split()[0]
