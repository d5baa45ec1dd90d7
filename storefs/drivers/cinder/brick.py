# SPDX-License-Identifier: Apache-2.0
"""os-brick: what brings an attached volume to this host, and takes it away again."""

import dataclasses
import glob
import os
import pathlib
import platform
import shlex
import socket
import sys
import threading
import warnings
from collections.abc import Mapping
from typing import Any

from storefs import exceptions
from storefs.drivers.base import Options
from storefs.drivers.cinder.device import Device, FileDevice, RbdDevice
from storefs.drivers.cinder.errors import translated

Connection = Mapping[str, Any]

#: With these nothing of the host's stays behind when a process is killed.
_WITHOUT_TRACE = {"rbd", "nfs"}

#: Where a host that can attach block devices has something: iSCSI, Fibre Channel, NVMe over
#: fabrics, PowerFlex, StorPool, Veritas.
_INITIATORS = (
    "/etc/iscsi/initiatorname.iscsi",
    "/sys/class/fc_host/*",
    "/sys/class/nvme-fabrics/ctl",
    "/opt/emc/scaleio",
    "/etc/storpool.conf",
    "/etc/vx",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Plugged:
    """A connected volume: its bytes, and what os-brick wants back to disconnect it."""

    device: Device
    connector: Any
    connection: Connection
    told: Any


class Brick:
    """This host's end of attachments. Made in the thread that configures the store.

    `BadStoreConfiguration` without os-brick.
    """

    def __init__(self, options: Options, store_id: str) -> None:
        self._options = options
        self._store_id = store_id
        self._lock = threading.Lock()
        self._connector: dict[str, Any] | None = None
        self._root_helper = ""
        # Now, and not with the first volume: a thread in which eventlet is imported first
        # does not end any more (seen with eventlet 0.41).
        self._privileged, self._privsep = _imported()

    def connector(self) -> Mapping[str, Any]:
        """What Cinder has to know of this host; found out once, it asks many programs."""
        with self._lock:
            if self._connector is None:
                self._prepare()
                self._connector = self._properties()
            return self._connector

    def plug(self, connection: Connection, what: str, mode: str) -> Plugged:
        """Connect the volume; nothing stays connected when this raises."""
        self._check(connection, what)
        connector = self._factory(connection)
        wanted = self._with_key(connection)
        with translated(f"Connecting {what} ({connection['driver_volume_type']})"):
            told = connector.connect_volume(wanted)
        try:
            device = self._device(told["path"], what, mode)
        except BaseException:
            connector.disconnect_volume(wanted, told, force=True, ignore_errors=True)
            raise
        return Plugged(device, connector, wanted, told)

    def unplug(self, plugged: Plugged, what: str) -> None:
        """Disconnect it, by force: whoever uses the same device later must not meet this one."""
        try:
            plugged.device.close()
        finally:
            with translated(f"Disconnecting {what}"):
                plugged.connector.disconnect_volume(plugged.connection, plugged.told, force=True)

    def unplug_leftover(self, connection: Connection, what: str) -> None:
        """What a process that is gone has left of a connection."""
        if not connection or connection.get("driver_volume_type") in _WITHOUT_TRACE:
            return
        self.connector()
        with translated(f"Disconnecting {what}"):
            self._factory(connection).disconnect_volume(dict(connection), None, force=True)

    def extended(self, plugged: Plugged, what: str) -> None:
        """Have the host see that the volume has grown; RBD and files show it at once."""
        if isinstance(plugged.device, FileDevice) and not plugged.device.fresh:
            with translated(f"Extending {what}"):
                plugged.connector.extend_volume(plugged.connection)

    def _check(self, connection: Connection, what: str) -> None:
        if connection.get("encrypted"):
            raise exceptions.BadStoreConfiguration(
                f"{what} is encrypted, and images cannot be: choose another cinder_volume_type"
            )
        if connection.get("format", "raw") not in {None, "raw"}:
            raise exceptions.BadStoreConfiguration(
                f"{what} is a file in format {connection['format']}: Cinder's NFS driver needs "
                "nfs_qcow2_volumes = false for images"
            )

    def _factory(self, connection: Connection) -> Any:
        from os_brick.initiator import connector

        with translated("os-brick"):
            return connector.InitiatorConnector.factory(
                connection["driver_volume_type"],
                self._root_helper,
                use_multipath=self._options.cinder_use_multipath,
                conn=dict(connection),
                nfs_mount_point_base=self._options.cinder_mount_point_base,
            )

    def _device(self, path: Any, what: str, mode: str) -> Device:
        if not isinstance(path, str):
            return RbdDevice(path, what)
        return FileDevice(path, what, writable=mode == "rw")

    def _with_key(self, connection: Connection) -> dict[str, Any]:
        """Cinder does not send Ceph's key, and os-brick would wait for Ceph for ever.

        It writes what it is given as the key into the configuration it connects
        with: so the time-outs go along.
        """
        wanted = dict(connection)
        if connection["driver_volume_type"] == "rbd" and connection.get("auth_username"):
            path = self._keyring(connection)
            try:
                text = path.read_text()
            except OSError as exc:
                raise exceptions.BadStoreConfiguration(
                    f"The key of Ceph's user {connection['auth_username']} cannot be read "
                    f"({exc.strerror}): put it into {path}, or set cinder_rbd_keyring"
                ) from exc
            wanted["keyring"] = f"{self._limits()}{text}"
        return wanted

    def _keyring(self, connection: Connection) -> pathlib.Path:
        if self._options.cinder_rbd_keyring:
            return pathlib.Path(self._options.cinder_rbd_keyring)
        cluster, user = connection["cluster_name"], connection["auth_username"]
        return pathlib.Path("/etc/ceph") / f"{cluster}.client.{user}.keyring"

    def _limits(self) -> str:
        seconds = max(1, round(self._options.cinder_device_timeout))
        names = ("client_mount_timeout", "rados_mon_op_timeout", "rados_osd_op_timeout")
        lines = [f"{name} = {seconds}" for name in names]
        return "\n".join([*lines, "rbd_cache = false", ""])

    def _prepare(self) -> None:
        """Have os-brick do as root what needs root, without a daemon where we are root."""
        if os.geteuid() == 0:
            self._privileged.default.set_client_mode(False)
            return
        self._root_helper = f"sudo glance-rootwrap {self._options.rootwrap_config}"
        self._privsep.init(root_helper=shlex.split(self._root_helper))

    def _properties(self) -> dict[str, Any]:
        from os_brick.initiator import connector

        options = self._options
        host = socket.gethostname()
        if not options.cinder_use_multipath and not any(map(glob.glob, _INITIATORS)):
            return _plain(host)
        with translated("What this host can attach"):
            found: dict[str, Any] = connector.get_connector_properties(
                self._root_helper,
                _address(host),
                options.cinder_use_multipath,
                options.cinder_enforce_multipath,
                host=host,
            )
        return found


def _plain(host: str) -> dict[str, Any]:
    """What RBD and NFS need to know; the rest takes seconds and complains of what is missing."""
    return {
        "host": host,
        "ip": _address(host),
        "platform": platform.machine(),
        "os_type": sys.platform,
        "multipath": False,
        "do_local_attach": False,
    }


def _imported() -> tuple[Any, Any]:
    """os-brick; eventlet, which comes with it and is not used, says that it is deprecated."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from os_brick import privileged
            from os_brick.initiator import connector  # noqa: F401 - the rest of it
            from oslo_privsep import priv_context
    except ImportError as exc:
        raise exceptions.BadStoreConfiguration(
            f"os-brick is not installed ({exc}): install storefs[cinder]"
        ) from exc
    return privileged, priv_context


def _address(host: str) -> str:
    """An address of this host, as other hosts know it where that is told."""
    try:
        return socket.gethostbyname(host)
    except OSError:
        return "127.0.0.1"
