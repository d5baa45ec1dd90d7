# SPDX-License-Identifier: Apache-2.0
"""The server a store's options mean: connections, session and folders."""

from collections.abc import Sequence

from storefs import exceptions
from storefs.drivers.base import Options
from storefs.drivers.http_pool import HttpSettings
from storefs.drivers.http_transport import Transport
from storefs.drivers.vmware.datastores import Datastore, datastores_of
from storefs.drivers.vmware.errors import explain
from storefs.drivers.vmware.folder import Folder
from storefs.drivers.vmware.location import HOST
from storefs.drivers.vmware.session import Session

#: Waits between attempts, seconds; vmware_api_retry_count says how many of them, and
#: the last is repeated.
_BACK_OFF = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)

#: Connections beside those of readers: tasks, uploads, notes.
_OTHERS = 5


class Server:
    """Nothing connects yet. `BadStoreConfiguration` names the option that is wrong.

    *netloc* is as in locations: host, and port if one was given. *folders* are one a
    datastore, the heaviest first.
    """

    def __init__(self, options: Options, store_id: str) -> None:
        self._options = options
        self._store_id = store_id
        self.netloc = self._netloc()
        self.directory = self._directory()
        url = f"https://{self.netloc}"
        credentials = self._needed("vmware_server_username"), self._needed("vmware_server_password")
        datastores = self._datastores()
        self.transport = self._connected()
        self._session = Session(
            self.transport,
            f"{url}/sdk",
            credentials,
            poll_interval=options.vmware_task_poll_interval,
            task_timeout=options.vmware_store_task_timeout,
        )
        self.folders = [
            Folder(url, self._session, self.transport, datastore, self.directory)
            for datastore in datastores
        ]

    def close(self) -> None:
        self._session.close()
        self.transport.close()

    def _needed(self, name: str) -> str:
        value: str | None = getattr(self._options, name)
        if not value:
            raise self._bad(f"{name} is not set")
        return value

    def _netloc(self) -> str:
        host = self._needed("vmware_server_host").strip()
        if host.count(":") > 1 and not host.startswith("["):
            host = f"[{host}]"
        match = HOST.fullmatch(host)
        if match is None or int(match["port"] or 443) not in range(1, 65536):
            raise self._bad("vmware_server_host is a host or host:port, without https://")
        return host

    def _directory(self) -> str:
        directory: str = (self._options.vmware_store_image_dir or "").strip("/")
        if {"", ".", ".."}.intersection(directory.split("/")) and directory:
            raise self._bad("vmware_store_image_dir is the path of a directory")
        return directory

    def _datastores(self) -> Sequence[Datastore]:
        try:
            return datastores_of(self._options.vmware_datastores or [])
        except ValueError as exc:
            raise self._bad(f"vmware_datastores: {exc}") from exc

    def _connected(self) -> Transport:
        options = self._options
        count: int = options.vmware_api_retry_count
        settings = HttpSettings(
            connect_timeout=options.vmware_store_connect_timeout,
            read_timeout=options.vmware_store_read_timeout,
            max_connections=options.vmware_store_read_connections + _OTHERS,
            back_off=(*_BACK_OFF, *[_BACK_OFF[-1]] * count)[:count],
            ca_file=options.vmware_ca_file or None,
            insecure=options.vmware_insecure,
            tls_hint=": name its authority in vmware_ca_file",
        )
        try:
            return Transport(settings, explain)
        except OSError as exc:
            raise self._bad(f"vmware_ca_file: {exc.strerror or exc}") from exc

    def _bad(self, reason: str) -> exceptions.BadStoreConfiguration:
        return exceptions.BadStoreConfiguration(store_name=self._store_id, reason=reason)
