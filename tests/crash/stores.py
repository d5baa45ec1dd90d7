# SPDX-License-Identifier: Apache-2.0
"""The stores whose crashes are tried, and what a crash may have left in them."""

import abc
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.s3_client import Bucket
from tests.servers.s3_servers import gateway_bucket


class CrashStore(abc.ABC):
    """One empty store. *disk* is what loses power, and whatever storefs keeps on it."""

    kind: ClassVar[str]

    def __init__(self, disk: Path) -> None:
        self.state = disk / "state"
        self.spool = disk / "spool"

    @property
    @abc.abstractmethod
    def section(self) -> dict[str, Any]:
        """The options of the store."""

    @abc.abstractmethod
    def unpublished(self) -> list[str]:
        """What is at the store and no image."""

    def leftovers(self) -> list[str]:
        """What nobody will ever finish; to be asked while nobody writes."""
        return [*self.unpublished(), *self._stale_journals(), *self._spooled()]

    def _spooled(self) -> list[str]:
        return [path.name for path in self.spool.iterdir()] if self.spool.exists() else []

    def _stale_journals(self) -> Iterator[str]:
        """Journals nobody holds belong to a process that is gone."""
        for path in self.state.glob("*.*-*"):
            with path.open() as journal:
                try:
                    fcntl.flock(journal, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    yield path.name
                except BlockingIOError:
                    continue

    def close(self) -> None:
        """Take it away."""


class FileStore(CrashStore):
    kind = "file"

    def __init__(self, disk: Path) -> None:
        super().__init__(disk)
        self.datadir = disk / "images"

    @property
    def section(self) -> dict[str, Any]:
        return {"filesystem_store_datadir": self.datadir}

    def unpublished(self) -> list[str]:
        names = [path.name for path in self.datadir.iterdir()]
        return [name for name in names if name.startswith(".storefs-")]


class S3Store(CrashStore):
    """Small parts, so that many images are several."""

    kind = "s3"

    def __init__(self, disk: Path) -> None:
        super().__init__(disk)
        self._bucket: Bucket = gateway_bucket()

    @property
    def section(self) -> dict[str, Any]:
        return {**self._bucket.options, "s3_store_large_object_chunk_size": 5}

    def unpublished(self) -> list[str]:
        return self._bucket.uploads()

    def close(self) -> None:
        self._bucket.remove()


#: STOREFS_REQUIRE's name -> the store
STORES: dict[str, type[CrashStore]] = {"file": FileStore, "s3-versitygw": S3Store}
