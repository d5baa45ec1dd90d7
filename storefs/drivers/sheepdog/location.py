# SPDX-License-Identifier: Apache-2.0
"""``sheepdog://address:port:image``: where an image is in a cluster."""

import re
import urllib.parse

from storefs import exceptions
from storefs.drivers.base import check_image_id
from storefs.drivers.sheepdog.connection import Gateway
from storefs.drivers.sheepdog.inode import bytes_of
from storefs.drivers.sheepdog.names import HIDDEN_PREFIX
from storefs.drivers.sheepdog.wire import NAME_FIELD
from storefs.location import StoreLocation

PREFIX = "sheepdog://"

_URI = re.compile(
    r"(?:(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\[\]:/@\s]+):(?P<port>[0-9]{1,5}):)?(?P<image>[^:/\s]+)"
)

#: ``host``, ``host:port``, an IPv6 address with or without brackets
_ADDRESS = re.compile(
    r"(?P<bare>[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.%\w]*)"
    r"|(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:/@\s]+)(?::(?P<port>[0-9]{1,5}))?"
)


class SheepdogLocation(StoreLocation):
    """*vdi* is the name of the VDI. *gateway* is None in URIs of the old form: the store's own."""

    gateway: Gateway | None = None
    vdi = ""

    def process_specs(self) -> None:
        self.scheme = "sheepdog"
        self.gateway = self.specs.get("gateway")
        self.vdi = self.specs["image"]

    def get_uri(self) -> str:
        image = urllib.parse.quote(bytes_of(self.vdi), safe="")
        return f"{prefix_of(self.gateway)}{image}"

    def parse_uri(self, uri: str) -> None:
        self.validate_schemas(uri, (PREFIX,))
        match = _URI.fullmatch(uri.removeprefix(PREFIX))
        if match is None:
            raise _bad("it is written sheepdog://address:port:image or sheepdog://image")
        image = urllib.parse.unquote(match["image"], errors="surrogateescape")
        try:
            check_name(image)
        except exceptions.Invalid as exc:
            raise _bad("its last part cannot name an image") from exc
        self.scheme, self.vdi = "sheepdog", image
        self.gateway = _gateway(match["host"], match["port"]) if match["host"] else None


def prefix_of(gateway: Gateway | None) -> str:
    """What the URIs of images begin with that are reached there."""
    return PREFIX if gateway is None else f"{PREFIX}{gateway}:"


def check_name(image_id: str) -> None:
    """`Invalid` for what cannot be the name of a VDI, or is one of storefs' own."""
    check_image_id(image_id)
    try:
        name = bytes_of(image_id)
    except UnicodeEncodeError as exc:
        raise exceptions.Invalid(f"{image_id!r} cannot be encoded") from exc
    if len(name) >= NAME_FIELD:
        raise exceptions.Invalid(f"Names in Sheepdog have {NAME_FIELD - 1} bytes at most")
    if name.startswith(HIDDEN_PREFIX):
        raise exceptions.Invalid(f"Names that begin with {HIDDEN_PREFIX.decode()} are storefs' own")


def gateways_of(addresses: str, port: int) -> list[Gateway]:
    """From ``a, b:7001, [::1]:7002``; *port* where there is none. ValueError says what is wrong."""
    found = []
    for text in filter(None, (part.strip() for part in addresses.split(","))):
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no address: host, host:port, [IPv6]:port")
        host = match["bare"] or match["host"].strip("[]")
        found.append(Gateway(host, _port(match["port"]) if match["port"] else port))
    if not found:
        raise ValueError("it is empty")
    return found


def _gateway(host: str, port: str) -> Gateway:
    try:
        return Gateway(host.strip("[]"), _port(port))
    except ValueError as exc:
        raise _bad(str(exc)) from exc


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 1 << 16:
        raise ValueError(f"{text} is no port")
    return port


def _bad(reason: str) -> exceptions.BadStoreUri:
    return exceptions.BadStoreUri(f"The Sheepdog location of the image is malformed: {reason}")
