# SPDX-License-Identifier: Apache-2.0
"""One open directory: names in batches, however many there are."""

import itertools
import logging
import os
from collections.abc import Iterator, Sequence

import trio

from storefs.driver import Store
from storefs.drivers.base import ImageInfo, SupportsList
from storefs.streams.threads import Threads

log = logging.getLogger(__name__)

#: The longest name of a file, bytes, as on other file systems.
NAME_MAX = 255

#: Images taken from a driver in one hop to a thread. Two batches are kept: the
#: kernel repeats the last entry that did not fit into its buffer.
BATCH = 512


class Listing:
    """The images of one store, by position. Holds two batches and no more.

    Keys with ``/``, or too long, cannot be file names: they are left out and counted.
    *promised* are the images that are closed and not stored yet; they come last, and once.
    """

    def __init__(self, store: Store, threads: Threads, promised: Sequence[ImageInfo] = ()) -> None:
        assert store.backend_group is not None
        self.store_id = store.backend_group
        self._store = store
        self._threads = threads
        self._images: Iterator[ImageInfo] | None = None
        self._window: list[tuple[ImageInfo, float]] = []
        self._base = 0
        self._ended = False
        self._lock = trio.Lock()
        self.left_out = 0
        self._promised = {info.image_id: info for info in promised}
        self._promised_at = trio.current_time()

    async def at(self, position: int) -> tuple[ImageInfo, float] | None:
        """The image at *position* and the time of asking; None after the last one."""
        async with self._lock:
            if position < self._base or self._images is None or position == 0:
                await self._rewind()
            while position >= self._base + len(self._window) and not self._ended:
                await self._advance()
        index = position - self._base
        return self._window[index] if index < len(self._window) else None

    def ready(self, position: int) -> tuple[ImageInfo, float] | None:
        """The same, if it is in memory: most are."""
        index = position - self._base
        return self._window[index] if 0 < index < len(self._window) else None

    async def _rewind(self) -> None:
        driver = self._store.driver
        stored = driver.list() if isinstance(driver, SupportsList) else iter(())
        promised = self._promised
        self._images = itertools.chain(
            (info for info in stored if info.image_id not in promised), promised.values()
        )
        self._window, self._base, self._ended, self.left_out = [], 0, False, 0

    async def _advance(self) -> None:
        assert self._images is not None
        as_of = trio.current_time()
        images, self._images = self._images, None  # one that raised cannot go on
        batch = await self._threads.run(self._take, images)
        self._images, self._ended = images, not batch
        kept = self._window[-BATCH:]
        self._base += len(self._window) - len(kept)
        names = [(i, self._as_of(i, as_of)) for i in batch if self._is_name(i.image_id)]
        self._window = kept + names
        if self._ended and self.left_out:
            log.info("%s: %d keys are no file names and left out", self.store_id, self.left_out)

    def _as_of(self, info: ImageInfo, asked: float) -> float:
        return self._promised_at if info.image_id in self._promised else asked

    def _take(self, images: Iterator[ImageInfo]) -> list[ImageInfo]:
        return list(itertools.islice(images, BATCH))

    def _is_name(self, image_id: str) -> bool:
        fits = image_id not in ("", ".", "..") and not {"/", "\0"} & set(image_id)
        fits = fits and len(os.fsencode(image_id)) <= NAME_MAX
        self.left_out += not fits
        return fits
