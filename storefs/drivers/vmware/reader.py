# SPDX-License-Identifier: Apache-2.0
"""Reading a file of a datastore: plain ranged GETs, each answer compared with what was opened."""

from collections.abc import Container

from storefs import exceptions
from storefs.drivers.base import Buffer, ImageInfo
from storefs.drivers.http_answer import Answer
from storefs.drivers.ranged_http import RangedHttp, Validators
from storefs.drivers.vmware.folder import File, Folder


class VmwareReader(RangedHttp):
    """One version of an image, told by Last-Modified and size: servers give no ETag."""

    def __init__(
        self, folder: Folder, name: str, file: File, info: ImageInfo, connections: int
    ) -> None:
        pinned = Validators(last_modified=file.last_modified, size=file.size)
        super().__init__(folder.transport, folder.origin(name), info, pinned)
        self.max_concurrency = connections
        self._last_modified = file.last_modified
        self._changed = False

    def pread(self, length: int, offset: int) -> Buffer:
        """What was replaced does not come back: the server is not asked again."""
        if self._changed:
            raise exceptions.ImageChanged(image=self.info.image_id)
        try:
            return super().pread(length, offset)
        except exceptions.ImageChanged:
            self._changed = True
            raise

    def _checked(self, answer: Answer, wanted: Container[int]) -> Answer:
        """What has no date is no file of a datastore, but somebody's page."""
        answer = super()._checked(answer, wanted)
        if answer.headers.get("Last-Modified") != self._last_modified:
            answer.close()
            raise exceptions.ImageChanged(image=self.info.image_id)
        return answer
