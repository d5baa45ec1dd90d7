# SPDX-License-Identifier: Apache-2.0
"""A writer that streamed and then goes back: what was streamed moves into the spool.

A stream cannot be changed, so it ends, and what it was given is written into the
spool: from memory where it was little, else as the store gives it back, which
takes as long as reading it does. Until all of it is there the stream is what counts:
who deletes the image, or unmounts, ends that, and with it the move.
"""

from collections.abc import Callable

import trio

from storefs.streams.publication import Publication
from storefs.streams.spooled import Spooled
from storefs.streams.spooled_upload import ABORT_TIMEOUT, CHUNK, is_zero


async def go_back(publication: Publication, spooled: Spooled, switch: Callable[[], None]) -> None:
    """Give *spooled*, which nobody knows yet, all of *publication*, and `switch` to it.

    On any error, OSError ENOSPC of the spool among them, both are given up, and who
    writes on is told the same.
    """
    try:
        await _move(publication, spooled)
        publication.check()  # it may have been given up meanwhile
        spooled.mtime_ns = publication.mtime_ns or spooled.mtime_ns
        switch()
    except BaseException as exc:
        with trio.move_on_after(ABORT_TIMEOUT, shield=True):
            await spooled.aclose()
            if isinstance(exc, Exception):
                await publication.fail(exc)
            else:
                await publication.abort("its writer went back, and that was cut short")
        raise
    with trio.move_on_after(ABORT_TIMEOUT, shield=True):
        await publication.abort("it goes on in the spool")


async def _move(publication: Publication, spooled: Spooled) -> None:
    if publication.retained is not None:
        for offset, data in publication.retained:
            await spooled.write(data, offset)
    else:
        await publication.stop()
        for offset in range(0, publication.position, CHUNK):
            length = min(CHUNK, publication.position - offset)
            data = await publication.reread(length, offset)
            if not is_zero(data):  # a hole stays one
                await spooled.write(data, offset)
    await spooled.truncate(publication.size)
