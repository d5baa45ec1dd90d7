# SPDX-License-Identifier: Apache-2.0
"""``vsphere://host[:port]/folder/DIRECTORY/NAME?dcPath=..&dsName=..``: where an image is."""

import re
import urllib.parse

from storefs import exceptions
from storefs.drivers.vmware.names import image_of
from storefs.location import StoreLocation

SCHEMES = ("vsphere",)

#: What ends a URL early, and surrogates: bytes that are no UTF-8.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

#: A host and a port; an IPv6 address has brackets.
HOST = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\[\]:@/?#\s]+)(:(?P<port>\d{1,5}))?")

_ROOT = "folder"


class VmwareLocation(StoreLocation):
    """*netloc* is host and port, *directory* without slashes at its ends, *name* the file's.

    The driver finds an image by name in all its datastores, the one named here
    first, and then sets *datacenter* and *datastore* to where it is.
    """

    netloc = ""
    directory = ""
    name = ""
    datacenter = ""
    datastore = ""

    @property
    def image_id(self) -> str:
        return image_of(self.name) or self.name

    @property
    def host(self) -> str:
        match = HOST.fullmatch(self.netloc)
        return match["host"].lower() if match else ""

    def process_specs(self) -> None:
        self.scheme = SCHEMES[0]
        self.netloc = self.specs["netloc"]
        self.directory = self.specs["directory"]
        self.name = self.specs["name"]
        self.datacenter = self.specs["datacenter"]
        self.datastore = self.specs["datastore"]

    def get_uri(self) -> str:
        directory = urllib.parse.quote(f"/{self.directory}" if self.directory else "")
        name = urllib.parse.quote(self.name, safe="")
        query = urllib.parse.urlencode({"dcPath": self.datacenter, "dsName": self.datastore})
        return f"{SCHEMES[0]}://{self.netloc}/{_ROOT}{directory}/{name}?{query}"

    def parse_uri(self, uri: str) -> None:
        self.validate_schemas(uri, tuple(f"{scheme}://" for scheme in SCHEMES))
        if _FORBIDDEN.search(uri):
            raise _bad("it holds control characters or no UTF-8")
        netloc, slash, rest = uri.partition("://")[2].partition("/")
        path, _, query = rest.partition("?")
        if not HOST.fullmatch(netloc):
            raise _bad("it begins vsphere://host")
        self.scheme, self.netloc = SCHEMES[0], netloc
        self._parse_path(slash + path)
        self._parse_query(query)

    def _parse_path(self, path: str) -> None:
        try:
            parts = [urllib.parse.unquote(part, errors="strict") for part in path.split("/")]
        except UnicodeDecodeError as exc:
            raise _bad("its path is no UTF-8") from exc
        inner = parts[2:]
        escapes = {"", ".", ".."}.intersection(inner) or any("/" in part for part in inner)
        if parts[:2] != ["", _ROOT] or not inner or escapes or image_of(inner[-1]) is None:
            raise _bad("its path is /folder/DIRECTORY/NAME")
        self.directory, self.name = "/".join(inner[:-1]), inner[-1]

    def _parse_query(self, query: str) -> None:
        try:
            given = urllib.parse.parse_qs(query, strict_parsing=True, errors="strict")
        except ValueError as exc:
            raise _bad("it ends ?dcPath=..&dsName=..") from exc
        if given.keys() != {"dcPath", "dsName"} or any(
            len(values) > 1 for values in given.values()
        ):
            raise _bad("it ends ?dcPath=..&dsName=..")
        self.datacenter, self.datastore = given["dcPath"][0], given["dsName"][0]


def _bad(reason: str) -> exceptions.BadStoreUri:
    return exceptions.BadStoreUri(f"The vSphere location of the image is malformed: {reason}")
