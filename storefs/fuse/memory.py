# SPDX-License-Identifier: Apache-2.0
"""Keep what is freed from lying about in the allocator."""

import ctypes
import logging

LOG = logging.getLogger(__name__)

#: mallopt(3), malloc.h of glibc
M_ARENA_MAX = -8


def use_one_arena() -> None:
    """Tell glibc to give all threads one heap; before any thread is started.

    Blocks are allocated in whatever worker thread fetches them. With a heap for
    each of them (8 a core by default) the freed ones stayed where nobody else
    could use them: 334 MiB instead of 216 with 4 readers and 4 writers.
    Another C library than glibc is left as it is.
    """
    try:
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
    except AttributeError:
        LOG.debug("This C library has no mallopt")
