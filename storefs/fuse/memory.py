# SPDX-License-Identifier: Apache-2.0
"""How glibc's allocator is to treat what is mostly buffers of a megabyte or more."""

import ctypes
import logging

LOG = logging.getLogger(__name__)

MiB = 1024 * 1024

#: mallopt(3); the numbers are malloc.h's. Blocks are allocated in whatever worker
#: thread fetches them: with a heap for each thread the freed ones stay where nobody
#: else can use them (334 MiB with 4 readers and 4 writers instead of 216). Given back
#: to the kernel at once they come back as page faults: 60,000 a GiB written, for a
#: fifth more time. So there is one heap, and what is free of it is kept up to 64 MiB.
SETTINGS = {
    "M_ARENA_MAX": (-8, 1),
    "M_MMAP_THRESHOLD": (-3, 32 * MiB),
    "M_TRIM_THRESHOLD": (-1, 64 * MiB),
}


def keep_buffers() -> None:
    """Set that; before any thread is started. Another C library is left as it is."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        LOG.debug("This C library has no mallopt")
        return
    for name, (number, value) in SETTINGS.items():
        if not mallopt(number, value):
            LOG.debug("mallopt(%s, %d) was refused", name, value)
