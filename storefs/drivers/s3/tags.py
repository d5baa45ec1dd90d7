# SPDX-License-Identifier: Apache-2.0
"""An image's properties as tags of its object, so that every host and program sees them."""

import base64
import hashlib
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Mapping

from storefs import exceptions
from storefs.drivers.base import mtime_property
from storefs.drivers.s3.client import S3Client, parsed

#: Tags of ours begin so: an object has ten tags at most, and others use them, too.
PREFIX = "storefs."


def tags_of(properties: Mapping[str, str]) -> dict[str, str]:
    return {PREFIX + name: value for name, value in properties.items()}


def properties_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Those of *tags* that are ours."""
    return {n.removeprefix(PREFIX): v for n, v in tags.items() if n.startswith(PREFIX)}


def header(properties: Mapping[str, str]) -> str:
    """The value of ``x-amz-tagging``."""
    return urllib.parse.urlencode(tags_of(properties), quote_via=urllib.parse.quote)


def read_tags(client: S3Client, key: str) -> dict[str, str]:
    """All tags of the object; `NotFound`."""
    root = parsed(client.call("GET", key, {"tagging": ""}))
    return {tag.findtext("Key", ""): tag.findtext("Value", "") for tag in root.iter("Tag")}


def read_mtime(client: S3Client, key: str, default: int) -> int:
    """The mtime the object was given; *default* without, or where tags may not be read."""
    try:
        return mtime_property(properties_of(read_tags(client, key)), default)
    except (exceptions.Forbidden, exceptions.Invalid):
        return default


def write_tags(client: S3Client, key: str, tags: Mapping[str, str]) -> None:
    """Make *tags* all the tags of the object; `NotFound`."""
    root = ET.Element("Tagging")
    tag_set = ET.SubElement(root, "TagSet")
    for name, value in tags.items():
        tag = ET.SubElement(tag_set, "Tag")
        ET.SubElement(tag, "Key").text = name
        ET.SubElement(tag, "Value").text = value
    send_xml(client, "PUT", key, {"tagging": ""}, root)


def send_xml(
    client: S3Client, method: str, key: str, query: Mapping[str, str], root: ET.Element
) -> None:
    """A request whose body is XML; S3 wants its MD5."""
    body = ET.tostring(root)
    client.call(method, key, query, md5_header(body), body)


def md5_header(body: bytes) -> dict[str, str]:
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    return {"Content-MD5": base64.b64encode(digest).decode()}


def check(properties: Mapping[str, str]) -> None:
    """`Invalid` for what no tag can hold."""
    for name, value in properties.items():
        if len(PREFIX + name) > 128 or len(value) > 256:
            raise exceptions.Invalid(
                f"{name} is too long: S3 keeps names of 128 and values of 256 characters"
            )
