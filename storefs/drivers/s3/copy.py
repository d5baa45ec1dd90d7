# SPDX-License-Identifier: Apache-2.0
"""Copies a server makes itself, of any size."""

import urllib.parse
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from storefs.drivers.journal import Journal
from storefs.drivers.s3 import tags as s3_tags
from storefs.drivers.s3.client import Query, S3Client, parsed
from storefs.drivers.s3.uploads import abort, begin, completion

#: From this size on a copy is made in parts of it, bytes: S3 copies 5 GiB in one request,
#: which no time-out is long enough for.
COPY_PART = 512 * 1024 * 1024

#: How many parts the server copies at once.
_LANES = 4


def copy_object(
    client: S3Client, journal: Journal, source: str, target: str, etag: str, size: int
) -> None:
    """Make *target* what *source* is, tags included; published as a whole.

    *etag* (quoted) and *size* are those of *source*; `Duplicate` if it has changed.
    """
    quoted = urllib.parse.quote(f"/{client.bucket}/{source}", safe="/-_.~")
    headers = {"x-amz-copy-source": quoted, "x-amz-copy-source-if-match": etag}
    if size <= COPY_PART:
        client.call("PUT", target, headers=headers)
    else:
        _copy_parts(client, journal, target, headers, size)
        s3_tags.write_tags(client, target, s3_tags.read_tags(client, source))


def _copy_parts(
    client: S3Client, journal: Journal, target: str, headers: Mapping[str, str], size: int
) -> None:
    upload = begin(client, journal, target)
    length = max(COPY_PART, -(-size // 10_000))

    def copy_part(number: int) -> str:
        start = (number - 1) * length
        ranged = f"bytes={start}-{min(start + length, size) - 1}"
        query: Query = {"partNumber": number, "uploadId": upload}
        part_headers = {**headers, "x-amz-copy-source-range": ranged}
        return parsed(client.call("PUT", target, query, part_headers)).findtext("ETag", "")

    try:
        with ThreadPoolExecutor(_LANES) as pool:
            etags = list(pool.map(copy_part, range(1, -(-size // length) + 1)))
        client.call("POST", target, {"uploadId": upload}, body=completion(etags))
    except BaseException:
        abort(client, target, upload)
        journal.ended(upload)
        raise
    journal.ended(upload)
