# SPDX-License-Identifier: Apache-2.0
"""Images as objects of an account in OpenStack Swift, or any server that speaks its API.

An object is read by plain ranged GETs and written by one PUT, or in segments that a
Static Large Object's manifest makes one image of. Hashes and mtime are the object's
metadata. Containers: one for all images, several by the images' names, or, in the
accounts of those who ask Glance, one for each image.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from storefs import exceptions
from storefs.drivers.base import (
    Driver,
    ImageInfo,
    Options,
    Reader,
    SupportsAcls,
    SupportsAdd,
    SupportsContext,
    SupportsCopy,
    SupportsDelete,
    SupportsList,
    SupportsProperties,
    Writer,
    check_name,
)
from storefs.drivers.mtimes import Mtimes
from storefs.drivers.state import state_directory
from storefs.drivers.swift import metadata as swift_metadata
from storefs.drivers.swift.accounts import Accounts
from storefs.drivers.swift.client import SwiftClient
from storefs.drivers.swift.containers import Containers, Readiness
from storefs.drivers.swift.copy import copy_image
from storefs.drivers.swift.cut import MAX_SEGMENT, MAX_SEGMENTS, Cut
from storefs.drivers.swift.delete import delete_image
from storefs.drivers.swift.leftovers import Leftovers
from storefs.drivers.swift.listing import SwiftListing
from storefs.drivers.swift.location import SCHEMES, SwiftLocation
from storefs.drivers.swift.object import SwiftObject, SwiftReader, find
from storefs.drivers.swift.options import MB, OPTIONS
from storefs.drivers.swift.segments import Place
from storefs.drivers.swift.writer import SwiftTarget, SwiftWriter

LOG = logging.getLogger(__name__)

#: The longest name of an image, bytes of UTF-8: segments have 1,024, and it is in theirs.
_LONGEST_NAME = 960


class SwiftDriver(
    Driver[SwiftLocation],
    SupportsAdd[SwiftLocation],
    SupportsDelete[SwiftLocation],
    SupportsList,
    SupportsCopy[SwiftLocation],
    SupportsProperties[SwiftLocation],
    SupportsAcls[SwiftLocation],
    SupportsContext,
):
    """One account. Renaming is a copy and a deletion, and therefore not here."""

    SCHEMES = SCHEMES
    LOCATION = SwiftLocation
    OPTIONS = OPTIONS
    DETAILS = {
        "container": "swift_store_container",
        "large_object_size": ("swift_store_large_object_size", MB),
        "large_object_chunk_size": ("swift_store_large_object_chunk_size", MB),
    }

    def __init__(self, options: Options, store_id: str) -> None:
        super().__init__(options, store_id)
        self._check(options)
        self._accounts = Accounts(options, store_id)
        self._mtimes = Mtimes()
        self._account_url = ""
        self._context: Any = None
        own = self._accounts.references.own
        self._target = self._target_of(
            self._accounts.own, Leftovers(self._accounts.own, state_directory(), own)
        )
        self._target.leftovers.sweep_aside()

    def _check(self, options: Options) -> None:
        reason = ""
        if options.swift_store_multi_tenant and options.swift_store_config_file:
            reason = "swift_store_multi_tenant and swift_store_config_file exclude each other"
        try:
            self._containers = Containers(options)
        except ValueError as exc:
            reason = f"swift_store_container: {exc}"
        if reason:
            raise exceptions.BadStoreConfiguration(store_name=self.store_id, reason=reason)

    def _target_of(self, client: SwiftClient, leftovers: Leftovers) -> SwiftTarget:
        create = self._containers.multi_tenant or self.options.swift_store_create_container_on_put
        tenants = self.options.swift_store_admin_tenants if self._containers.multi_tenant else ()
        return SwiftTarget(client, leftovers, Readiness(client, create, _acl(tenants)))

    @property
    def url_prefix(self) -> str:
        if self._account_url:
            return f"{_scheme(self._account_url)}://{self._account_url.partition('://')[2]}/"
        prefix = f"swift+config://{self._accounts.references.default}/{self._containers.name}"
        return prefix if self._containers.several else f"{prefix}/"

    def locate(self, image_id: str) -> SwiftLocation:
        check_name(image_id, "Swift", _LONGEST_NAME)
        specs: dict[str, Any] = {"container": self._containers.of(image_id), "obj": image_id}
        if self._account_url:
            specs |= {"scheme": _scheme(self._account_url), "auth_or_store_url": self._account_url}
        else:
            reference = self._accounts.references.default
            specs |= {"scheme": "swift+config", "reference": reference}
        return SwiftLocation(specs, backend_group=self.store_id)

    def stat(self, location: SwiftLocation) -> ImageInfo:
        return self._find(location)[1].info

    def open(self, location: SwiftLocation) -> Reader:
        target, end = self._acting()
        try:
            client, found = self._find(location, target.client)
        except BaseException:
            end()
            raise
        connections: int = self.options.swift_store_read_connections
        return SwiftReader(client, found, connections, end)

    def list(self) -> Iterator[ImageInfo]:
        needed = not self.options.swift_store_create_container_on_put
        return iter(
            SwiftListing(self._target.client, self._containers, self._mtimes, needed=needed)
        )

    def create(self, location: SwiftLocation, size: int | None, *, replace: bool = False) -> Writer:
        if size is not None and size > MAX_SEGMENTS * MAX_SEGMENT:
            raise exceptions.ImageTooLarge(
                f"Swift holds images of {MAX_SEGMENTS * MAX_SEGMENT} bytes at most"
            )
        if not replace and self._exists(location):
            raise exceptions.Duplicate(image=location.image_id)
        options = self.options
        threshold = options.swift_store_large_object_size * MB
        cut = Cut.of(options.swift_store_large_object_chunk_size * MB, threshold, size)
        known_long = size is not None and (size >= threshold or size > cut.first)
        target, end = self._acting()
        return SwiftWriter(
            target,
            Place(location.container, location.obj),
            cut,
            options.swift_store_write_connections,
            replace=replace,
            threshold=0 if known_long else threshold,
            done=end,
        )

    def delete(self, location: SwiftLocation) -> None:
        client, found = self._find(location)
        delete_image(client, self._target.leftovers, found)
        self._mtimes.forget(found.name)
        if self._containers.multi_tenant:
            self._delete_container(client, found.container)

    def copy(self, source: SwiftLocation, target: SwiftLocation) -> None:
        client, found = self._find(source)
        if (source.container, source.obj) == (target.container, target.obj):
            return
        self._target.ready(target.container)
        place = Place(target.container, target.obj)
        copy_image(client, self._target.leftovers, found, place)

    def properties(self, location: SwiftLocation) -> Mapping[str, str]:
        return swift_metadata.properties_of(self._find(location)[1].headers)

    def set_properties(self, location: SwiftLocation, properties: Mapping[str, str]) -> None:
        swift_metadata.headers_of(properties)
        client, found = self._find(location)
        headers = swift_metadata.merged(found.headers, properties)
        client.call("POST", found.container, found.name, headers=headers, body=b"")
        self._mtimes.forget(found.name)

    def set_acls(
        self,
        location: SwiftLocation,
        *,
        public: bool = False,
        read_tenants: Sequence[str] = (),
        write_tenants: Sequence[str] = (),
    ) -> None:
        """Who may read and write the image's container; those of a single tenant have no ACLs."""
        if not self._containers.multi_tenant:
            raise NotImplementedError("images of one account share containers")
        admins = self.options.swift_store_admin_tenants
        headers = {
            "X-Container-Read": "*:*" if public else _acl(read_tenants),
            "X-Container-Write": _acl([*write_tenants, *admins]),
        }
        client = self._accounts.of(location, self._target.client)
        client.call("POST", location.container, headers=headers, body=b"")

    def for_context(self, context: Any) -> "SwiftDriver":
        if context is None or not self._containers.multi_tenant:
            return self
        return _CallersDriver(self, context)

    def close(self) -> None:
        self._accounts.close()
        self._target.leftovers.close()

    def _find(
        self, location: SwiftLocation, caller: SwiftClient | None = None
    ) -> tuple[SwiftClient, SwiftObject]:
        """What there is, and the client for it; its mtime is remembered for listings."""
        client = self._accounts.of(location, caller or self._target.client)
        found = find(client, location.container, location.obj)
        self._mtimes.learn(found.name, found.version, found.mtime_ns)
        return client, found

    def _exists(self, location: SwiftLocation) -> bool:
        try:
            self._find(location)
        except exceptions.NotFound:
            return False
        return True

    def _acting(self) -> tuple[SwiftTarget, Callable[[], None]]:
        """The account with rights that last, and what to call in the end."""
        wanted = self._context is not None and self.options.swift_store_use_trusts
        if not wanted or not self._accounts.can_be_trusted:
            return self._target, lambda: None
        try:
            trusted = self._accounts.trusted(self._context)
        except exceptions.GlanceStoreException as exc:
            LOG.info("Store %s goes on with the caller's token: %s", self.store_id, exc)
            return self._target, lambda: None
        client = trusted.client
        return self._target_of(client, Leftovers(client)), trusted.end

    def _delete_container(self, client: SwiftClient, container: str) -> None:
        """It was there for the one image; what else is in it keeps it."""
        try:
            client.call("DELETE", container)
        except exceptions.GlanceStoreException as exc:
            LOG.info("Container %s stays: %s", container, exc)
        self._target.ready.forget(container)


class _CallersDriver(SwiftDriver):
    """*store* as the caller of *context* sees it: it shares everything but the account."""

    def __init__(self, store: SwiftDriver, context: Any) -> None:
        vars(self).update(vars(store))
        self._context = context
        self._account_url, client = self._accounts.in_context(context)
        self._target = self._target_of(client, Leftovers(client))


def _acl(tenants: Sequence[str]) -> str:
    return ",".join(f"{tenant}:*" for tenant in tenants)


def _scheme(url: str) -> str:
    return "swift+http" if url.startswith("http://") else "swift+https"
