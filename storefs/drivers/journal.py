# SPDX-License-Identifier: Apache-2.0
"""What was begun at a server, on paper: what a killed storefs leaves is found and undone.

A server does not say whose an unfinished upload, a half-written volume or an
attachment is. So each process notes what it begins in a file of its own, which
it holds locked. A file nobody holds belongs to a process that is gone: what is
open in it is undone, and nothing else - what belongs to other hosts, other
programs and processes that run is never touched.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import pathlib
import tempfile
import threading
from collections.abc import Callable, Mapping
from typing import IO

LOG = logging.getLogger(__name__)

Record = Mapping[str, str]


class Journal:
    """What this process has begun in one place of one store.

    *kind* is a word for file names (``s3-uploads``), *place* tells which server,
    bucket, pool, ... it is about: only journals of the same place are undone.
    *undo* ends one thing by its record; it must be right to call it for what is
    gone already, and whatever it raises leaves the record for the next start.
    *directory* is made when it is needed. Where it cannot be written work goes on
    without, and the log says so once.
    """

    def __init__(
        self, directory: pathlib.Path, kind: str, place: str, undo: Callable[[Record], None]
    ) -> None:
        self._directory = directory
        self._kind = kind
        self._suffix = f".{kind}"
        self._undo = undo
        # of this place alone, and short enough for a name
        self._prefix = hashlib.sha256(place.encode()).hexdigest()[:32] + "."
        self._lock = threading.Lock()
        self._file: IO[str] | None = None
        self._path = directory
        self._failed = False

    def begun(self, name: str, *, instead_of: str = "", **record: str) -> None:
        """Durably note what is *name*d so; call it as soon as the server may have it.

        *instead_of* is what it was noted as before its name was known.
        """
        self._write({"ended": instead_of, "begun": name, "record": record})

    def ended(self, name: str) -> None:
        """It is published or undone."""
        self._write({"ended": name})

    def sweep(self) -> None:
        """Undo what processes that are gone left; what fails stays for the next time."""
        try:
            paths = sorted(self._directory.glob(f"{self._prefix}*{self._suffix}"))
        except OSError:
            return
        for path in paths:
            self._sweep(path)

    def sweep_aside(self) -> None:
        """The same in a thread of its own: nobody waits for a server that is down."""
        threading.Thread(
            target=self._sweep_quietly, name=f"{self._kind}-sweep", daemon=True
        ).start()

    def close(self) -> None:
        """Let go of the file; with nothing open in it, it is removed."""
        with self._lock:
            if self._file is not None:
                if not _open_records(self._file):
                    self._path.unlink(missing_ok=True)
                self._file.close()
                self._file = None

    def _sweep_quietly(self) -> None:
        try:
            self.sweep()
        except OSError as exc:
            LOG.info("What an earlier storefs left could not be read: %s", exc)

    def _sweep(self, path: pathlib.Path) -> None:
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("r+") as journal:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
            undone = [self._undone(*item) for item in _open_records(journal).items()]
            if all(undone):
                path.unlink(missing_ok=True)

    def _undone(self, name: str, record: Record) -> bool:
        try:
            self._undo(record)
        except Exception as exc:  # noqa: BLE001 - one thing does not keep the others
            LOG.info("%s, left by an earlier storefs, could not be undone: %s", name, exc)
            return False
        LOG.info("Undid %s, which an earlier storefs left (%s)", name, self._kind)
        return True

    def _write(self, line: Mapping[str, object]) -> None:
        with self._lock:
            try:
                journal = self._opened()
                journal.seek(0, os.SEEK_END)
                journal.write(json.dumps(line) + "\n")
                journal.flush()
                os.fdatasync(journal.fileno())
            except OSError as exc:
                self._told(exc)

    def _opened(self) -> IO[str]:
        if self._file is None:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Made under another name: until it is locked a sweep must not find it.
            descriptor, name = tempfile.mkstemp(prefix="new-", dir=self._directory)
            journal = os.fdopen(descriptor, "r+")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._path = self._directory / f"{self._prefix}{pathlib.Path(name).name}{self._suffix}"
            pathlib.Path(name).rename(self._path)
            self._sync_directory()
            self._file = journal
        return self._file

    def _sync_directory(self) -> None:
        """Else a loss of power leaves the file under a name that no sweep looks at."""
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _told(self, exc: OSError) -> None:
        if not self._failed:
            self._failed = True
            LOG.info(
                "What is begun is not noted in %s (%s): what a crash leaves is not cleaned up",
                self._directory,
                exc.strerror,
            )


def _open_records(journal: IO[str]) -> dict[str, Record]:
    """Name -> record, of what has not ended. A line that was cut off is none."""
    journal.seek(0)
    records: dict[str, Record] = {}
    for text in journal:
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            records.pop(line.get("ended"), None)
            if "begun" in line:
                records[line["begun"]] = line["record"]
    return records
