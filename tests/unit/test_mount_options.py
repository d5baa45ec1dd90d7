# SPDX-License-Identifier: Apache-2.0
"""The grammar behind -o."""

import pytest

from storefs import mount_options, opts
from storefs.mount_options import BadMountOption, MountOptions


def test_words_are_true_and_values_are_kept() -> None:
    expected = {"allow_other": "true", "uid": "42", "fsname": "a=b"}
    assert expected == mount_options.parse(["allow_other,uid=42", "fsname=a=b"])


def test_the_last_one_wins() -> None:
    assert mount_options.parse(["uid=1,uid=2", "uid=3"]) == {"uid": "3"}


def test_ro_is_read_only() -> None:
    assert mount_options.parse(["ro"]) == {"read_only": "true"}


@pytest.mark.parametrize(
    "generic",
    [
        "defaults",
        "rw,_netdev,nofail,noauto",
        "user,nosuid,nodev,noexec",
        "x-systemd.automount",
        ",",
    ],
)
def test_what_mount_8_uses_is_ignored(generic: str) -> None:
    assert mount_options.parse([generic]) == {}


def test_every_option_of_storefs_is_known() -> None:
    given = ",".join(f"{name}=1" for name in opts.names())
    assert list(mount_options.parse([given])) == opts.names()


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("allow-other", "allow_other"), ("umaks=0", "umask"), ("read_onyl", "read_only")],
)
def test_a_misspelt_option_is_named_with_the_closest_one(typo: str, meant: str) -> None:
    with pytest.raises(BadMountOption) as caught:
        mount_options.parse([f"uid=1,{typo}"])
    assert repr(typo.partition("=")[0]) in str(caught.value)
    assert f"did you mean {meant!r}?" in str(caught.value)


def test_an_option_like_no_other_gets_the_list() -> None:
    with pytest.raises(BadMountOption, match=r"known are: .*umask"):
        mount_options.parse(["qqqq"])


def test_what_is_for_fuse_alone_is_no_storefs_option() -> None:
    given = mount_options.parse(["fsname=x,default_permissions,allow_root,uid=1"])
    assert mount_options.for_storefs(given) == {"uid": "1"}


def test_permissions_are_always_checked() -> None:
    assert "default_permissions" in MountOptions().for_fuse()


def test_flags_for_fuse() -> None:
    chosen = MountOptions(read_only=True, allow_other=True, allow_root=True).for_fuse()
    assert {"ro", "allow_other"} <= chosen
    assert "allow_root" not in chosen


def test_a_comma_in_the_name_is_escaped() -> None:
    assert "fsname=a\\,b\\\\" in MountOptions(fsname="a,b\\").for_fuse()
