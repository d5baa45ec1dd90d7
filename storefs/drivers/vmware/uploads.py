# SPDX-License-Identifier: Apache-2.0
"""Hidden files of uploads: their journal and their end."""

import contextlib
import logging
import pathlib
import time
from collections.abc import Sequence

from storefs import exceptions
from storefs.drivers.journal import Journal, Record
from storefs.drivers.vmware import notes
from storefs.drivers.vmware.folder import Folder

LOG = logging.getLogger(__name__)

#: When a file is looked for that is to be deleted, seconds: a server may still be about
#: to make it for a request that was broken off.
_LOOKED_FOR = (0.0, 0.05, 0.2)


class Uploads:
    """What is under way in *folders*; *place* names the server and the directory."""

    def __init__(self, directory: pathlib.Path, place: str, folders: Sequence[Folder]) -> None:
        self._folders = {str(folder.datastore): folder for folder in folders}
        self._journal = Journal(directory, "vmware-uploads", place, self._undo)
        self.sweep_aside = self._journal.sweep_aside
        self.close = self._journal.close

    def begun(self, folder: Folder, name: str) -> None:
        """The server will soon have the file *name*, and its note."""
        self._journal.begun(name, datastore=str(folder.datastore), file=name)

    def ended(self, name: str) -> None:
        """It has another name now."""
        self._journal.ended(name)

    def drop(self, folder: Folder, name: str) -> None:
        """Delete it. One that is not there (yet) is looked for at the next start again."""
        try:
            found = any(_deleted(folder, name, wait) for wait in _LOOKED_FOR)
            notes.remove(folder, name)
        except exceptions.GlanceStoreException as exc:
            LOG.warning("%s stays until storefs starts again: %s", folder.path(name), exc)
            return
        if found:
            self._journal.ended(name)

    def _undo(self, record: Record) -> None:
        folder = self._folders[record["datastore"]]
        _deleted(folder, record["file"])
        notes.remove(folder, record["file"])


def _deleted(folder: Folder, name: str, wait: float = 0.0) -> bool:
    time.sleep(wait)
    with contextlib.suppress(exceptions.NotFound):
        folder.delete(name)
        return True
    return False
