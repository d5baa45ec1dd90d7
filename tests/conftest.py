# SPDX-License-Identifier: Apache-2.0
"""What every test gets: a log that is watched."""

import logging
import re
from collections.abc import Callable, Iterator

import pytest

ExpectLog = Callable[..., None]


class _Watch(logging.Handler):
    """Keeps what is logged at WARNING and above until a test claims it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def claim(self, pattern: str, level: int) -> None:
        claimed = [
            record
            for record in self.records
            if record.levelno == level and re.search(pattern, record.getMessage())
        ]
        assert claimed, f"nothing like {pattern!r} was logged, only {self.messages()}"
        self.records = [record for record in self.records if record not in claimed]

    def messages(self) -> list[str]:
        return [f"{r.levelname} {r.name}: {r.getMessage()}" for r in self.records]


@pytest.fixture(autouse=True)
def watched_log() -> Iterator[_Watch]:
    """A test fails on a WARNING or worse that it did not claim with `expect_log`."""
    watch = _Watch()
    root = logging.getLogger()
    root.addHandler(watch)
    yield watch
    root.removeHandler(watch)
    assert not watch.records, f"unexpected in the log: {watch.messages()}"


@pytest.fixture
def expect_log(watched_log: _Watch) -> ExpectLog:
    """``expect_log(pattern, level=logging.WARNING)``: claim what was logged, or fail.

    *pattern* is searched in the message; every record it finds is claimed, and
    finding none is a failure.
    """

    def claim(pattern: str, level: int = logging.WARNING) -> None:
        watched_log.claim(pattern, level)

    return claim
