# SPDX-License-Identifier: Apache-2.0
"""Pages that are run: every ``console`` block of a page is typed into a shell.

``$ command`` is typed (a command that goes on begins its further lines with
``> ``), what follows is its output, both channels together, compared exactly but
for ``...``: alone on a line it stands for any lines, inside a line for any
characters. A command that fails ends its output with ``[exit N]``.
"""

import dataclasses
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

#: Printed by the shell after each command, with its exit code.
_MARK = "--- done "

_FENCE = re.compile(r"^```(?P<kind>.*)$")


class PageError(AssertionError):
    """The page, or what it says, is wrong."""


@dataclasses.dataclass
class Command:
    """One line typed, and what the page says of it."""

    line: int
    text: str
    expected: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Section:
    """What stands under one ``##`` heading; *blocks* counts its fences."""

    title: str
    commands: list[Command] = dataclasses.field(default_factory=list)
    blocks: int = 0


def sections(page: Path) -> list[Section]:
    """The page's sections in order; every fenced block must be a console block of one."""
    found: list[Section] = []
    inside = False
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if fence:
            inside = not inside
            if inside:
                _begin_block(found, fence["kind"], f"{page.name}:{number}")
        elif inside:
            _add_line(found[-1], line, number)
        elif line.startswith("## "):
            found.append(Section(line.removeprefix("## ")))
    if inside:
        raise PageError(f"{page.name}: the last block does not end")
    return found


def _begin_block(found: list[Section], kind: str, where: str) -> None:
    if kind != "console":
        raise PageError(f"{where}: a block of {kind!r} would not be run; say console")
    if not found:
        raise PageError(f"{where}: a block before the first section would not be run")
    found[-1].blocks += 1


def _add_line(section: Section, line: str, number: int) -> None:
    commands = section.commands
    if line.startswith("$ "):
        commands.append(Command(number, line.removeprefix("$ ")))
    elif not commands:
        raise PageError(f"line {number}: output without a command")
    elif line.startswith("> ") and not commands[-1].expected:
        commands[-1].text += "\n" + line.removeprefix("> ")
    else:
        commands[-1].expected.append(line)


def matches(expected: list[str], printed: list[str]) -> bool:
    """Whether *printed* is what the page says, with its ``...``."""
    if not expected:
        return not printed
    first, rest = expected[0], expected[1:]
    if first.strip() == "...":
        return any(matches(rest, printed[n:]) for n in range(len(printed) + 1))
    return bool(printed) and _line_matches(first, printed[0]) and matches(rest, printed[1:])


def _line_matches(expected: str, printed: str) -> bool:
    pattern = ".*".join(re.escape(piece) for piece in expected.split("..."))
    return re.fullmatch(pattern, printed) is not None


class Shell:
    """One sh, whose variables and open files last from command to command."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["sh"],
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )

    def run(self, command: str) -> list[str]:
        """What *command* prints, and ``[exit N]`` if it fails."""
        process = self._process
        assert process.stdin is not None
        process.stdin.write(f"{command}\nprintf '\\n{_MARK}%s\\n' $?\n")
        process.stdin.flush()
        lines = list(self._until_mark())
        code = lines.pop()
        # the mark begins a line of its own, so there is one line end too many
        if lines and lines[-1] == "":
            lines.pop()
        return lines if code == "0" else [*lines, f"[exit {code}]"]

    def _until_mark(self) -> Iterator[str]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(_MARK):
                yield line.removeprefix(_MARK).rstrip("\n")
                return
            yield line.rstrip("\n")
        raise PageError("the shell ended")

    def close(self) -> None:
        """End it, and with it the files it has open; wait for all it has started."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.read()  # ends with the last who could write to it: rsync forks
        process.stdout.close()
        process.wait()


def run_section(section: Section, page: Path, shell: Shell) -> int:
    """Type every command of *section*; gives their number. `PageError` at the first surprise."""
    for command in section.commands:
        printed = shell.run(command.text)
        if not matches(command.expected, printed):
            said = "\n".join(command.expected)
            found = "\n".join(printed)
            raise PageError(
                f"{page.name}:{command.line}: {command.text}\nthe page says:\n{said}\n"
                f"it printed:\n{found}"
            )
    return len(section.commands)
