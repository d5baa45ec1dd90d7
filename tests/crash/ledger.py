# SPDX-License-Identifier: Apache-2.0
"""What writers were promised, on paper outside of the mount.

A writer notes what it *begins* before the first call of an operation, and what
it was *promised* after the call that promises (close, fsync, rename, unlink)
has returned. What may be seen after a crash follows: what was promised last,
or what was begun since; nothing else, and never a part of it.
"""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

#: An image's content by its sha256, or None: there is no such image.
Content = str | None

BEGUN, PROMISED, MOVING = "begun", "promised", "moving"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Ledger:
    """The file one writer at a time appends to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, what: str, call: str, images: Mapping[str, Content]) -> None:
        """*what* is one of the words above, *call* the call it is about to make, or made."""
        line = {"what": what, "call": call, "images": dict(images), "at": time.time()}
        with self.path.open("a") as ledger:
            ledger.write(json.dumps(line) + "\n")
            ledger.flush()
            os.fdatasync(ledger.fileno())

    def observe(self, images: Mapping[str, Content]) -> None:
        """What is seen after a crash is what must be seen after the next."""
        self.note(PROMISED, "crash", images)

    def lines(self) -> Iterator[dict[str, Any]]:
        """All whole lines: who reads while the writer writes may see half of the last one."""
        if self.path.exists():
            *whole, _ = self.path.read_text().split("\n")
            yield from map(json.loads, whole)

    def promises(self) -> int:
        """How many were made so far."""
        return sum(line["what"] == PROMISED for line in self.lines())


@dataclasses.dataclass
class Expected:
    """What is right for one name: *promised*, or one of what was *begun* since."""

    promised: Content = None
    begun: list[Content] = dataclasses.field(default_factory=list)

    def allows(self, content: Content) -> bool:
        return content == self.promised or content in self.begun


class Account:
    """The ledgers of all writers, read together."""

    def __init__(self, ledgers: Iterable[Ledger]) -> None:
        self.names: dict[str, Expected] = {}
        #: (old name, new name, content) of renames of which nobody knows how they ended
        self.moves: list[tuple[str, str, str]] = []
        #: content -> where it was noted last
        self.noted: dict[Content, str] = {}
        for ledger in ledgers:
            for line in ledger.lines():
                self._read(line)

    def _read(self, line: Mapping[str, Any]) -> None:
        images = line["images"]
        self.moves = [move for move in self.moves if not set(move[:2]) & set(images)]
        if line["what"] == MOVING:
            (source, _), (target, content) = images.items()
            self.moves.append((source, target, content))
        for name, content in images.items():
            self.noted[content] = f"{line['what']} by {line['call']} of {name}"
            expected = self.names.setdefault(name, Expected())
            if line["what"] == PROMISED:
                self.names[name] = Expected(content)
            else:
                expected.begun.append(content)

    def faults(self, seen: Mapping[str, Content]) -> list[str]:
        """What is wrong with what is *seen*, name by name, as sentences."""
        found = []
        for name in sorted({*self.names, *seen}):
            expected = self.names.get(name, Expected())
            if not expected.allows(seen.get(name)):
                noted = self.noted.get(seen.get(name), "never")
                found.append(f"{name} is {seen.get(name)} ({noted}), not as it must be: {expected}")
        for source, target, content in self.moves:
            if content not in (seen.get(source), seen.get(target)):
                found.append(f"{content} was lost between {source} and {target}")
        return found
