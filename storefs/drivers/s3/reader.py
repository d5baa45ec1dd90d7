# SPDX-License-Identifier: Apache-2.0
"""Reading an object: plain ranged GETs with one signature, of one version alone."""

import dataclasses

from storefs.drivers.base import ImageInfo
from storefs.drivers.ranged_http import RangedHttp, Validators
from storefs.drivers.s3.client import S3Client


@dataclasses.dataclass(frozen=True, slots=True)
class S3Object:
    """What a server tells of an object; *etag* as in its header.

    *version_id* is empty where the bucket keeps no versions; *tagged* says whether
    there are tags to ask for.
    """

    info: ImageInfo
    etag: str
    version_id: str = ""
    tagged: bool = False

    @property
    def query(self) -> dict[str, str]:
        """What asks for this version of it."""
        return {"versionId": self.version_id} if self.version_id not in {"", "null"} else {}

    def at(self, mtime_ns: int) -> "S3Object":
        """The same with another mtime."""
        return dataclasses.replace(self, info=dataclasses.replace(self.info, mtime_ns=mtime_ns))


class S3Reader(RangedHttp):
    """One version of an object.

    Where the bucket keeps versions it can be read on after it was replaced; else
    the server refuses, and that is `ImageChanged`.
    """

    CONDITION = "If-Match"

    def __init__(self, client: S3Client, key: str, found: S3Object, connections: int) -> None:
        origin = client.readable(key, found.query)
        pinned = Validators(found.etag, size=found.info.size)
        super().__init__(client.transport, origin, found.info, pinned)
        self.max_concurrency = connections
