# SPDX-License-Identifier: Apache-2.0
"""Where in the configuration files an option is written, for messages that help.

oslo.config knows the file of a value but not its line, and says nothing of an
option nobody registered.
"""

import difflib
import pathlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from oslo_config import iniparser


class Assignment(NamedTuple):
    """One ``option = value``; *line* counts from 1, names are as written."""

    file: str
    line: int
    group: str
    option: str


class UnknownOption(NamedTuple):
    """An option no one knows, and the known name that is most like it."""

    file: str
    line: int
    group: str
    option: str
    suggestion: str | None


class _Assignments(iniparser.BaseParser):  # type: ignore[misc, unused-ignore]
    """Collects what a file assigns, with the line each assignment starts on."""

    def __init__(self, file: str) -> None:
        self.found: list[Assignment] = []
        self._file = file
        self._group = "DEFAULT"
        self._start = 0

    def _split_key_value(self, line: str) -> tuple[str, list[str]]:
        # An assignment is reported only when the next one begins, because it
        # may go on over several lines.
        self._start = self.lineno
        key, value = super()._split_key_value(line)
        return key, value

    def new_section(self, section: str) -> None:
        self._group = section

    def assignment(self, key: str, value: list[str]) -> None:
        self.found.append(Assignment(self._file, self._start, self._group, key))


def files(conf: Any) -> list[str]:
    """The configuration files of *conf*, in the order they are read."""
    directories = getattr(conf, "config_dir", None) or []
    inside = [sorted(pathlib.Path(name).glob("*.conf")) for name in _listed(directories)]
    named = _listed(getattr(conf, "config_file", None) or [])
    return [*named, *(str(path) for paths in inside for path in paths)]


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def assignments(conf: Any) -> Iterator[Assignment]:
    """Every assignment in the files of *conf*; what cannot be read is left out."""
    for file in files(conf):
        parser = _Assignments(file)
        try:
            with open(file, encoding="utf-8", errors="replace") as lines:
                parser.parse(lines)
        except (OSError, iniparser.ParseError):
            pass
        yield from parser.found


def find_option(conf: Any, group: str, names: Collection[str]) -> tuple[str, int] | None:
    """File and line of the assignment that counts: the last one."""
    place = None
    for found in assignments(conf):
        if found.group.lower() == group.lower() and found.option in names:
            place = found.file, found.line
    return place


def unknown_options(conf: Any, store_ids: Iterable[str]) -> list[UnknownOption]:
    """What is written in the groups of *store_ids* but means nothing there.

    The stores' options must be registered; a store whose driver could not be
    loaded is better left out, for everything in its group looks unknown.
    """
    known = {store_id.lower(): list(conf[store_id]) for store_id in store_ids}
    return [
        UnknownOption(*found, _closest(found.option, known[found.group.lower()]))
        for found in assignments(conf)
        if found.group.lower() in known and found.option not in known[found.group.lower()]
    ]


def _closest(name: str, known: Iterable[str]) -> str | None:
    """oslo.config knows an option only by its name with underscores."""
    return next(iter(difflib.get_close_matches(name.replace("-", "_"), list(known), 1)), None)
