# SPDX-License-Identifier: Apache-2.0
"""The contract between a store and the module that knows one backend.

A driver blocks; it is thread-safe, raises only `storefs.exceptions` (always
``from`` the cause), never logs a credential, and every call returns within the
time-out its options set. What it can do beyond reading is what it inherits:
`SupportsAdd`, `SupportsDelete`, ... - there are no flags beside the types.
Nothing here hashes, checks sizes, retries a publication or knows of files:
that is done once, above.
"""

import abc
import dataclasses
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from oslo_config import cfg

from storefs import exceptions
from storefs.location import StoreLocation

Buffer = bytes | bytearray | memoryview

L = TypeVar("L", bound=StoreLocation)
L_contra = TypeVar("L_contra", bound=StoreLocation, contravariant=True)

#: How long a part is when a driver has no opinion, bytes.
DEFAULT_PART_SIZE = 4 * 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a store knows of an image without reading it.

    *size* is in bytes, or None where the server does not tell (a chunked HTTP
    answer); *version* changes whenever the bytes may have (ETag, generation,
    inode and mtime), and is empty where nobody can tell; *mtime_ns* counts from the
    epoch; *allocated* is what it occupies, in bytes, where
    that differs from the size (sparse files).
    """

    image_id: str
    size: int | None
    version: str = ""
    mtime_ns: int = 0
    allocated: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Capacity:
    """*total* and *free* bytes of a store."""

    total: int
    free: int


class Options(Protocol):
    """A store's options by name, as attributes: typed, defaults resolved."""

    def __getattr__(self, name: str) -> Any: ...


def check_image_id(image_id: str) -> None:
    """Raise `Invalid` for what cannot be a name in a flat directory."""
    if image_id in {"", ".", ".."} or "/" in image_id or "\0" in image_id:
        raise exceptions.Invalid(
            f"{image_id!r} cannot name an image: a name is not empty, '.' or '..', "
            "and holds no '/' and no NUL"
        )


def check_name(image_id: str, where: str, longest: int | None = None) -> None:
    """The same for what cannot be one in *where* either: UTF-8 of *longest* bytes at most."""
    check_image_id(image_id)
    try:
        length = len(image_id.encode())
    except UnicodeEncodeError as exc:
        raise exceptions.Invalid(
            f"{image_id!r} is no UTF-8, as names in {where} have to be"
        ) from exc
    if longest is not None and length > longest:
        raise exceptions.Invalid(f"Names of images in {where} have {longest} bytes at most")


def unquoted_image_id(quoted: str) -> str:
    """The name that is *quoted* in a URI; `Invalid` if it is no UTF-8 or names no image."""
    try:
        image_id = urllib.parse.unquote(quoted, errors="strict")
    except UnicodeDecodeError as exc:
        raise exceptions.Invalid(f"{quoted!r} is no UTF-8") from exc
    check_image_id(image_id)
    return image_id


def joined(pieces: Sequence[Buffer]) -> Buffer:
    """What `Reader.pread` says of what `Reader.preadv` said."""
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def mtime_property(properties: Mapping[str, str], default: int) -> int:
    """The property ``mtime_ns`` as a number, or *default*; `Invalid`."""
    text = properties.get("mtime_ns")
    if text is None:
        return default
    try:
        return int(text)
    except ValueError as exc:
        raise exceptions.Invalid(f"mtime_ns is not a number of nanoseconds: {text!r}") from exc


class Reader(abc.ABC):
    """One version of one image, open for reading."""

    info: ImageInfo
    #: how many `pread` calls may run at once
    max_concurrency: int = 1
    #: what a sequential reader best fetches at once, bytes: where a call has a
    #: price, much of it pays; where it has none, little stays in the caches
    block_size: int = 8 * 1024 * 1024

    @abc.abstractmethod
    def pread(self, length: int, offset: int) -> Buffer:
        """Exactly *length* bytes from *offset*, fewer only where the image ends.

        Past the end it is ``b""``. The bytes are those of the version `open`
        pinned, or `ImageChanged` is raised; never short, never mixed.
        """

    def preadv(self, length: int, offset: int) -> Sequence[Buffer]:
        """`pread` in the pieces in which it arrived, by a driver to which joining is a copy."""
        return [self.pread(length, offset)]

    def close(self) -> None:
        """Let go of what `open` took; may be called more than once."""


class Writer(abc.ABC):
    """One image on its way in; invisible until `commit` returns."""

    #: how many `pwrite` calls may run at once; 1 also means: in order
    max_concurrency: int = 1

    def part_size(self, offset: int) -> int:
        """How long the part that starts at *offset* is; a pure function of it."""
        return DEFAULT_PART_SIZE

    @abc.abstractmethod
    def pwrite(self, data: memoryview, offset: int) -> None:
        """Store one part. No reference to *data* is kept after returning.

        Parts do not overlap and are `part_size` long but the last; they come in
        any order, up to `max_concurrency` at once.
        """

    def pwritev(self, pieces: list[memoryview], offset: int) -> None:
        """`pwrite` of one part that lies in memory in *pieces*.

        Nobody ever writes into these again, so a writer may keep references to them
        until `commit` or `abort`, and send them without a copy. The list is the
        writer's: who empties it frees what nobody else needs.
        """
        part = pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
        pieces.clear()  # else all of it is in memory twice while it is stored
        self.pwrite(part, offset)

    def skip(self, length: int, offset: int) -> None:
        """A part nobody wrote: zeros. A driver with holes leaves one."""
        self.pwrite(memoryview(bytes(length)), offset)

    def stage(self, properties: Mapping[str, str]) -> bool:
        """Take *properties* along with the commit; False if that is impossible.

        Called after the last part and before `commit`. On False the caller sets
        them afterwards, where the driver is `SupportsProperties`.
        """
        return False

    @abc.abstractmethod
    def commit(self, size: int) -> ImageInfo | None:
        """Publish the image of *size* bytes: all of it or nothing, durably.

        What `Driver.stat` says of it now, where that is known without asking.

        `Duplicate` if the name was taken meanwhile and `create` was not told to
        replace. Called once, after every part.
        """

    @abc.abstractmethod
    def abort(self) -> None:
        """Leave no trace. May be called at any time, and more than once."""


@runtime_checkable
class SupportsReread(Protocol):
    """A `Writer` that can give back what it was given, before it commits.

    Where it is not, who has written more than memory should hold cannot go back.
    """

    def reread(self, length: int, offset: int) -> Buffer:
        """Exactly the *length* bytes from *offset*, all of which were written or skipped.

        What was skipped is zeros. Called while no part is being written, and nothing
        but more of this, or `abort`, comes after it.
        """
        ...


class Driver(abc.ABC, Generic[L]):
    """One backend. The entry point of a store type names a subclass."""

    #: URI schemes, the usual one first
    SCHEMES: ClassVar[Sequence[str]]
    #: the options of a store's group, with Glance's names
    OPTIONS: ClassVar[Sequence[cfg.Opt]] = ()
    #: what Glance's discovery API reads of a store: attribute -> name of the option, or
    #: that and its unit in bytes
    DETAILS: ClassVar[Mapping[str, str | tuple[str, int]]] = {}
    #: how the driver's URIs are parsed
    LOCATION: ClassVar[type[StoreLocation]]

    def __init__(self, options: Options, store_id: str) -> None:
        """Configure the store *store_id*.

        Raises `BadStoreConfiguration` with a reason that says which option to
        look at. It need not connect: a server that is down is no bad
        configuration, but an error of the first call.
        """
        self.options = options
        self.store_id = store_id

    @property
    def url_prefix(self) -> str:
        """What every location URI of this store begins with."""
        return f"{self.SCHEMES[0]}://"

    @property
    def writable(self) -> str | None:
        """None if images can be added, else why they cannot be."""
        return None

    @abc.abstractmethod
    def locate(self, image_id: str) -> L:
        """Where this store keeps, or would keep, the image. No I/O.

        `Invalid` for a name this store can never hold.
        """

    @abc.abstractmethod
    def stat(self, location: L) -> ImageInfo:
        """`NotFound` if there is no image."""

    @abc.abstractmethod
    def open(self, location: L) -> Reader:
        """Pin the version that is current now; `NotFound` if there is none."""

    def close(self) -> None:
        """Let go of connections; nothing is called afterwards."""


@runtime_checkable
class SupportsAdd(Protocol[L_contra]):
    def create(self, location: L_contra, size: int | None, *, replace: bool = False) -> Writer:
        """Begin an image; *size* in bytes is a hint (None: unknown).

        `Duplicate` if it exists, unless *replace*: then the old image stays as
        it is until `Writer.commit`.
        """
        ...


@runtime_checkable
class SupportsDelete(Protocol[L_contra]):
    def delete(self, location: L_contra) -> None:
        """`NotFound` if there is none; `InUseByStore`, `HasSnapshot` where they apply."""
        ...


@runtime_checkable
class SupportsList(Protocol):
    def list(self) -> Iterator[ImageInfo]:
        """Every published image, lazily, in any order."""
        ...


@runtime_checkable
class SupportsCapacity(Protocol):
    def capacity(self) -> Capacity:
        """What statfs and df show."""
        ...


@runtime_checkable
class SupportsRename(Protocol[L_contra]):
    def rename(self, source: L_contra, target: L_contra) -> None:
        """Atomically, replacing *target*; `NotFound` if there is no *source*."""
        ...


@runtime_checkable
class SupportsCopy(Protocol[L_contra]):
    def copy(self, source: L_contra, target: L_contra) -> None:
        """On the server, replacing *target*; published as a whole."""
        ...


@runtime_checkable
class SupportsAcls(Protocol[L_contra]):
    def set_acls(
        self,
        location: L_contra,
        *,
        public: bool = False,
        read_tenants: Sequence[str] = (),
        write_tenants: Sequence[str] = (),
    ) -> None: ...


@runtime_checkable
class SupportsProperties(Protocol[L_contra]):
    """Small named strings kept with the object itself, so that every host sees them.

    storefs uses ``md5``, ``os_hash_algo``, ``os_hash_value`` and ``mtime_ns``
    (decimal); ``mtime_ns`` also becomes the image's mtime.
    """

    def properties(self, location: L_contra) -> Mapping[str, str]: ...

    def set_properties(self, location: L_contra, properties: Mapping[str, str]) -> None:
        """Merge *properties* into what is kept; the bytes' version stays."""
        ...


@runtime_checkable
class SupportsRegister(Protocol):
    """Names for images that live elsewhere: a directory of links."""

    def register(self, image_id: str, uri: str) -> None:
        """Durably give *uri* a name; `Duplicate`, `BadStoreUri`."""
        ...

    def unregister(self, image_id: str) -> None:
        """Durably take the name away, the image stays; `NotFound`."""
        ...


@runtime_checkable
class SupportsLocationMetadata(Protocol[L_contra]):
    def location_metadata(self, location: L_contra) -> Mapping[str, Any]:
        """What Glance keeps beside the location, for whoever reads it directly."""
        ...


@runtime_checkable
class SupportsAdoption(Protocol):
    """Images in rows of Glance's that name no store, because they are older than its several."""

    def adopts(self, object_id: str) -> bool:
        """Whether what the backend calls *object_id* lies where this store puts its images."""
        ...


@runtime_checkable
class SupportsContext(Protocol):
    """A store in which each caller has an account, or rights, of its own."""

    def for_context(self, context: Any) -> Driver[Any]:
        """This store as the caller of *context* sees it.

        *context* is Glance's request context: ``project_id`` (or ``tenant``),
        ``user_id``, ``auth_token``, ``service_catalog``, ``roles``; any of them
        may be missing or None. No I/O. What is returned borrows this driver's
        connections: nobody closes it, and it is good for the one request.
        """
        ...
