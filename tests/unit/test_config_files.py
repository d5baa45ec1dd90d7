# SPDX-License-Identifier: Apache-2.0

import pathlib

from oslo_config import cfg

from storefs import config_files


def read(files: list[str], directories: list[str]) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    conf.register_opts([cfg.StrOpt("weight"), cfg.StrOpt("datadir")], group="fast")
    conf([], default_config_files=files, default_config_dirs=directories)
    return conf


def test_every_assignment_has_the_line_it_starts_on(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "a.conf"
    file.write_text("[DEFAULT]\ndebug = 1\n[fast]\n# weight = 0\nweight =\n  1\n  2\ndatadir: /x")
    assert list(config_files.assignments(read([str(file)], []))) == [
        (str(file), 2, "DEFAULT", "debug"),
        (str(file), 5, "fast", "weight"),
        (str(file), 8, "fast", "datadir"),
    ]


def test_the_assignment_that_counts_is_found(tmp_path: pathlib.Path) -> None:
    first, directory = tmp_path / "a.conf", tmp_path / "conf.d"
    directory.mkdir()
    first.write_text("[fast]\nweight = 1\n[slow]\nweight = 2\n")
    (directory / "b.conf").write_text("[FAST]\n\nweight = 3\n")
    (directory / "a.conf").write_text("[fast]\nweight = 4\n")
    (directory / "z.txt").write_text("[fast]\nweight = 5\n")
    conf = read([str(first)], [str(directory)])
    assert conf.fast.weight == "3"
    assert config_files.find_option(conf, "fast", {"weight"}) == (str(directory / "b.conf"), 3)
    assert config_files.find_option(conf, "fast", {"datadir"}) is None


def test_misspelt_options_come_with_a_suggestion(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "a.conf"
    file.write_text("[fast]\nwieght = 1\ndata-dir = 2\nzzz = 3\ndatadir = 4\n[other]\nwieght = 5\n")
    assert config_files.unknown_options(read([str(file)], []), ["fast"]) == [
        (str(file), 2, "fast", "wieght", "weight"),
        (str(file), 3, "fast", "data-dir", "datadir"),
        (str(file), 4, "fast", "zzz", None),
    ]


def test_files_that_went_away_or_went_bad_are_left_out(tmp_path: pathlib.Path) -> None:
    gone, bad = tmp_path / "a.conf", tmp_path / "b.conf"
    gone.write_text("[fast]\nweight = 1\n")
    bad.write_text("[fast]\nweight = 1\n")
    conf = read([str(gone), str(bad)], [])
    gone.unlink()
    bad.write_text("[fast]\nweight = 1\nnonsense\n")
    assert config_files.find_option(conf, "fast", {"weight"}) == (str(bad), 2)


def test_without_files_there_is_nothing() -> None:
    assert list(config_files.assignments(cfg.ConfigOpts())) == []
