# SPDX-License-Identifier: Apache-2.0
"""The tools people use, as they use them: cp, dd, tar, mv, install, touch, a shell."""

import os
from pathlib import Path

import pytest

from tests.images.collection import Images
from tests.mount.conftest import MakeMount
from tests.mount.mounting import Mount
from tests.mount.tools import MiB, attempt, data, output, run, sha512, shell

BYTES = data(3 * MiB + 12345)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(BYTES)
    os.utime(path, (1_000_000_000, 1_234_567_890.25))
    return path


@pytest.mark.parametrize("store", ["mem", "shared", "."])
def test_cp(mount: Mount, source: Path, store: str) -> None:
    run("cp", source, mount / store)
    assert (mount / store / "image").read_bytes() == BYTES


def test_cp_preserves_the_mtime(mount: Mount, source: Path) -> None:
    run("cp", "-a", source, mount / "shared")
    assert os.stat(mount / "shared" / "image").st_mtime == 1_234_567_890.25


def test_cp_sparse_keeps_holes(mount: Mount, images: Images) -> None:
    run("cp", "--sparse=always", images.raw, mount / "shared" / "disk")
    kept = os.stat(mount.datadirs["shared"] / "disk")
    size = os.stat(images.raw).st_size
    assert sha512(mount / "shared" / "disk") == sha512(images.raw)
    assert kept.st_size == size
    assert kept.st_blocks * 512 < size * 0.6
    assert os.stat(mount / "shared" / "disk").st_blocks == kept.st_blocks


def test_thin_provisioning_leaves_out_all_zeros(make_mount: MakeMount, images: Images) -> None:
    mount = make_mount(
        {"thin": "file"}, sections={"thin": {"filesystem_thin_provisioning": "true"}}
    )
    run("cp", "--sparse=never", images.raw, mount / "thin" / "disk")
    kept = os.stat(mount.datadirs["thin"] / "disk")
    assert sha512(mount / "thin" / "disk") == sha512(images.raw)
    assert kept.st_blocks * 512 < os.stat(images.raw).st_size / 8


def test_cp_of_several_files_and_their_removal(mount: Mount, source: Path) -> None:
    shell(f"for i in 1 2 3; do cp {source} image$i; done; rm image2", mount / "shared")
    assert sorted(os.listdir(mount / "shared")) == ["image1", "image3"]


@pytest.mark.parametrize("target", ["shared", "second", "mem"])
def test_cp_from_image_to_image(mount: Mount, source: Path, target: str) -> None:
    run("cp", source, mount / "shared")
    run("cp", mount / "shared" / "image", mount / target / "copy")
    assert (mount / target / "copy").read_bytes() == BYTES


def test_cp_over_an_image(mount: Mount, source: Path) -> None:
    (mount / "shared" / "image").write_bytes(b"old")
    run("cp", source, mount / "shared")
    assert (mount / "shared" / "image").read_bytes() == BYTES


@pytest.mark.parametrize(
    "options",
    [
        ["bs=4k"],
        ["bs=1M"],
        ["bs=1000"],
        ["bs=1M", "conv=fsync"],
        ["bs=1M", "conv=sparse"],
        ["bs=1M", "oflag=append", "conv=notrunc"],
        ["bs=1M", "conv=excl,fdatasync"],
    ],
    ids=" ".join,
)
def test_dd(mount: Mount, source: Path, options: list[str]) -> None:
    target = mount / "shared" / "image"
    run("dd", f"if={source}", f"of={target}", "status=none", *options)
    assert target.read_bytes() == BYTES


def test_dd_appends(mount: Mount, source: Path) -> None:
    target = mount / "shared" / "image"
    run("cp", source, target)
    more = ["oflag=append", "conv=notrunc", "bs=64k", "status=none"]
    run("dd", f"if={source}", f"of={target}", *more)
    assert target.read_bytes() == BYTES * 2


def test_dd_reads_directly_and_in_pieces(mount: Mount, source: Path, tmp_path: Path) -> None:
    run("cp", source, mount / "shared")
    part = tmp_path / "part"
    image = mount / "shared" / "image"
    run("dd", f"if={image}", f"of={part}", "bs=1M", "iflag=direct", "status=none")
    assert part.read_bytes() == BYTES
    run("dd", f"if={image}", f"of={part}", "bs=512", "skip=3000", "count=7", "status=none")
    assert part.read_bytes() == BYTES[3000 * 512 : 3007 * 512]


def test_tar_into_and_out_of_a_store(mount: Mount, images: Images, tmp_path: Path) -> None:
    archive = tmp_path / "images.tar"
    run("cp", images.iso, images.kernel, mount / "shared")
    run("tar", "cf", archive, ".", cwd=mount / "shared")
    run("tar", "xf", archive, "--no-same-permissions", cwd=mount / "second")
    for image in (images.iso, images.kernel):
        assert sha512(mount / "second" / image.name) == sha512(image)


def test_tar_writes_its_archive_as_an_image(mount: Mount, source: Path) -> None:
    archive = mount / "shared" / "images.tar"
    run("tar", "cf", archive, "-C", source.parent, "image")
    assert output("tar", "xOf", archive, "image") == BYTES


def test_mv_in_between_within_and_out(mount: Mount, source: Path, tmp_path: Path) -> None:
    shell(
        f"""
        mv {source} shared/a
        mv shared/a shared/b
        mv shared/b second/c
        mv second/c mem/d
        mv mem/d {tmp_path}/e
        """,
        mount.path,
    )
    assert (tmp_path / "e").read_bytes() == BYTES
    assert os.stat(tmp_path / "e").st_mtime == 1_234_567_890.25
    assert [os.listdir(mount / store) for store in ("mem", "shared", "second")] == [[], [], []]


@pytest.mark.parametrize("store", ["mem", "shared"])
def test_mv_replaces_unless_told_not_to(mount: Mount, store: str) -> None:
    script = "echo new > a; echo old > b; mv -n a b; cat a b; mv a b; cat b; ls"
    assert shell(script, mount / store) == "new\nold\nnew\nb\n"


def test_rename_with_noreplace_is_atomic(mount: Mount) -> None:
    script = "echo a > a; echo b > b; mv --no-clobber -T a b || true; cat a b"
    assert shell(script, mount / "shared") == "a\nb\n"


def test_install(mount: Mount, source: Path) -> None:
    run("install", "-m", "600", source, mount / "shared" / "image")
    assert (mount / "shared" / "image").read_bytes() == BYTES


@pytest.mark.parametrize("store", ["mem", "shared"])
def test_touch_makes_an_empty_image_and_sets_times(mount: Mount, store: str) -> None:
    image = mount / store / "image"
    run("touch", image)
    assert os.stat(image).st_size == 0
    image.write_bytes(b"content")
    run("touch", "-d", "2001-02-03 04:05:06.5", image)
    assert os.stat(image).st_mtime == 981173106.5
    assert image.read_bytes() == b"content"
    run("touch", image)
    assert os.stat(image).st_mtime > 1_700_000_000
    assert image.read_bytes() == b"content"


def test_touch_of_the_past_survives_a_remount(own_mount: Mount) -> None:
    image = own_mount / "shared" / "image"
    run("touch", "-d", "2001-02-03 04:05:06", image)
    assert os.stat(image).st_mtime == 981173106
    own_mount.remount()
    assert os.stat(image).st_mtime == 981173106


@pytest.mark.parametrize("store", ["mem", "shared"])
@pytest.mark.parametrize(
    ("script", "content"),
    [
        ("echo a > f", "a\n"),
        ("echo a > f; echo b > f", "b\n"),
        ("echo a > f; echo b >> f", "a\nb\n"),
        ("echo a >> f; echo b >> f; echo c >> f", "a\nb\nc\n"),
        ("(echo a; echo b) > f", "a\nb\n"),
        ("(echo a; /bin/echo b; echo c) > f", "a\nb\nc\n"),
        ("echo z > f; (echo a; /bin/echo b; echo c) > f", "a\nb\nc\n"),
        ("echo z > f; (echo a; /bin/echo b; echo c) >> f", "z\na\nb\nc\n"),
        ("(echo a; /bin/echo b; echo c; /bin/echo d) >> f", "a\nb\nc\nd\n"),
        ("exec 3> f; /bin/echo a >&3; /bin/echo b >&3; exec 3>&-", "a\nb\n"),
        ("echo a | tee f > /dev/null", "a\n"),
        ("echo a > f; echo b | tee -a f > /dev/null", "a\nb\n"),
        (": > f", ""),
        ("echo a > f; : > f", ""),
        ("echo a > f; truncate -s 0 f", ""),
        ("truncate -s 5 f", "\0" * 5),
        ("seq 100000 | head -c 12 > f", "1\n2\n3\n4\n5\n6\n"),
        ("set -C; echo a > f; (echo b > f) 2> /dev/null || true", "a\n"),
        ("printf abc > f; sed -i s/b/x/ f", "axc"),
    ],
)
def test_shell(mount: Mount, store: str, script: str, content: str) -> None:
    shell(script, mount / store)
    assert (mount / store / "f").read_text() == content


@pytest.mark.parametrize("store", ["mem", "shared"])
def test_what_was_closed_is_what_is_seen(mount: Mount, store: str) -> None:
    """The size, the bytes and the name, at once, by name and in the listing."""
    image = mount / store / "image"
    for size in [*range(1, 40), 0] * 2:
        with open(image, "wb") as file:
            file.write(b"x" * size)
        assert os.stat(image).st_size == size
        assert os.listdir(mount / store) == ["image"]
        assert len(image.read_bytes()) == size


@pytest.mark.parametrize("store", ["mem", "shared"])
def test_what_was_removed_is_gone(mount: Mount, store: str) -> None:
    image = mount / store / "image"
    for _ in range(50):
        image.touch()
        os.unlink(image)
        assert not image.exists()
        assert os.listdir(mount / store) == []


def test_head_and_tail(mount: Mount, source: Path) -> None:
    run("cp", source, mount / "shared")
    image = mount / "shared" / "image"
    assert output("head", "-c", "100", image) == BYTES[:100]
    assert output("tail", "-c", "100000", image) == BYTES[-100000:]


def test_cmp_tells_images_apart(mount: Mount, source: Path) -> None:
    run("cp", source, mount / "shared" / "a")
    (mount / "shared" / "b").write_bytes(BYTES[:-1] + b"\0")
    run("cmp", source, mount / "shared" / "a")
    assert attempt("cmp", source, mount / "shared" / "b").returncode == 1


def test_ls_and_du_and_find(mount: Mount) -> None:
    shell("for i in 1 2 3; do head -c 5000 /dev/zero > image$i; done", mount / "mem")
    assert run("ls", cwd=mount / "mem") == "image1\nimage2\nimage3\n"
    assert run("du", "-b", "--apparent-size", "image2", cwd=mount / "mem") == "5000\timage2\n"
    found = run("find", ".", "-type", "f", "-size", "5000c", "-perm", "644", cwd=mount / "mem")
    assert len(found.splitlines()) == 3


@pytest.mark.parametrize("store", ["mem", "shared"])
@pytest.mark.parametrize("copy", ["cp -a", "cp --preserve=timestamps", "rsync -t"])
def test_times_come_along_when_an_image_is_replaced(
    mount: Mount, source: Path, store: str, copy: str
) -> None:
    image = mount / store / "image"
    for content in (b"first", b"second, longer", b"third"):
        image.write_bytes(content)
        run(*copy.split(), "--", source, image)
        assert os.stat(image).st_mtime == 1_234_567_890.25
        assert image.read_bytes() == BYTES


@pytest.mark.parametrize("store", ["mem", "shared"])
def test_a_descriptor_sets_the_time_of_what_it_published(mount: Mount, store: str) -> None:
    image = mount / store / "image"
    for _ in range(2):  # new, and replaced
        with open(image, "wb") as file:
            file.write(BYTES)
            file.flush()
            os.fsync(file.fileno())
            os.utime(file.fileno(), ns=(0, 1_234_567_890_500_000_000))
        assert os.stat(image).st_mtime == 1_234_567_890.5
        assert image.read_bytes() == BYTES


@pytest.mark.parametrize("store", ["mem", "shared"])
def test_sendfile_and_copy_file_range_between_images(mount: Mount, store: str) -> None:
    first, second, third = (mount / store / name for name in ("first", "second", "third"))
    first.write_bytes(BYTES)
    with open(first, "rb", buffering=0) as source, open(second, "wb", buffering=0) as target:
        while os.sendfile(target.fileno(), source.fileno(), None, MiB):
            pass
    with open(second, "rb", buffering=0) as source, open(third, "wb", buffering=0) as target:
        while os.copy_file_range(source.fileno(), target.fileno(), MiB):
            pass
    assert third.read_bytes() == BYTES


@pytest.mark.parametrize("store", ["mem", "shared"])
def test_modes_of_open(mount: Mount, store: str) -> None:
    image = mount / store / "image"
    with open(image, "x") as file:
        file.write("one\n")
    with pytest.raises(FileExistsError):
        open(image, "x").close()
    with open(image, "a") as file:
        assert file.tell() == 4
        file.write("two\n")
    with open(image, "r+") as file:
        assert file.readlines() == ["one\n", "two\n"]
        file.write("three\n")
    with open(image, "a+") as file:
        file.seek(0)
        assert file.read() == "one\ntwo\nthree\n"
    with open(image, "w+") as file:
        file.write("four\n")
    assert image.read_text() == "four\n"
