# SPDX-License-Identifier: Apache-2.0
"""Multipart uploads: their journal, their end, what is said of them.

S3 keeps the parts of an upload nobody ends for ever, and bills them.
"""

import datetime
import pathlib
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

from storefs import exceptions
from storefs.drivers.journal import Journal, Record
from storefs.drivers.s3.client import Reply, S3Client, parsed

#: How far the server's clock may be from ours, seconds: S3 refuses requests beyond.
_CLOCK_SKEW = 900


def upload_journal(directory: pathlib.Path, client: S3Client) -> Journal:
    """The uploads of this process to one bucket."""
    return Journal(directory, "s3-uploads", client.url(), lambda record: _undo(client, record))


def begin(
    client: S3Client, journal: Journal, key: str, headers: Mapping[str, str] | None = None
) -> str:
    """Begin an upload to *key*; its name, which is on paper.

    Before the server names it, it is noted by its key: an answer may get lost, and
    who waits for it be killed.
    """
    intent = f"{key} {time.time_ns()}"
    journal.begun(intent, key=key, since=str(time.time()))
    upload = upload_id(client.call("POST", key, {"uploads": ""}, headers))
    journal.begun(upload, instead_of=intent, key=key, upload=upload)
    return upload


def _undo(client: S3Client, record: Record) -> None:
    if "upload" in record:
        abort(client, record["key"], record["upload"])
        return
    since = float(record["since"]) - _CLOCK_SKEW
    for upload in _uploads_of(client, record["key"], since):
        if not _has_parts(client, record["key"], upload):
            abort(client, record["key"], upload)


def _uploads_of(client: S3Client, key: str, since: float) -> list[str]:
    """The uploads to *key* that began after *since*, seconds from the epoch."""
    page = parsed(client.call("GET", query={"uploads": "", "prefix": key}))
    return [
        upload.findtext("UploadId", "")
        for upload in page.findall("Upload")
        if upload.findtext("Key") == key and _seconds(upload.findtext("Initiated", "")) >= since
    ]


def _has_parts(client: S3Client, key: str, upload: str) -> bool:
    """Does it hold parts? Ours did not: its name has to be known to send one."""
    page = parsed(client.call("GET", key, {"uploadId": upload}))
    return page.find("Part") is not None


def _seconds(moment: str) -> float:
    return datetime.datetime.fromisoformat(moment).timestamp()


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
