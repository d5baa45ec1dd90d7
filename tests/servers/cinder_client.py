# SPDX-License-Identifier: Apache-2.0
"""Another program at the tests' Cinder: makes images as Glance does, and looks behind storefs."""

import contextlib
import sqlite3
import time
import uuid
from collections.abc import Iterator
from typing import Any

from tests.servers import shared
from tests.servers.cinder import POOL, Cinder
from tests.servers.process import ServerFailed

PASSWORD = "glance-secret-word"

#: How long anything may take, seconds.
_PATIENCE = 60


class Project:
    """A project of its own: there is nothing in it but the test's volumes; `ServerFailed`."""

    def __init__(self, cinder: Cinder, kind: str = "rbd") -> None:
        try:
            from cinderclient import client
            from keystoneauth1 import session
            from keystoneauth1.identity import v3
        except ImportError as exc:
            raise ServerFailed(f"Cinder's client is missing, see bootstrap cinder: {exc}") from exc

        self.cinder = cinder
        self.kind = kind
        self.name = f"images-{uuid.uuid4().hex[:12]}"
        self.id = cinder.keystone.add_project(self.name)
        cinder.keystone.add_user("glance", PASSWORD, self.name)
        auth = v3.Password(
            auth_url=cinder.keystone.url,
            username="glance",
            password=PASSWORD,
            user_domain_name="Default",
            project_name=self.name,
            project_domain_name="Default",
        )
        self._session = session.Session(auth=auth, timeout=_PATIENCE)
        self.client: Any = client.Client(
            "3.54", session=self._session, service_type="volumev3", interface="publicURL"
        )

    @property
    def options(self) -> dict[str, Any]:
        """What a store of this project is configured with."""
        return {
            "cinder_store_auth_address": self.cinder.keystone.url,
            "cinder_store_user_name": "glance",
            "cinder_store_password": PASSWORD,
            "cinder_store_project_name": self.name,
            "cinder_volume_type": self.kind,
            "cinder_rbd_keyring": str(self.cinder.keyring),
        }

    def put(self, image_id: str, data: bytes) -> str:
        """An image as Glance leaves one behind; the id of its volume."""
        metadata = {
            "glance_image_id": image_id,
            "image_size": str(len(data)),
            "image_owner": self.id,
        }
        made = self.client.volumes.create(
            1 + len(data) // 2**30,
            name=f"image-{image_id}",
            metadata=metadata,
            volume_type=self.kind,
        )
        self.await_status(made.id, "available")
        with self.image(made.id) as image:
            if data:
                image.write(data, 0)
        self.client.volumes.update_readonly_flag(made.id, True)
        return str(made.id)

    def copy_row(self, volume_id: str, image_id: str, size: int) -> None:
        """A volume that is nothing but rows of Cinder's database, like those of *volume_id*."""
        new_id = str(uuid.uuid4())
        connection = sqlite3.connect(self.cinder.database, timeout=_PATIENCE)
        try:
            with connection:
                _copy(connection, "volumes", "id", volume_id, id=new_id, name=f"image-{image_id}")
                for table in ("volume_metadata", "volume_admin_metadata"):
                    _copy(connection, table, "volume_id", volume_id, volume_id=new_id)
                for key, value in {"glance_image_id": image_id, "image_size": str(size)}.items():
                    connection.execute(
                        "UPDATE volume_metadata SET value = ? WHERE volume_id = ? AND key = ?",
                        (value, new_id, key),
                    )
        finally:
            connection.close()

    def volumes(self) -> list[Any]:
        """Every volume of the project."""
        return list(self.client.volumes.list())

    def volume_of(self, image_id: str) -> Any:
        """The one volume of an image."""
        wanted = {"metadata": {"glance_image_id": image_id}}
        (found,) = self.client.volumes.list(search_opts=wanted)
        return found

    def attachments(self) -> list[Any]:
        """Every attachment in the project, whatever its state."""
        return list(self.client.attachments.list())

    def unpublished(self) -> list[str]:
        """The names of volumes that are no images."""
        return [v.name for v in self.volumes() if "glance_image_id" not in v.metadata]

    def remove(self, image_id: str) -> None:
        """Delete the image and wait until it is gone."""
        volume = self.volume_of(image_id)
        volume.delete()
        self.await_gone(volume.id)

    def data(self, image_id: str) -> bytes:
        """The image's bytes, read past Cinder."""
        volume = self.volume_of(image_id)
        size = int(volume.metadata["image_size"])
        with self.image(volume.id) as image:
            return bytes(image.read(0, size))

    def await_status(self, volume_id: str, status: str) -> None:
        for volume in self._watched(volume_id):
            assert volume is not None, f"{volume_id} is gone"
            assert not volume.status.startswith("error"), volume.status
            if volume.status == status:
                return

    def await_gone(self, volume_id: str) -> None:
        for volume in self._watched(volume_id):
            if volume is None:
                return

    def _watched(self, volume_id: str) -> Iterator[Any]:
        from cinderclient import exceptions

        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                yield self.client.volumes.get(volume_id)
            except exceptions.NotFound:
                yield None
            assert time.monotonic() < deadline, f"in vain: {volume_id}"
            time.sleep(0.02)

    def image(self, volume_id: str) -> "_Image":
        """The volume's RBD image, past Cinder."""
        return _Image(self.cinder, f"volume-{volume_id}")


@contextlib.contextmanager
def own_project() -> Iterator[Project]:
    """A project at the tests' Cinder in which nothing may stay attached or unpublished."""
    project = Project(shared.cinder())
    yield project
    assert project.attachments() == []
    assert project.unpublished() == []


class _Image:
    """A volume's RBD image, opened and closed again."""

    def __init__(self, cinder: Cinder, name: str) -> None:
        self._cinder = cinder
        self._name = name

    def __enter__(self) -> Any:
        import rados
        import rbd

        conf = str(self._cinder.keyring.parent / "ceph.conf")
        self._cluster = rados.Rados(rados_id=self._cinder.user, conffile=conf)
        self._cluster.connect(timeout=_PATIENCE)
        self._pool = self._cluster.open_ioctx(POOL)
        self._image = rbd.Image(self._pool, self._name)
        return self._image

    def __exit__(self, *_exc: object) -> None:
        self._image.close()
        self._pool.close()
        self._cluster.shutdown()


def _copy(
    connection: sqlite3.Connection, table: str, key: str, value: str, name: str = "", **new: str
) -> None:
    """Copy the rows in which *key* is *value*, with *new* in place of what was there."""
    if name:
        new["display_name"] = name
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    kept = [column for column in columns if column != "id" or "id" in new]
    told = ", ".join("?" if column in new else column for column in kept)
    given = [new[column] for column in kept if column in new]
    connection.execute(
        f"INSERT INTO {table} ({', '.join(kept)}) SELECT {told} FROM {table} WHERE {key} = ?",
        (*given, value),
    )
