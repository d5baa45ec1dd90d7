# SPDX-License-Identifier: Apache-2.0
"""Configuration: files, the command line, defaults, and what is said of mistakes."""

import os
from pathlib import Path

import pytest
from oslo_config import cfg

from storefs import configuration, multi_backend, opts
from storefs.configuration import ConfigurationError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has nothing yet."""
    for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


#: as packages ship it: options of Glance that mean nothing here stand around ours
GLANCE_API_CONF = """\
[DEFAULT]
show_image_direct_url = true
image_size_cap = 1099511627776
enabled_backends = fast:file, web:http
transport_url = rabbit://guest:secret@127.0.0.1
hashing_algorithm = sha256

[database]
connection = mysql+pymysql://glance:secret@127.0.0.1/glance

[glance_store]
default_backend = fast
stores = file,http

[keystone_authtoken]
password = secret

[paste_deploy]
flavor = keystone

[fast]
filesystem_store_datadir = {data}
"""


def test_an_unchanged_glance_api_conf_is_enough(tmp_path: Path) -> None:
    file = write(tmp_path / "glance-api.conf", GLANCE_API_CONF.format(data=tmp_path / "data"))
    conf = configuration.load([file])
    assert conf.enabled_backends == {"fast": "file", "web": "http"}
    assert configuration.default_store(conf) == "fast"
    assert configuration.settings(conf).hashing_algorithm == "sha256"
    assert configuration.reserved(conf) == {}


def test_the_global_configuration_is_left_alone(tmp_path: Path) -> None:
    before = sorted(cfg.CONF)
    configuration.load()
    assert before == sorted(cfg.CONF)


def test_without_configuration_there_is_one_store_of_the_user(home: Path) -> None:
    conf = configuration.load()
    assert conf.enabled_backends == {"images": "file"}
    assert f"{home}/.local/share/storefs/images" == conf.images.filesystem_store_datadir
    assert configuration.default_store(conf) == "images"


def test_the_data_directory_can_be_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/elsewhere")
    conf = configuration.load()
    assert conf.images.filesystem_store_datadir == "/elsewhere/storefs/images"


def test_the_users_own_file_is_read(home: Path) -> None:
    text = "[DEFAULT]\nenabled_backends = web:http\n[storefs]\numask = 077\n"
    write(home / ".config" / "storefs" / "storefs.conf", text)
    conf = configuration.load()
    assert conf.enabled_backends == {"web": "http"}
    assert configuration.settings(conf).umask == 0o077


def test_own_options_alone_keep_the_embedded_store(home: Path) -> None:
    write(home / ".config" / "storefs" / "storefs.conf", "[storefs]\nmemory_budget = 64\n")
    conf = configuration.load()
    assert conf.enabled_backends == {"images": "file"}
    assert configuration.settings(conf).memory_budget == 64 * 1024 * 1024


def test_defaults_are_who_mounts() -> None:
    settings = configuration.settings(configuration.load())
    assert (settings.uid, settings.gid) == (os.getuid(), os.getgid())
    assert settings.umask == 0o022
    assert not settings.read_only


def test_the_mounts_options_come_before_the_files(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.conf", "[DEFAULT]\nenabled_backends=web:http\n[storefs]\nuid=1\ngid=1\n"
    )
    settings = configuration.settings(configuration.load([file], overrides={"uid": "0"}))
    assert (settings.uid, settings.gid) == (0, 1)


def test_a_directory_of_files_is_read_after_them(tmp_path: Path) -> None:
    first = write(tmp_path / "first.conf", "[DEFAULT]\nenabled_backends = a:http\n")
    write(tmp_path / "conf.d" / "10.conf", "[DEFAULT]\nenabled_backends = b:http\n")
    conf = configuration.load([first], [str(tmp_path / "conf.d")])
    assert conf.enabled_backends == {"b": "http"}


def test_several_stores_have_no_default_of_their_own(tmp_path: Path) -> None:
    file = write(tmp_path / "a.conf", "[DEFAULT]\nenabled_backends = a:http, b:http\n")
    assert configuration.default_store(configuration.load([file])) is None


def test_reserved_stores_are_there_when_they_are_configured(tmp_path: Path) -> None:
    text = (
        "[DEFAULT]\nenabled_backends = a:http\n"
        f"[os_glance_staging_store]\nfilesystem_store_datadir = {tmp_path}/staging\n"
    )
    conf = configuration.load([write(tmp_path / "a.conf", text)])
    assert configuration.reserved(conf) == {"os_glance_staging_store": "file"}
    multi_backend.create_multi_stores(conf, configuration.reserved(conf))
    stores = multi_backend.stores()
    assert [name for name in ("a", "os_glance_staging_store") if stores[name].reserved] == [
        "os_glance_staging_store"
    ]
    multi_backend.close_stores(conf)
    assert configuration.default_store(conf) == "a"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[DEFAULT\n", r"a\.conf:1: "),
        ("[DEFAULT]\nenabled_backends = a:http\n\nwhat is this\n", r"a\.conf:4: "),
        (
            "[DEFAULT]\nenabled_backends = a:http\n[storefs]\nuid = me\n",
            r"a\.conf:4: \[storefs\] uid",
        ),
        ("[DEFAULT]\nenabled_backends = images\n", r"a\.conf:2: \[DEFAULT\] enabled_backends"),
        (
            "[DEFAULT]\nenabled_backends=a:http\n[storefs]\numask=9\n",
            r"a\.conf:4: \[storefs\] umask",
        ),
        (
            "[DEFAULT]\nenabled_backends = a:http\n[storefs]\nmemory_budget = 1\n",
            r"a\.conf:4: \[storefs\] memory_budget: .*16",
        ),
        (
            "[DEFAULT]\nenabled_backends = a:http\nhashing_algorithm = sha1024\n",
            r"a\.conf:3: hashing_algorithm 'sha1024' is unknown",
        ),
        (
            "[DEFAULT]\nenabled_backends = a:http\nhashing_algorithm = shake_128\n",
            r"a\.conf:3: hashing_algorithm 'shake_128' is unknown",
        ),
        (
            "[DEFAULT]\nenabled_backends = a:http\n[glance_store]\ndefault_backend = b\n",
            r"a\.conf:4: default_backend 'b' is none of the stores: a",
        ),
        ("[DEFAULT]\nstores = file\n", r"no stores in .*a\.conf: add .*enabled_backends"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        configuration.load([write(tmp_path / "a.conf", text)])


def test_an_unparsable_line_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configuration.load(
            [write(tmp_path / "a.conf", "s3_store_secret_key: hunter2\n  !hunter2\n[x\n")]
        )
    assert "hunter2" not in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read /no/such\.conf"):
        configuration.load(["/no/such.conf"])


def test_a_missing_directory_is_named() -> None:
    with pytest.raises(ConfigurationError, match="/no/such is no directory"):
        configuration.load([], ["/no/such"])


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_bytes(b"[DEFAULT]\nx = \xff\xfe\n")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        configuration.load([str(tmp_path / "a.conf")])


@pytest.mark.parametrize(
    ("name", "value"), [("uid", "glance"), ("umask", "1777"), ("allow_other", "perhaps")]
)
def test_a_mount_option_with_a_bad_value_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"-o {name}={value}: "):
        configuration.load(overrides={name: value})


def test_misspelt_options_of_a_store_are_told_with_place_and_suggestion(tmp_path: Path) -> None:
    text = "[DEFAULT]\nenabled_backends = a:http\n[a]\nhttps_insecur = true\n"
    conf = configuration.load([write(tmp_path / "a.conf", text)])
    multi_backend.create_multi_stores(conf)
    [line] = configuration.complaints(conf)
    multi_backend.close_stores(conf)
    assert line.startswith(f"{tmp_path}/a.conf:4: [a] has no option 'https_insecur'")
    assert "'https_insecure'" in line


def test_every_option_is_listed_once_and_explained() -> None:
    listed = opts.list_opts()
    assert len({group for group, _ in listed}) == len(listed)
    assert {"DEFAULT", "glance_store", "storefs", "file", "http", "memory"} <= dict(listed).keys()
    for group, options in listed:
        assert all(option.help for option in options), group


def test_what_the_kernel_is_told(tmp_path: Path) -> None:
    conf = configuration.load(overrides={"allow_other": "true", "read_ahead_kb": "512"})
    options = configuration.mount_options(conf, {"fsname": "glance", "allow_root": "true"})
    assert (options.fsname, options.allow_other, options.allow_root) == ("glance", True, True)
    assert (options.read_ahead_kb, options.read_only) == (512, False)
