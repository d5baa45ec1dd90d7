# SPDX-License-Identifier: Apache-2.0
"""Taking images away: snapshots first, and into the trash what clones still need."""

import dataclasses
import errno
import logging
from typing import Any

from storefs import exceptions
from storefs.drivers.rbd.errors import code_of
from storefs.drivers.rbd.location import SNAPSHOT
from storefs.drivers.rbd.sdk import Sdk

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Removal:
    """Removing images from one pool, *ioctx*; raises what the SDK raises, and what it says."""

    sdk: Sdk
    ioctx: Any

    def prepare(self, name: str) -> bool:
        """Take the snapshot away; True if that is all, False where clones need the image.

        Changes nothing where it raises: `HasSnapshot` for snapshots that are not ours,
        `InUseByStore` if somebody has it open for writing.
        """
        with self.sdk.rbd.Image(self.ioctx, name) as image:
            if len(list(image.watchers_list())) > 1:
                raise exceptions.InUseByStore(
                    f"Image {name} is open elsewhere (rbd status), and cannot be removed"
                )
            names = [snapshot["name"] for snapshot in image.list_snaps() if self._visible(snapshot)]
            if any(found != SNAPSHOT for found in names):
                raise exceptions.HasSnapshot(
                    f"Image {name} has snapshots beside {SNAPSHOT!r}: rbd snap ls shows them"
                )
            if names and not self._without_snapshot(image):
                return False
            return not list(image.list_snaps())

    def finish(self, name: str) -> None:
        """Remove *name*, which `prepare` has prepared; one that is gone is right as well."""
        try:
            self.sdk.rbd.RBD().remove(self.ioctx, name)
        except self.sdk.rbd.ImageNotFound:
            LOG.debug("%s was gone already", name)

    def remove(self, name: str) -> None:
        """All of it, as for what nobody sees any more; what cannot go yet goes to the trash."""
        try:
            removable = self.prepare(name)
        except self.sdk.rbd.ImageNotFound:
            return
        except exceptions.HasSnapshot:
            removable = False
        if removable:
            self.finish(name)
        else:
            self.to_trash(name)

    def to_trash(self, name: str) -> None:
        """Out of sight, while clones go on; ``rbd trash restore`` brings it back."""
        self.sdk.rbd.RBD().trash_move(self.ioctx, name, 0)
        LOG.info(
            "Image %s has clones or snapshots and was moved to the trash of pool %s: rbd trash "
            "purge frees it when they are gone",
            name,
            self.ioctx.name,
        )

    def _visible(self, snapshot: Any) -> bool:
        return bool(snapshot["namespace"] == self.sdk.rbd.RBD_SNAP_NAMESPACE_TYPE_USER)

    def _without_snapshot(self, image: Any) -> bool:
        """Remove the snapshot; False, and it is as it was, if there are clones of it."""
        if self._has_children(image):
            return False
        try:
            if image.is_protected_snap(SNAPSHOT):
                image.unprotect_snap(SNAPSHOT)
        except self.sdk.rbd.ImageBusy:
            return False
        image.remove_snap(SNAPSHOT)
        return True

    def _has_children(self, image: Any) -> bool:
        """Clones, as far as this user may see them: unprotecting sees the others."""
        image.set_snap(SNAPSHOT)
        try:
            return any(True for _ in image.list_children2())
        except Exception as exc:
            if code_of(exc) not in (errno.EPERM, errno.EACCES, errno.ENOENT):
                raise
            return False
        finally:
            image.set_snap(None)
