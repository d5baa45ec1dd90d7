# SPDX-License-Identifier: Apache-2.0
"""Images as volumes of Cinder, read and written by attaching them to this host.

An image's volume is attached once, however many read it, and for a while longer.
A new image is a volume under a name of its own until one request makes it an
image; what Glance wrote, by either form of its URIs, is read as it is.
"""

import copy
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from storefs import exceptions
from storefs.drivers.base import (
    Capacity,
    Driver,
    ImageInfo,
    Options,
    Reader,
    SupportsAdd,
    SupportsAdoption,
    SupportsCapacity,
    SupportsContext,
    SupportsDelete,
    SupportsList,
    SupportsProperties,
    SupportsRename,
    Writer,
    check_name,
)
from storefs.drivers.cinder.account import Account, Accounts
from storefs.drivers.cinder.api import Api
from storefs.drivers.cinder.attachment import Attacher, NoNotes, Notes
from storefs.drivers.cinder.brick import Brick
from storefs.drivers.cinder.catalog import Catalog, Known
from storefs.drivers.cinder.journal import cinder_journal
from storefs.drivers.cinder.location import PREFIX, CinderLocation
from storefs.drivers.cinder.options import OPTIONS
from storefs.drivers.cinder.reader import CinderReader
from storefs.drivers.cinder.sharing import Shares
from storefs.drivers.cinder.volume import metadata_of
from storefs.drivers.cinder.writer import CinderWriter, longest_image
from storefs.drivers.journal import Journal
from storefs.drivers.name_locks import NameLocks
from storefs.drivers.state import state_directory

#: The longest value of a volume's metadata, characters.
_LONGEST_ID = 255


class CinderDriver(
    Driver[CinderLocation],
    SupportsAdd[CinderLocation],
    SupportsDelete[CinderLocation],
    SupportsList,
    SupportsCapacity,
    SupportsRename[CinderLocation],
    SupportsProperties[CinderLocation],
    SupportsContext,
    SupportsAdoption,
):
    """The volumes of one project. Without an account each caller's project is asked."""

    SCHEMES = ("cinder",)
    LOCATION = CinderLocation
    OPTIONS = OPTIONS
    DETAILS = {"volume_type": "cinder_volume_type", "use_multipath": "cinder_use_multipath"}

    def __init__(self, options: Options, store_id: str) -> None:
        super().__init__(options, store_id)
        self._accounts = Accounts(options, store_id)
        self._brick = Brick(options, store_id)
        # what a caller's token attached only that token detaches: it may not be good for long
        self._shares = Shares(options.cinder_detach_grace if self._accounts.configured else 0.0)
        self._known, self._names = Known(), NameLocks[str]()
        self._closed = threading.Event()
        self._journal: Journal | None = None
        self._hands: _Hands | None = None
        if self._accounts.configured:
            api = self._api_of(self._accounts.own())
            self._journal = cinder_journal(
                state_directory(), self._accounts.place, api, self._brick
            )
            self._hands = self._work_through(api, self._journal)
            self._journal.sweep_aside()

    @property
    def url_prefix(self) -> str:
        """Glance's: without the slash, which it writes itself before a volume it adopts."""
        return f"{PREFIX}{self.store_id}"

    def locate(self, image_id: str) -> CinderLocation:
        check_name(image_id, "Cinder")
        if len(image_id) > _LONGEST_ID:
            raise exceptions.Invalid(f"Names in Cinder have {_LONGEST_ID} characters at most")
        specs = {
            "store": self.store_id,
            "image_id": image_id,
            "volume_id": self._known.of(image_id),
        }
        return CinderLocation(specs, backend_group=self.store_id)

    def for_context(self, context: Any) -> "CinderDriver":
        if self._accounts.configured:
            return self
        view = copy.copy(self)
        view._known = Known()  # noqa: SLF001 - of this class
        api = self._api_of(self._accounts.of(context))
        view._hands = view._work_through(api, NoNotes())  # noqa: SLF001 - of this class
        return view

    def stat(self, location: CinderLocation) -> ImageInfo:
        return self._catalog.find(location).info

    def open(self, location: CinderLocation) -> Reader:
        volume = self._catalog.find(location)
        return CinderReader(volume.info, self._shares.acquire(volume.id, self._attacher))

    def list(self) -> Iterator[ImageInfo]:
        return self._catalog.images()

    def capacity(self) -> Capacity:
        return self._attacher.api.capacity()

    def create(
        self, location: CinderLocation, size: int | None, *, replace: bool = False
    ) -> Writer:
        if size is not None and size > longest_image():
            raise exceptions.ImageTooLarge(f"A volume has {longest_image()} bytes at most")
        if not replace and self._catalog.exists(location.image_id):
            raise exceptions.Duplicate(image=location.image_id)
        return CinderWriter(
            self._attacher, self._catalog, self.options, location, size, replace=replace
        )

    def delete(self, location: CinderLocation) -> None:
        self._catalog.take_away(location)

    def rename(self, source: CinderLocation, target: CinderLocation) -> None:
        self._catalog.rename(source, target)

    def properties(self, location: CinderLocation) -> Mapping[str, str]:
        return self._catalog.find(location).properties

    def set_properties(self, location: CinderLocation, properties: Mapping[str, str]) -> None:
        metadata = metadata_of(properties)
        volume = self._catalog.find(location)
        self._attacher.api.add_metadata(volume.id, metadata)

    def adopts(self, object_id: str) -> bool:
        """Whether the volume is of the store's type, or else of Cinder's default type."""
        api = self._attacher.api
        kind = self.options.cinder_volume_type or api.default_kind()
        return bool(api.volume(object_id).kind == kind)

    def close(self) -> None:
        self._shares.close()
        self._closed.set()
        if self._journal is not None:
            self._journal.close()
        self._accounts.close()

    def _api_of(self, account: Account) -> Api:
        patience: float = self.options.cinder_state_transition_timeout
        return Api(account, patience, self._closed)

    def _work_through(self, api: Api, notes: Notes) -> "_Hands":
        attacher = Attacher(api, self._brick, notes, self.options)
        return _Hands(attacher, Catalog(api, notes, self._shares, self._known, self._names))

    @property
    def _attacher(self) -> Attacher:
        return self._with_account.attacher

    @property
    def _catalog(self) -> Catalog:
        return self._with_account.catalog

    @property
    def _with_account(self) -> "_Hands":
        if self._hands is None:
            raise exceptions.NotAuthenticated(
                f"Store {self.store_id} has no account: set cinder_store_auth_address, "
                "cinder_store_user_name, cinder_store_password and cinder_store_project_name; "
                "without them it serves callers of Glance's API alone, each with a token"
            )
        return self._hands


class _Hands(NamedTuple):
    """What works in one account."""

    attacher: Attacher
    catalog: Catalog
