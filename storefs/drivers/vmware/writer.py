# SPDX-License-Identifier: Apache-2.0
"""An image on its way into a datastore: a hidden file, sent by one PUT and renamed at the end.

The first part is held back until a second one comes: an image of one part is
sent at once, and again if that fails. A longer one is streamed, which cannot
be repeated; before that an empty file is made, so that a session that has
expired, missing rights or a redirect show when nothing is lost.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping

from storefs import exceptions
from storefs.drivers.base import DEFAULT_PART_SIZE, Writer, mtime_property
from storefs.drivers.vmware import notes
from storefs.drivers.vmware.folder import File, Folder
from storefs.drivers.vmware.names import note_name, temporary_name
from storefs.drivers.vmware.stream import BodyStream
from storefs.drivers.vmware.uploads import Uploads

LOG = logging.getLogger(__name__)


class VmwareWriter(Writer):
    """One image called *name* in *folder*, of *size* bytes if that is known.

    *publish* is called with the hidden file's name and what it is; it gives the
    image its name, or raises.
    """

    def __init__(
        self,
        folder: Folder,
        uploads: Uploads,
        name: str,
        size: int | None,
        *,
        publish: Callable[[str, File], None],
        settle: bool,
    ) -> None:
        self._folder = folder
        self._uploads = uploads
        self._name = name
        self._size = size
        self._publish = publish
        self._settle = settle
        self._temporary = ""
        self._held: bytes | None = None
        self._stream: BodyStream | None = None
        self._position = 0
        self._properties: Mapping[str, str] = {}
        self._busy = threading.Lock()
        self._ended = False

    def pwrite(self, data: memoryview, offset: int) -> None:
        self.pwritev([data], offset)

    def pwritev(self, pieces: list[memoryview], offset: int) -> None:
        """In pieces it is sent without a copy."""
        length = sum(map(len, pieces))
        with self._busy:
            self._check_open()
            if offset != self._position:
                raise exceptions.UnsupportedWrite(image=self._name)
            if offset == 0 and (self._size or 0) <= length:
                self._held = b"".join(pieces)
            else:
                with self._room_checked():
                    stream = self._streaming()
                    while pieces:
                        stream.put(pieces.pop(0))
            self._position += length

    def stage(self, properties: Mapping[str, str]) -> bool:
        mtime_property(properties, 0)
        self._properties = dict(properties)
        return True

    def commit(self, size: int) -> None:
        with self._busy:
            self._check_open()
            if size != self._position or self._size not in {None, size}:
                raise exceptions.Invalid(
                    f"{self._name}: {size} bytes are published, {self._position} were written "
                    f"of {self._size}"
                )
            with self._room_checked():
                file = self._stored()
            self._publish_all(file)
            self._uploads.ended(self._temporary)
            self._ended, self._temporary, self._held = True, "", None

    def abort(self) -> None:
        self._ended = True
        self._break_off()
        with self._busy:
            self._break_off()  # one that was begun meanwhile
            self._held = None
            temporary, self._temporary = self._temporary, ""
            if temporary:
                self._uploads.drop(self._folder, temporary)

    def _break_off(self) -> None:
        if self._stream is not None:
            self._stream.break_off()

    def _check_open(self) -> None:
        if self._ended:
            raise exceptions.BackendException(f"The upload of {self._name} has ended")

    def _begin(self) -> None:
        if self._settle:
            self._folder.settle(self._name)
        self._temporary = temporary_name()
        self._uploads.begun(self._folder, self._temporary)

    def _streaming(self) -> BodyStream:
        """The stream; begun, with what was held back, if that was not done."""
        if self._stream is None:
            self._begin()
            self._stream = self._folder.stream(self._temporary, self._size)
            held, self._held = self._held, None
            if held:
                self._stream.put(held)
            self._check_open()
        return self._stream

    def _stored(self) -> File:
        """All of it at the server, under the hidden name."""
        if self._stream is None:
            self._begin()
            self._folder.put(self._temporary, self._held or b"")
        else:
            self._stream.finish()
        file = self._folder.head(self._temporary)
        if file.size != self._position:
            raise exceptions.RemoteServiceUnavailable(
                f"The server kept {file.size} of {self._position} bytes of {self._name}: "
                "look at its log, and write the image again"
            )
        return file

    def _publish_all(self, file: File) -> None:
        """The image under its name, then its note: for a moment it has no hashes."""
        if self._properties:
            note = notes.encoded(file, self._properties)
            self._folder.put(note_name(self._temporary), note)
        self._publish(self._temporary, file)
        try:
            notes.move(self._folder, self._temporary, self._name)
        except exceptions.GlanceStoreException as exc:
            LOG.warning("%s is stored, but its hashes are not kept with it: %s", self._name, exc)

    @contextlib.contextmanager
    def _room_checked(self) -> Iterator[None]:
        """A failure for which the server has no word: is the datastore full?"""
        try:
            yield
        except (exceptions.RemoteServiceUnavailable, exceptions.TimeoutError) as exc:
            if self._folder.is_full(DEFAULT_PART_SIZE):
                raise exceptions.StorageFull(
                    f"There is no room in the datastore {self._folder.datastore}"
                ) from exc
            raise
