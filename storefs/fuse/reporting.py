# SPDX-License-Identifier: Apache-2.0
"""One log line for a failed operation, and its errno."""

import errno
import logging

from storefs import exceptions
from storefs.fuse.errno import errno_of

log = logging.getLogger(__name__)

#: errnos that are answers and not failures: no log line.
QUIET = {errno.ENOENT, errno.EEXIST, errno.ENODATA, errno.ENOTSUP, errno.EXDEV, errno.ESTALE}


def is_awaited(record: logging.LogRecord) -> bool:
    """A filter for pyfuse3's log: not that somebody did not wait for an answer.

    ENOENT from the kernel: who asked was killed, or it was unmounted meanwhile.
    """
    return "fuse_reply_* failed with No such file" not in record.getMessage()


def report(operation: str, subject: str, error: Exception) -> int:
    """Log *error* once and give its errno; the unexpected with its traceback.

    An upload that has ended raises the same error to all who still write.
    """
    number = errno_of(error)
    if number in QUIET or error.__dict__.get("told"):
        return number
    error.__dict__["told"] = True
    known = isinstance(
        error, exceptions.GlanceStoreException | exceptions.BackendException | OSError
    )
    log.warning(
        "%s %s: %s [%s]%s",
        operation,
        subject,
        error,
        errno.errorcode.get(number, number),
        _remedy(error),
        exc_info=None if known else error,
    )
    return number


def _remedy(error: Exception) -> str:
    """What to do about it, where that is not in the error itself."""
    if isinstance(error, exceptions.UnsupportedWrite):
        return ": write it elsewhere and copy it here, or open it for reading as well (O_RDWR)"
    return ""
