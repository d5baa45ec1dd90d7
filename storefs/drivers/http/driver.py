# SPDX-License-Identifier: Apache-2.0
"""Images on any web server, read in place: a read-only store.

HTTP has no listing, so names come from a catalogue (`http_store_catalog`, or
one of our own in the state directory, which `register` writes), and a
percent-encoded URL is a name by itself. REQUESTS_CA_BUNDLE, http_proxy and the
like in the environment are not looked at: the options say it all.
"""

import pathlib
import urllib.parse
from collections.abc import Iterator

from oslo_config import cfg

from storefs import exceptions
from storefs.drivers.base import (
    Driver,
    ImageInfo,
    Options,
    SupportsList,
    SupportsRegister,
    check_image_id,
)
from storefs.drivers.http.catalog import Catalog
from storefs.drivers.http.listing import Listing
from storefs.drivers.http.location import NOWHERE, HttpLocation
from storefs.drivers.http_answer import retried
from storefs.drivers.http_pool import HttpSettings
from storefs.drivers.http_transport import Origin, Transport
from storefs.drivers.ranged_http import RangedHttp, Validators, pinned_by, probe
from storefs.drivers.state import state_directory

#: How servers refuse HEAD; signed URLs answer 403 to all but the method they are for.
_HEAD_REFUSED = frozenset({400, 403, 405, 501})


class HttpDriver(Driver[HttpLocation], SupportsList, SupportsRegister):
    """Names for URLs, and ranged reads of what is there."""

    SCHEMES = ("http", "https")
    LOCATION = HttpLocation
    OPTIONS = (
        cfg.StrOpt(
            "https_ca_certificates_file",
            help="A file with the certificates of the authorities that are trusted, in PEM, "
            "instead of the system's. With it certificates are verified whatever "
            "https_insecure says.",
        ),
        cfg.BoolOpt(
            "https_insecure",
            default=False,
            help="Do not verify servers' certificates, and follow redirects from https to http. "
            "Glance's default is true; here a server is verified unless told otherwise.",
        ),
        cfg.DictOpt(
            "http_proxy_information",
            default={},
            help="The proxy for each scheme of an image's URL, as scheme:proxy pairs: "
            "`http:10.0.0.1:3128, https:http://user:password@proxy:3128`. The environment's "
            "proxies are not used.",
        ),
        cfg.FloatOpt(
            "http_store_connect_timeout",
            default=10.0,
            min=0.001,
            help="How many seconds a server may take to accept a connection.",
        ),
        cfg.FloatOpt(
            "http_store_read_timeout",
            default=60.0,
            min=0.001,
            help="How many seconds may pass without data; a server that sends less than "
            "16 KiB in this time counts as one that sends nothing.",
        ),
        cfg.IntOpt(
            "http_store_max_redirects",
            default=5,
            min=0,
            help="How many redirects lead to an image at most.",
        ),
        cfg.StrOpt(
            "http_store_catalog",
            help="A file of `name = URL` lines: the names of the store's images. It is read "
            "again when it has changed, and `ln -s URL MOUNT/STORE/NAME` adds to it. Default: "
            "STORE.catalog in /var/lib/storefs, or in ~/.local/state/storefs for other users "
            "than root.",
        ),
        cfg.IntOpt(
            "http_store_max_connections",
            default=8,
            min=1,
            help="How many requests for one open image are under way at once, and how many "
            "idle connections to a server are kept.",
        ),
    )

    def __init__(self, options: Options, store_id: str) -> None:
        super().__init__(options, store_id)
        self._transport = self._connected()
        self._catalog = Catalog(self._catalog_path(), self._parsed)
        self._listing = Listing(self._stat, options.http_store_max_connections)

    @property
    def url_prefix(self) -> str:
        """Glance's: of both schemes."""
        return "http"

    @property
    def writable(self) -> str | None:
        return "http stores are read-only: images are put on the web server by other means"

    def locate(self, image_id: str) -> HttpLocation:
        """The URL the catalogue has for it, or the one that the name encodes.

        Neither: a location at which nothing is found.
        """
        check_image_id(image_id)
        url = self._catalog.urls().get(image_id)
        if url is not None:
            return self._parsed(url, image_id)
        url = urllib.parse.unquote(image_id)
        if not url.startswith(("http://", "https://")):
            return HttpLocation.nowhere(image_id)
        return self._parsed_name(url, image_id)

    def stat(self, location: HttpLocation) -> ImageInfo:
        return self._stat(location)

    def open(self, location: HttpLocation) -> RangedHttp:
        return RangedHttp.open(self._transport, self._origin(location), self._name(location))

    def list(self) -> Iterator[ImageInfo]:
        """The catalogue's names; size None where a server does not tell in time."""
        urls = self._catalog.urls()
        return self._listing.infos(self._parsed(url, name) for name, url in urls.items())

    def register(self, image_id: str, uri: str) -> None:
        self._catalog.add(image_id, uri)

    def unregister(self, image_id: str) -> None:
        self._catalog.remove(image_id)

    def close(self) -> None:
        self._listing.close()
        self._transport.close()

    def _stat(self, location: HttpLocation, patience: float | None = None) -> ImageInfo:
        """By HEAD, or where that tells too little, as `open` does it."""
        origin = self._origin(location)
        found = retried(lambda: self._head(origin, patience))
        if found.size:
            return found.info(self._name(location))
        # A length of 0 is also what some servers say to any HEAD.
        answer = probe(self._transport, origin, patience)
        answer.discard()
        return pinned_by(answer).info(self._name(location))

    def _head(self, origin: Origin, patience: float | None) -> Validators:
        """What HEAD tells; no size where it is refused."""
        answer = self._transport.send("HEAD", origin, patience=patience)
        answer.discard()
        if answer.status in _HEAD_REFUSED:
            return Validators()
        if answer.status != 200:
            raise answer.refusal()
        return Validators.of(answer)

    def _origin(self, location: HttpLocation) -> Origin:
        """Where the image is now: what a name stands for may have changed since `locate`."""
        if location.image_id:
            location = self.locate(location.image_id)
        if location.netloc == NOWHERE:
            raise exceptions.NotFound(image=location.image_id)
        return Origin(location.get_uri())

    def _name(self, location: HttpLocation) -> str:
        """What the store calls it: a name that leads back to it, without credentials."""
        if location.image_id:
            return location.image_id
        url = location.get_uri()
        named = (name for name, other in self._catalog.urls().items() if other == url)
        return next(named, urllib.parse.quote(location.safe_uri(), safe=""))

    def _parsed(self, url: str, image_id: str = "") -> HttpLocation:
        location = HttpLocation(None)
        location.image_id = image_id
        location.parse_uri(url)
        return location

    def _parsed_name(self, url: str, image_id: str) -> HttpLocation:
        try:
            location = self._parsed(url, image_id)
        except exceptions.BadStoreUri as exc:
            raise exceptions.Invalid(exc.msg) from exc
        if location.user is not None:
            raise exceptions.Invalid(
                "A name is seen by everyone: put a URL with credentials into the catalogue instead"
            )
        return location

    def _connected(self) -> Transport:
        options = self.options
        settings = HttpSettings(
            connect_timeout=options.http_store_connect_timeout,
            read_timeout=options.http_store_read_timeout,
            max_redirects=options.http_store_max_redirects,
            max_connections=options.http_store_max_connections,
            ca_file=options.https_ca_certificates_file,
            insecure=options.https_insecure,
            proxies=self._proxies(),
            tls_hint=": name its authority in https_ca_certificates_file",
            proxy_hint=": see http_proxy_information",
        )
        try:
            return Transport(settings)
        except OSError as exc:
            raise self._bad("https_ca_certificates_file", exc.strerror or exc) from exc
        except ValueError as exc:
            raise self._bad("http_proxy_information", exc) from exc

    def _proxies(self) -> dict[str, str]:
        proxies: dict[str, str] = self.options.http_proxy_information
        unknown = sorted(set(proxies) - set(self.SCHEMES))
        if unknown:
            raise self._bad("http_proxy_information", f"{unknown[0]} is neither http nor https")
        return proxies

    def _catalog_path(self) -> pathlib.Path:
        configured = self.options.http_store_catalog
        if not configured:
            return state_directory() / f"{self.store_id}.catalog"
        path = pathlib.Path(configured)
        if not path.parent.is_dir():
            raise self._bad("http_store_catalog", f"there is no directory {path.parent}")
        return path

    def _bad(self, option: str, reason: object) -> exceptions.BadStoreConfiguration:
        return exceptions.BadStoreConfiguration(
            store_name=self.store_id, reason=f"{option}: {reason}"
        )
