# SPDX-License-Identifier: Apache-2.0
"""A store: one driver, and everything that is the same for all drivers.

`Store` is what Glance calls (configure, get, add, delete, ...) and what the
mount is built on (locate, begin, publish, supports, driver). A store never
fails the others: whatever goes wrong while it is configured becomes its state.
"""

import contextlib
import dataclasses
import functools
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from storefs import capabilities, exceptions, store_options
from storefs.capabilities import BitMasks
from storefs.drivers import base
from storefs.image_iterator import READ_CHUNKSIZE, ImageIterator
from storefs.location import StoreLocation
from storefs.upload import DEFAULT_ALGORITHM, Digest, Upload, UploadResult, new_digest

LOG = logging.getLogger(__name__)

STORE_OPTIONS = store_options.STORE_OPTIONS

#: What a read-only store does not support, whatever its driver can do.
_WRITES: tuple[type, ...] = (
    base.SupportsAdd,
    base.SupportsDelete,
    base.SupportsRename,
    base.SupportsCopy,
)


@dataclasses.dataclass(frozen=True, slots=True)
class StoreState:
    """*name* is ``ready``, ``read-only`` or ``broken``; *reason* is for people."""

    name: str
    reason: str = ""


class AddResult(NamedTuple):
    """What Glance keeps of an image it added; hashes in hex."""

    url: str
    size: int
    checksum: str
    multihash: str
    metadata: dict[str, Any]


class OpaqueLocation(StoreLocation):
    """A location of a store whose driver could not be loaded: kept as it is."""

    uri = ""

    def get_uri(self) -> str:
        return self.uri

    def parse_uri(self, uri: str) -> None:
        self.uri = uri

    def safe_uri(self) -> str:
        return f"{self.uri.partition(':')[0]}:..."


def back_compat_add(add: Callable[..., Any]) -> Callable[..., Any]:
    """Let callers leave *hashing_algo* out, and drop the multihash for them.

    It is there if it is named, if a string stands in its place, or if every
    argument is given; md5 stands in for it otherwise (Glance before Rocky).
    """

    @functools.wraps(add)
    def add_adapter(*args: Any, **kwargs: Any) -> Any:
        given = len(args) == 7 or (len(args) > 4 and isinstance(args[4], str))
        if given or "hashing_algo" in kwargs:
            return add(*args, **kwargs)
        if len(args) < 4:  # an image_... argument goes by keyword, so this one must
            result = add(*args, hashing_algo="md5", **kwargs)
        else:
            result = add(*args[:4], "md5", *args[4:], **kwargs)
        return (*result[:3], *result[4:])

    return add_adapter


class Store(capabilities.StoreCapability):
    """One configured backend, under Glance's constructor and method names.

    *backend* is the store's identifier and names its group of options; without
    one the group is [glance_store]. A subclass may set `driver_class` instead
    of passing it.
    """

    driver_class: type[base.Driver[Any]] | None = None

    OPTIONS: ClassVar[Sequence[Any] | None] = None
    MULTI_BACKEND_OPTIONS: ClassVar[Sequence[Any] | None] = None
    READ_CHUNKSIZE = READ_CHUNKSIZE
    WRITE_CHUNKSIZE = READ_CHUNKSIZE

    #: what enabled_backends calls it
    store_type: str = ""
    #: for the service's own use, like the staging store; never shown
    reserved: bool = False
    #: where it stands among the configured stores
    position: int = 0

    def __init__(
        self,
        conf: Any,
        backend: str | None = None,
        driver_class: type[base.Driver[Any]] | None = None,
    ) -> None:
        super().__init__()
        self.conf = conf
        self.backend_group = backend
        self.driver_class = driver_class or self.driver_class
        if self.driver_class is not None:
            self._capabilities = _mask(lambda protocol: issubclass(self._class, protocol))
        self.options = store_options.StoreOptions({})
        self._driver: base.Driver[Any] | None = None
        self._state: StoreState | None = None
        self._supported: dict[Any, bool] = {}
        self.register_options()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.store_id}>"

    # -- configuration ---------------------------------------------------------

    @property
    def store_id(self) -> str:
        """The identifier, or the name of the single store's group."""
        return self.backend_group or store_options.SINGLE_STORE_GROUP

    @property
    def _class(self) -> type[base.Driver[Any]]:
        assert self.driver_class is not None
        return self.driver_class

    def _options(self) -> list[Any]:
        own = self.driver_class.OPTIONS if self.driver_class else self.OPTIONS
        return [*(own or ()), *STORE_OPTIONS]

    def register_options(self) -> None:
        """Make the options known in the store's group and in [backend_defaults]."""
        store_options.register(self.conf, self._options(), self.store_id)
        if self.backend_group:
            store_options.register(self.conf, self._options(), store_options.DEFAULTS_GROUP)

    def configure(self, re_raise_bsc: bool = False) -> None:
        """Resolve the options and start the driver; what fails becomes the state.

        A `BadStoreConfiguration` of `configure_add` leaves the store readable.
        With *re_raise_bsc* whatever failed is raised as `BadStoreConfiguration`
        as well.
        """
        self._stop()
        self._state = None
        self._supported.clear()
        try:
            self._start()
        except Exception as exc:  # noqa: BLE001 - one store never stops the others
            self.fail(self.options.scrub(explain(exc, self.store_type)))
        with contextlib.suppress(Exception):
            self.update_capabilities()
        if re_raise_bsc and self.state.reason and self.state.name != "ready":
            self._raise(self.state.reason)

    def _start(self) -> None:
        self.options, faults = store_options.resolve(self.conf, self._options(), self.store_id)
        if faults:
            raise exceptions.BadStoreConfiguration("; ".join(faults))
        if self.driver_class is not None:
            self._driver = self.driver_class(self.options, self.store_id)
        self._state = self._writability()
        try:
            self.configure_add()
        except exceptions.BadStoreConfiguration as exc:
            self._state = StoreState("read-only", explain(exc))
            LOG.warning("Store %s is read-only: %s", self.store_id, self._state.reason)
        if self._driver is not None:
            self._capabilities = _mask(self.supports)
        elif self._state.name == "read-only":
            self.unset_capabilities(BitMasks.WRITE_ACCESS)

    def _writability(self) -> StoreState:
        if self.options.read_only:
            return StoreState("read-only", "read_only is set")
        if self._driver is None:
            return StoreState("ready")
        if reason := self._driver.writable:
            return StoreState("read-only", reason)
        if not isinstance(self._driver, base.SupportsAdd):
            return StoreState("read-only", "images cannot be added to a store of this type")
        return StoreState("ready")

    def configure_add(self) -> None:
        """For a subclass: what only adding needs; `BadStoreConfiguration` disables it."""

    def fail(self, reason: str) -> None:
        """Mark the store broken: every operation raises with *reason* from now on."""
        self._stop()
        self._state = StoreState("broken", reason)
        self._supported.clear()
        self._capabilities = int(BitMasks.NONE)
        LOG.warning("Store %s is broken: %s", self.store_id, reason)

    def close(self) -> None:
        """Let go of the driver; no operation succeeds afterwards."""
        self._stop()
        if self.state.name != "broken":
            self._state = StoreState("broken", "the store was closed")
        self._supported.clear()

    def _stop(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            try:
                driver.close()
            except Exception as exc:  # noqa: BLE001 - it is of no use any more
                LOG.warning("Store %s could not be closed: %s", self.store_id, explain(exc))

    # -- what it is ------------------------------------------------------------

    @property
    def state(self) -> StoreState:
        if self._state is None:
            self.configure()
        assert self._state is not None
        return self._state

    @property
    def refusal(self) -> str | None:  # type: ignore[override]
        reason = self.state.reason
        return f"Store {self.store_id} is read-only: {reason}" if reason else None

    def require_usable(self) -> None:
        """Raise `BadStoreConfiguration` with the reason if the store is broken."""
        if self.state.name == "broken":
            self._raise(self.state.reason)

    def _raise(self, reason: str) -> None:
        raise exceptions.BadStoreConfiguration(store_name=self.store_id, reason=reason)

    @property
    def driver(self) -> base.Driver[Any]:
        """The driver; raises `BadStoreConfiguration` with the reason if there is none."""
        self.require_usable()
        if self._driver is None:
            self._raise("its class has no driver, so it serves Glance's functions only")
        assert self._driver is not None
        return self._driver

    def supports(self, protocol: Any) -> bool:
        """Whether the driver implements *protocol* and the state allows its use.

        Names for images that live elsewhere (`SupportsRegister`) do not change
        the backend: only ``read_only = true`` forbids them.
        """
        if protocol not in self._supported:
            self._supported[protocol] = self._allows(protocol)
        return self._supported[protocol]

    def _allows(self, protocol: Any) -> bool:
        if self.state.name == "broken" or not isinstance(self._driver, protocol):
            return False
        if protocol is base.SupportsRegister:
            return not self.options.read_only
        return self.state.name == "ready" or protocol not in _WRITES

    @property
    def weight(self) -> int:
        return int(self._option("weight") or 0)

    @property
    def description(self) -> str | None:
        text: str | None = self._option("store_description")
        return text

    def _option(self, name: str) -> Any:
        """An option every store has; None if its value is what is broken."""
        if self._state is None:
            self.configure()
        return getattr(self.options, name, None)

    @property
    def url_prefix(self) -> str | None:
        """What every location URI of this store begins with; None when broken."""
        return self.driver.url_prefix if self.state.name != "broken" and self._driver else None

    def get_schemes(self) -> tuple[str, ...]:
        return tuple(self.driver_class.SCHEMES) if self.driver_class else ()

    def get_store_location_class(self) -> type[StoreLocation]:
        if self.driver_class is not None:
            return self.driver_class.LOCATION
        module = sys.modules[type(self).__module__]
        return getattr(module, "StoreLocation", OpaqueLocation)

    # -- images ----------------------------------------------------------------

    def locate(self, image_id: str) -> StoreLocation:
        """Where the store keeps, or would keep, the image; `Invalid` for a bad name."""
        location: StoreLocation = self.driver.locate(image_id)
        return location

    def begin(
        self,
        location: StoreLocation,
        size: int | None = None,
        algorithm: str = DEFAULT_ALGORITHM,
        *,
        replace: bool = False,
        verifier: Digest | None = None,
    ) -> Upload:
        """Begin an image of *size* bytes (None: unknown) at *location*.

        Raises, in this order, `UnknownHashingAlgo`, `StoreAddDisabled` and,
        unless *replace*, `Duplicate`.
        """
        new_digest(algorithm)
        driver = self.driver
        if not self.supports(base.SupportsAdd):
            raise exceptions.StoreAddDisabled(self.refusal)
        assert isinstance(driver, base.SupportsAdd)
        writer = driver.create(location, size, replace=replace)
        return Upload(writer, size, algorithm, verifier)

    def publish(
        self,
        upload: Upload,
        location: StoreLocation,
        properties: Mapping[str, str] | None = None,
    ) -> UploadResult:
        """Publish what was uploaded, with its hashes and *properties* kept beside it.

        The upload is aborted if this raises. Properties the store could not
        keep are logged: the image is not lost for them.
        """
        with self.aborting(upload):
            result, staged = upload.finish(properties)
        if not staged and self.supports(base.SupportsProperties):
            try:
                kept = {**result.properties(), **(properties or {})}
                self.driver.set_properties(location, kept)  # type: ignore[attr-defined]
            except Exception as exc:  # noqa: BLE001 - the image is published
                LOG.warning(
                    "Store %s did not keep the hashes of %s: %s; the image itself is complete",
                    self.store_id,
                    location.safe_uri(),
                    explain(exc),
                )
        return result

    @contextlib.contextmanager
    def aborting(self, upload: Upload) -> Iterator[None]:
        """Abort *upload* if the block raises anything at all."""
        try:
            yield
        except BaseException:
            try:
                upload.abort()
            except Exception as exc:  # noqa: BLE001 - the first error is the one to tell
                LOG.warning("Store %s could not clean up: %s", self.store_id, explain(exc))
            raise

    @back_compat_add
    @capabilities.check
    def add(
        self,
        image_id: str,
        image_file: Any,
        image_size: int | None,
        hashing_algo: str,
        context: Any = None,
        verifier: Digest | None = None,
    ) -> AddResult:
        """Store an image whole; *image_size* 0 or None means unknown.

        *image_file* has ``read(n)`` or iterates over bytes. Whatever fails,
        nothing is left behind. `Invalid` if the size is not what was announced.
        """
        location = self.locate(image_id)
        upload = self.begin(location, image_size or None, hashing_algo, verifier=verifier)
        with self.aborting(upload):
            upload.feed(image_file)
            metadata = self._metadata(location)
        result = self.publish(upload, location)
        return AddResult(
            location.get_uri(), result.size, result.checksum, result.multihash, metadata
        )

    def _metadata(self, location: StoreLocation) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        if isinstance(self.driver, base.SupportsLocationMetadata):
            metadata.update(self.driver.location_metadata(location))
        if self.backend_group:
            metadata["store"] = self.backend_group
        return metadata

    @capabilities.check
    def get(
        self,
        location: Any,
        offset: int = 0,
        chunk_size: int | None = None,
        context: Any = None,
    ) -> tuple[ImageIterator, int | None]:
        """An iterator over the bytes from *offset*, and a size.

        *chunk_size* is how many bytes to return, and then the size; without it
        the size is the whole image's, or None where the server does not tell.
        `NotFound` is raised here, not by the iterator.
        """
        reader = self.driver.open(location.store_location)
        return ImageIterator(reader, offset or 0, chunk_size), chunk_size or reader.info.size

    def get_size(self, location: Any, context: Any = None) -> int | None:
        """The image's size in bytes, None where the server does not tell; `NotFound`."""
        return self.driver.stat(location.store_location).size

    @capabilities.check
    def delete(self, location: Any, context: Any = None) -> None:
        """Remove the image; `NotFound`, `InUseByStore`, `HasSnapshot`."""
        driver = self.driver
        if not self.supports(base.SupportsDelete):
            raise exceptions.StoreDeleteNotSupported(self.refusal)
        assert isinstance(driver, base.SupportsDelete)
        driver.delete(location.store_location)

    def set_acls(
        self,
        location: Any,
        public: bool = False,
        read_tenants: Sequence[str] | None = None,
        write_tenants: Sequence[str] | None = None,
        context: Any = None,
    ) -> None:
        """Who may read and write the image; NotImplementedError where nobody is asked."""
        driver = self.driver
        if not isinstance(driver, base.SupportsAcls):
            raise NotImplementedError(f"store {self.store_id} has no access control")
        driver.set_acls(
            location.store_location,
            public=public,
            read_tenants=tuple(read_tenants or ()),
            write_tenants=tuple(write_tenants or ()),
        )


def _mask(supports: Callable[[Any], bool]) -> int:
    """Glance's mask for what *supports* says: never more than the types."""
    mask = BitMasks.READ_RANDOM | BitMasks.DRIVER_REUSABLE
    if supports(base.SupportsAdd) and supports(base.SupportsDelete):
        mask |= BitMasks.WRITE_ACCESS
    return int(mask)


def explain(exc: BaseException, store_type: str = "") -> str:
    """What went wrong and, for a missing dependency, what to install."""
    text = getattr(exc, "msg", None) or str(exc)
    if isinstance(exc, ImportError | exceptions.DriverLoadFailure):
        return f"{text}: install storefs[{store_type}]" if store_type else str(text)
    if isinstance(exc, exceptions.BadStoreConfiguration):
        return str(text).partition("Reason: ")[2] or str(text)
    if isinstance(exc, exceptions.GlanceStoreException):
        return str(text)
    return f"{type(exc).__name__}: {exc}"
