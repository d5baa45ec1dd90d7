# SPDX-License-Identifier: Apache-2.0
"""Uploads that were begun, on paper: what a killed storefs leaves is found and ended.

S3 keeps the parts of an upload nobody ends for ever, and bills them; and it
does not say whose it is. So each process writes the uploads it begins into a
file of its own, which it holds locked. A file nobody holds belongs to a process
that is gone: its uploads are ended, and no others - those of other hosts, of
other programs and of processes that run are never touched.
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
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import IO

from storefs import exceptions
from storefs.drivers.s3_client import Reply, S3Client, parsed

LOG = logging.getLogger(__name__)

_SUFFIX = ".s3-uploads"


class UploadJournal:
    """The uploads of this process to one bucket. *directory* is made when it is needed.

    Where it cannot be written uploads go on without, and the log says so once.
    """

    def __init__(self, directory: pathlib.Path, client: S3Client) -> None:
        self._directory = directory
        self._client = client
        # of this bucket alone, and short enough for a name
        self._prefix = hashlib.sha256(client.url().encode()).hexdigest()[:32] + "."
        self._lock = threading.Lock()
        self._file: IO[str] | None = None
        self._path = directory
        self._failed = False

    def begun(self, key: str, upload_id: str) -> None:
        """Durably note an upload."""
        self._write({"key": key, "upload": upload_id})

    def ended(self, upload_id: str) -> None:
        """It is published or aborted."""
        self._write({"ended": upload_id})

    def sweep(self) -> None:
        """End the uploads of processes that are gone; what fails stays for the next time."""
        try:
            paths = sorted(self._directory.glob("*" + _SUFFIX))
        except OSError:
            return
        for path in paths:
            if path.name.startswith(self._prefix):
                self._sweep(path)

    def sweep_aside(self) -> None:
        """The same in a thread of its own: nobody waits for a server that is down."""
        threading.Thread(target=self._sweep_quietly, name="s3-sweep", daemon=True).start()

    def close(self) -> None:
        """Let go of the file; without open uploads it is removed."""
        with self._lock:
            if self._file is not None:
                if not _open_uploads(self._file):
                    self._path.unlink(missing_ok=True)
                self._file.close()
                self._file = None

    def _sweep_quietly(self) -> None:
        try:
            self.sweep()
        except Exception as exc:  # noqa: BLE001 - it is for the next start then
            LOG.info("Uploads left by an earlier storefs could not be ended: %s", exc)

    def _sweep(self, path: pathlib.Path) -> None:
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("r+") as journal:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for upload_id, key in _open_uploads(journal).items():
                abort(self._client, key, upload_id)
                LOG.info("Ended the upload of %s that an earlier storefs left", key)
            path.unlink(missing_ok=True)

    def _write(self, record: dict[str, str]) -> None:
        with self._lock:
            try:
                journal = self._opened()
                journal.seek(0, os.SEEK_END)
                journal.write(json.dumps(record) + "\n")
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
            self._path = self._directory / f"{self._prefix}{pathlib.Path(name).name}{_SUFFIX}"
            pathlib.Path(name).rename(self._path)
            self._file = journal
        return self._file

    def _told(self, exc: OSError) -> None:
        if not self._failed:
            self._failed = True
            LOG.info(
                "Uploads are not noted in %s (%s): what a crash leaves is not cleaned up",
                self._directory,
                exc.strerror,
            )


def abort(client: S3Client, key: str, upload_id: str) -> None:
    """End the upload; one that is gone is right as well."""
    try:
        client.call("DELETE", key, {"uploadId": upload_id})
    except exceptions.NotFound:
        pass
    except exceptions.RemoteServiceUnavailable as exc:
        if "NoSuchUpload" not in exc.msg:
            raise


def upload_id(reply: Reply) -> str:
    """The name of the upload that was just begun."""
    name = parsed(reply).findtext("UploadId", "")
    if not name:
        raise exceptions.RemoteServiceUnavailable("The server began an upload and did not name it")
    return name


def completion(etags: Sequence[str]) -> bytes:
    """The body that completes an upload of parts with *etags*, in order from 1."""
    root = ET.Element("CompleteMultipartUpload")
    for number, etag in enumerate(etags, 1):
        part = ET.SubElement(root, "Part")
        ET.SubElement(part, "PartNumber").text = str(number)
        ET.SubElement(part, "ETag").text = etag
    return ET.tostring(root)


def _open_uploads(journal: IO[str]) -> dict[str, str]:
    """Upload -> key, of those not ended. A line that was cut off is none."""
    journal.seek(0)
    uploads: dict[str, str] = {}
    for line in journal:
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if "ended" in record:
                uploads.pop(record["ended"], None)
            else:
                uploads[record["upload"]] = record["key"]
    return uploads
