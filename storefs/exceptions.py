# SPDX-License-Identifier: Apache-2.0
"""Everything that can go wrong, under the names Glance's callers catch.

::

    Exception
    +-- BackendException             a backend failed in a way with no better name
    |   +-- UnsupportedBackend
    +-- RedirectException            carries the parsed URL to go on with
    +-- GlanceStoreException         ``message % kwargs``; the text is in ``.msg``
        +-- NotFound, Duplicate      the image is absent / present
        +-- Invalid                  sizes, names or metadata that contradict themselves
        |   +-- UnsupportedWrite     a write that cannot be streamed
        +-- BadStoreUri, UnknownScheme, UnknownHashingAlgo
        +-- BadStoreConfiguration    options or dependencies; DriverLoadFailure, HostNotInitialized
        +-- StorageFull
        |   +-- ImageTooLarge        there would never be room for it
        +-- Forbidden, StorageWriteDenied, NotAuthenticated, AuthorizationFailure, ...
        +-- StoreAddDisabled, StoreDeleteNotSupported, StoreGetNotSupported,
        |   StoreRandomGetNotSupported         the capability is missing
        +-- ImageChanged             the version that was opened is gone
        +-- ImageImmutable           a published image is not written in place
        +-- HasSnapshot, InUseByStore
        +-- RemoteServiceUnavailable, MaxRedirectsExceeded, TimeoutError

Names and messages follow glance_store 5.7 where it has them.
"""

import urllib.parse
from typing import Any, ClassVar


class BackendException(Exception):
    """The backend failed."""


class UnsupportedBackend(BackendException):
    """There is no such backend."""


class RedirectException(Exception):
    """The server sent us elsewhere; *url* is kept parsed."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = urllib.parse.urlparse(url)


class GlanceStoreException(Exception):
    """Root of the errors callers tell apart.

    The first argument, when given, replaces the class's message; the keyword
    arguments fill its ``%(name)s`` fields.
    """

    message: ClassVar[str] = "An unknown exception occurred"

    def __init__(self, message: object = None, **kwargs: Any) -> None:
        text = str(message or self.message)
        if kwargs:
            try:
                text %= kwargs
            except (KeyError, TypeError, ValueError):
                text = f"{text} {kwargs}"
        self.msg = text
        super().__init__(text)


class MissingCredentialError(GlanceStoreException):
    message = "Missing required credential: %(required)s"


class BadAuthStrategy(GlanceStoreException):
    message = 'Incorrect auth strategy, expected "%(expected)s" but received "%(received)s"'


class AuthorizationRedirect(GlanceStoreException):
    message = "Redirecting to %(uri)s for authorization."


class NotFound(GlanceStoreException):
    message = "Image %(image)s not found"


class UnknownHashingAlgo(GlanceStoreException):
    message = "Unknown hashing algorithm identifier: %(algo)s"


class UnknownScheme(GlanceStoreException):
    message = "Unknown scheme '%(scheme)s' found in URI"


class BadStoreUri(GlanceStoreException):
    message = "The Store URI was malformed: %(uri)s"


class Duplicate(GlanceStoreException):
    message = "Image %(image)s already exists"


class StorageFull(GlanceStoreException):
    message = "There is not enough disk space on the image storage media."


class ImageTooLarge(StorageFull):
    """Glance tells its users so (413) of what it knows, which is `StorageFull`."""

    message = "The image is larger than the store can hold."


class StorageWriteDenied(GlanceStoreException):
    message = "Permission to write image storage media denied."


class AuthBadRequest(GlanceStoreException):
    message = "Connect error/bad request to Auth service at URL %(url)s."


class AuthUrlNotFound(GlanceStoreException):
    message = "Auth service at URL %(url)s not found."


class AuthorizationFailure(GlanceStoreException):
    message = "Authorization failed."


class NotAuthenticated(GlanceStoreException):
    message = "You are not authenticated."


class Forbidden(GlanceStoreException):
    message = "You are not authorized to complete this action."


class Invalid(GlanceStoreException):
    message = "Data supplied was not valid."


class UnsupportedWrite(Invalid):
    """The write cannot be streamed: out of order, or into a published image."""

    message = "Image %(image)s can only be written from start to end."


class BadStoreConfiguration(GlanceStoreException):
    message = "Store %(store_name)s could not be configured correctly. Reason: %(reason)s"


class DriverLoadFailure(BadStoreConfiguration):
    message = "Driver %(driver_name)s could not be loaded."


class HostNotInitialized(BadStoreConfiguration):
    message = "The glance cinder store host %(host)s is not initialized."


class StoreDeleteNotSupported(GlanceStoreException):
    message = "Deleting images from this store is not supported."


class StoreGetNotSupported(GlanceStoreException):
    message = "Getting images from this store is not supported."


class StoreRandomGetNotSupported(StoreGetNotSupported):
    message = (
        "Getting images randomly from this store is not supported. "
        "Offset: %(offset)s, length: %(chunk_size)s"
    )


class StoreAddDisabled(GlanceStoreException):
    message = "Configuration for store failed. Adding images to this store is disabled."


class MaxRedirectsExceeded(GlanceStoreException):
    message = "Maximum redirects (%(redirects)s) was exceeded."


class NoServiceEndpoint(GlanceStoreException):
    message = "Response from Keystone does not contain a Glance endpoint."


class RegionAmbiguity(GlanceStoreException):
    message = (
        "Multiple 'image' service matches for region %(region)s. This generally "
        "means that a region is required and you have not supplied one."
    )


class RemoteServiceUnavailable(GlanceStoreException):
    message = "Remote server where the image is present is unavailable."


class TimeoutError(GlanceStoreException):  # noqa: A001 - Glance's name
    message = "The store did not answer within %(timeout)s seconds."


class HasSnapshot(GlanceStoreException):
    message = "The image cannot be deleted because it has snapshot(s)."


class InUseByStore(GlanceStoreException):
    message = (
        "The image cannot be deleted because it is in use through the backend store "
        "outside of Glance."
    )


class ImageChanged(GlanceStoreException):
    """The version an open image was pinned to is no longer what the store holds."""

    message = "Image %(image)s was replaced while it was open."


class ImageImmutable(GlanceStoreException):
    message = "Image %(image)s is published and is not written in place."
