# SPDX-License-Identifier: Apache-2.0
"""The objects of a bucket, page by page: a thousand a request, none asked for by itself."""

import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from storefs.drivers.base import ImageInfo
from storefs.drivers.mtimes import Mtimes, parse_iso
from storefs.drivers.s3.client import S3Client, parsed


def list_images(client: S3Client, mtimes: Mtimes) -> Iterator[ImageInfo]:
    """Every object, those whose keys hold a ``/`` included; one page in memory."""
    query: dict[str, str | int] = {"list-type": 2, "encoding-type": "url"}
    while True:
        page = parsed(client.call("GET", query=query))
        quoted = page.findtext("EncodingType") == "url"  # not every server does as asked
        for item in page.iterfind("Contents"):
            key = item.findtext("Key", "")
            yield _info(urllib.parse.unquote_plus(key) if quoted else key, item, mtimes)
        token = page.findtext("NextContinuationToken", "")
        if page.findtext("IsTruncated") != "true" or not token:
            return
        query["continuation-token"] = token


def _info(key: str, item: ET.Element, mtimes: Mtimes) -> ImageInfo:
    version = item.findtext("ETag", "").strip('"')
    mtime_ns = mtimes.of(key, version) or parse_iso(item.findtext("LastModified", ""))
    return ImageInfo(key, int(item.findtext("Size", "0")), version, mtime_ns)
