# SPDX-License-Identifier: Apache-2.0
"""What the operating system's errors are called above the file driver."""

import contextlib
import errno
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from storefs import exceptions

#: The one table. EFBIG is Glance's StorageFull: the file system's limit is met.
_BY_ERRNO: Mapping[int, type[exceptions.GlanceStoreException]] = MappingProxyType(
    {
        errno.ENOENT: exceptions.NotFound,
        errno.ELOOP: exceptions.NotFound,
        errno.EEXIST: exceptions.Duplicate,
        errno.ENAMETOOLONG: exceptions.Invalid,
        errno.ENOSPC: exceptions.StorageFull,
        errno.EDQUOT: exceptions.StorageFull,
        errno.EFBIG: exceptions.StorageFull,
        errno.EACCES: exceptions.StorageWriteDenied,
        errno.EPERM: exceptions.StorageWriteDenied,
        errno.EROFS: exceptions.StorageWriteDenied,
        errno.EBUSY: exceptions.InUseByStore,
        errno.ESTALE: exceptions.ImageChanged,
    }
)

#: These say everything with the image's name alone.
_NAMED = (exceptions.NotFound, exceptions.Duplicate, exceptions.ImageChanged)


@contextlib.contextmanager
def translated(
    image_id: str, other: type[Exception] = exceptions.BackendException, **special: type[Exception]
) -> Iterator[None]:
    """Turn an OSError about *image_id* into a storefs exception.

    *special* says which class an errno, by its name, is here (reading:
    ``EACCES=Forbidden``); *other* is the class of those not in the table.
    """
    try:
        yield
    except OSError as exc:
        number = exc.errno or 0
        general: type[Exception] = _BY_ERRNO.get(number, other)
        kind = special.get(errno.errorcode.get(number, ""), general)
        raise _error(kind, image_id, exc) from exc


def _error(kind: type[Exception], image_id: str, exc: OSError) -> Exception:
    if issubclass(kind, _NAMED):
        return kind(image=image_id)
    return kind(f"Image {image_id}: {exc.strerror or exc}")
