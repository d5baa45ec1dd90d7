# SPDX-License-Identifier: Apache-2.0
"""Which errno an exception becomes: one table, walked by MRO, the nearest wins."""

import errno

from storefs import exceptions

ERRNO: dict[type[BaseException], int] = {
    exceptions.NotFound: errno.ENOENT,
    exceptions.Duplicate: errno.EEXIST,
    exceptions.Forbidden: errno.EACCES,
    exceptions.StorageWriteDenied: errno.EACCES,
    exceptions.NotAuthenticated: errno.EACCES,
    exceptions.AuthorizationFailure: errno.EACCES,
    exceptions.AuthBadRequest: errno.EACCES,
    exceptions.AuthUrlNotFound: errno.EACCES,
    exceptions.AuthorizationRedirect: errno.EACCES,
    exceptions.BadAuthStrategy: errno.EACCES,
    exceptions.MissingCredentialError: errno.EACCES,
    exceptions.StoreGetNotSupported: errno.EACCES,
    exceptions.StoreRandomGetNotSupported: errno.ESPIPE,
    exceptions.ImageImmutable: errno.EPERM,
    exceptions.StoreDeleteNotSupported: errno.EPERM,
    exceptions.StoreAddDisabled: errno.EROFS,
    exceptions.StorageFull: errno.ENOSPC,
    exceptions.ImageTooLarge: errno.EFBIG,
    exceptions.Invalid: errno.EINVAL,
    exceptions.BadStoreUri: errno.EINVAL,
    exceptions.UnknownScheme: errno.EINVAL,
    exceptions.UnknownHashingAlgo: errno.EINVAL,
    exceptions.ImageChanged: errno.ESTALE,
    exceptions.HasSnapshot: errno.EBUSY,
    exceptions.InUseByStore: errno.EBUSY,
    exceptions.MaxRedirectsExceeded: errno.ELOOP,
    exceptions.TimeoutError: errno.ETIMEDOUT,
    exceptions.RemoteServiceUnavailable: errno.EREMOTEIO,
    exceptions.NoServiceEndpoint: errno.EREMOTEIO,
    exceptions.RegionAmbiguity: errno.EREMOTEIO,
    # what has no better word
    exceptions.BadStoreConfiguration: errno.EIO,
    exceptions.RedirectException: errno.EIO,
    exceptions.BackendException: errno.EIO,
    exceptions.GlanceStoreException: errno.EIO,
    MemoryError: errno.ENOMEM,
    Exception: errno.EIO,
}


def errno_of(error: BaseException) -> int:
    """The errno for *error*; an OSError keeps the one it carries."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    return next((ERRNO[c] for c in type(error).__mro__ if c in ERRNO), errno.EIO)
