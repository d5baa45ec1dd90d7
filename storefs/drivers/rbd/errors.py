# SPDX-License-Identifier: Apache-2.0
"""One table: the errno of librados and librbd -> `storefs.exceptions`, and what to do about it.

Both libraries raise exceptions with an ``errno``, and aio completions return its
negative; the table needs neither library to be installed.
"""

import contextlib
import errno
import os
from collections.abc import Iterator

from storefs import exceptions

_Raised = type[Exception]

#: The modules whose exceptions are translated.
_SDK = {"rados", "rbd"}

_LIMITS = "check rados_connect_timeout, and whether Ceph's monitors and OSDs are up"
_CAPS = "check the capabilities of rbd_store_user (ceph auth get client.NAME)"
_FULL = "the pool is full, or its quota is used up"

#: errno -> the exception and the advice.
TABLE: dict[int, tuple[_Raised, str]] = {
    errno.ENOENT: (exceptions.NotFound, "there is no such image"),
    errno.EEXIST: (exceptions.Duplicate, "another image has this name"),
    errno.EPERM: (exceptions.Forbidden, _CAPS),
    errno.EACCES: (exceptions.Forbidden, _CAPS),
    errno.EROFS: (exceptions.StorageWriteDenied, "the image is open for reading only"),
    errno.ENOSPC: (exceptions.StorageFull, _FULL),
    errno.EDQUOT: (exceptions.StorageFull, _FULL),
    errno.EFBIG: (exceptions.ImageTooLarge, "RBD holds no image that large"),
    errno.EDOM: (exceptions.ImageTooLarge, "RBD holds no image that large"),
    errno.EBUSY: (exceptions.InUseByStore, "it is open elsewhere, or has clones"),
    errno.ENOTEMPTY: (exceptions.HasSnapshot, "it has snapshots"),
    errno.ETIMEDOUT: (exceptions.TimeoutError, _LIMITS),
    errno.ESHUTDOWN: (
        exceptions.RemoteServiceUnavailable,
        "Ceph has shut this client out (ceph osd blocklist ls)",
    ),
    errno.ENOTCONN: (exceptions.RemoteServiceUnavailable, _LIMITS),
    errno.EIO: (exceptions.RemoteServiceUnavailable, "Ceph could not read or write it"),
}


def failure(code: int, what: str) -> Exception:
    """The exception for errno *code* of what was done with *what*."""
    raised, advice = TABLE.get(abs(code), (exceptions.BackendException, os.strerror(abs(code))))
    name = errno.errorcode.get(abs(code), str(code))
    return raised(f"{what} ({name}): {advice}")


def code_of(exc: BaseException) -> int | None:
    """The errno of an exception of librados or librbd; None for those of others."""
    if type(exc).__module__ not in _SDK:
        return None
    code = getattr(exc, "errno", None)
    return abs(code) if isinstance(code, int) else errno.EIO


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """What the SDKs raise in the block becomes one of `storefs.exceptions`, about *what*."""
    try:
        yield
    except Exception as exc:
        code = code_of(exc)
        if code is None:
            raise
        raise failure(code, what) from exc
