# SPDX-License-Identifier: Apache-2.0
"""A store: one driver, and everything that is the same for all drivers.

`Store` is what Glance calls (configure, get, add, delete, ...) and what the
mount is built on (locate, begin, publish, supports, driver).
"""

import contextlib
import copy
import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from storefs import capabilities, exceptions
from storefs.configured_store import ConfiguredStore, OpaqueLocation, StoreState, explain
from storefs.drivers import base
from storefs.image_iterator import READ_CHUNKSIZE, ImageIterator
from storefs.location import StoreLocation
from storefs.store_options import STORE_OPTIONS
from storefs.upload import DEFAULT_ALGORITHM, Digest, Upload, UploadResult, new_digest

__all__ = [
    "STORE_OPTIONS",
    "AddResult",
    "OpaqueLocation",
    "Store",
    "StoreState",
    "back_compat_add",
    "check_location_metadata",
]

LOG = logging.getLogger(__name__)


class AddResult(NamedTuple):
    """What Glance keeps of an image it added; hashes in hex."""

    url: str
    size: int
    checksum: str
    multihash: str
    metadata: dict[str, Any]


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


def check_location_metadata(val: Any, key: str = "") -> None:
    """Raise `BackendException` unless *val* is a string, or dicts and lists of them.

    The message names the place as ``key`` or ``key[index]``.
    """
    if isinstance(val, dict):
        for name, value in val.items():
            check_location_metadata(value, key=name)
    elif isinstance(val, list):
        for index, value in enumerate(val):
            check_location_metadata(value, key=f"{key}[{index}]")
    elif not isinstance(val, str):
        raise exceptions.BackendException(
            f"The image metadata key {key} has the type {type(val).__name__}; "
            "only dict, list and str are allowed"
        )


class Store(ConfiguredStore):
    """One configured backend, under Glance's constructor and method names."""

    READ_CHUNKSIZE = READ_CHUNKSIZE
    WRITE_CHUNKSIZE = READ_CHUNKSIZE

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Every ``add`` can be called without the algorithm, whoever wrote it."""
        super().__init_subclass__(**kwargs)
        if "add" in vars(cls):
            setattr(cls, "add", back_compat_add(vars(cls)["add"]))  # noqa: B010 - mypy

    def on_behalf_of(self, context: Any) -> "Store":
        """The store as the caller of Glance's request *context* sees it.

        It is the store itself without one, and where the driver asks nobody who
        the caller is. Good for one request; it is not closed.
        """
        if context is None or not isinstance(self.driver, base.SupportsContext):
            return self
        view = copy.copy(self)
        view._driver = self.driver.for_context(context)  # noqa: SLF001 - of this class
        return view

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
        store = self.on_behalf_of(context)
        location = store.locate(image_id)
        upload = store.begin(location, image_size or None, hashing_algo, verifier=verifier)
        with self.aborting(upload):
            upload.feed(image_file)
            metadata = store._metadata(location)  # noqa: SLF001 - of this class
        result = store.publish(upload, location)
        return AddResult(
            location.get_uri(), result.size, result.checksum, result.multihash, metadata
        )

    def _metadata(self, location: StoreLocation) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        if isinstance(self.driver, base.SupportsLocationMetadata):
            metadata.update(self.driver.location_metadata(location))
        if self.backend_group:
            metadata["store"] = self.backend_group
        check_location_metadata(metadata)
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
        reader = self.on_behalf_of(context).driver.open(location.store_location)
        return ImageIterator(reader, offset or 0, chunk_size), chunk_size or reader.info.size

    def get_size(self, location: Any, context: Any = None) -> int | None:
        """The image's size in bytes, None where the server does not tell; `NotFound`."""
        return self.on_behalf_of(context).driver.stat(location.store_location).size

    @capabilities.check
    def delete(self, location: Any, context: Any = None) -> None:
        """Remove the image; `NotFound`, `InUseByStore`, `HasSnapshot`."""
        driver = self.on_behalf_of(context).driver
        if not self.supports(base.SupportsDelete):
            raise exceptions.StoreDeleteNotSupported(self.refusal)
        assert isinstance(driver, base.SupportsDelete)
        driver.delete(location.store_location)

    def is_image_associated_with_store(self, context: Any, volume_id: str) -> bool:
        """Whether Glance may take *volume_id*, whose location names no store, for this store's.

        It is asked of each Cinder store, for every such image that is looked at: what
        goes wrong is logged alone.
        """
        try:
            driver = self.on_behalf_of(context).driver
            return isinstance(driver, base.SupportsAdoption) and driver.adopts(volume_id)
        except Exception as exc:  # noqa: BLE001 - the image is shown all the same
            LOG.debug("Is %s in store %s? %s", volume_id, self.store_id, explain(exc))
            return False

    def set_acls(
        self,
        location: Any,
        public: bool = False,
        read_tenants: Sequence[str] | None = None,
        write_tenants: Sequence[str] | None = None,
        context: Any = None,
    ) -> None:
        """Who may read and write the image; NotImplementedError where nobody is asked."""
        driver = self.on_behalf_of(context).driver
        if not isinstance(driver, base.SupportsAcls):
            raise NotImplementedError(f"store {self.store_id} has no access control")
        driver.set_acls(
            location.store_location,
            public=public,
            read_tenants=tuple(read_tenants or ()),
            write_tenants=tuple(write_tenants or ()),
        )
