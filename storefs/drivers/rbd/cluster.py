# SPDX-License-Identifier: Apache-2.0
"""One long-lived connection to a Ceph cluster: made when it is needed, made again when lost.

librados goes on by itself when monitors and OSDs come back. Two things it does
not survive: being shut out by the cluster (blocklisted), and a fork - the child
would hang. So the connection belongs to the process that made it.
"""

import contextlib
import copy
import dataclasses
import errno
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from storefs import exceptions
from storefs.drivers.rbd.aside import Asides
from storefs.drivers.rbd.connection import Connection
from storefs.drivers.rbd.errors import code_of, translated
from storefs.drivers.rbd.io import OpenImage
from storefs.drivers.rbd.sdk import Sdk

T = TypeVar("T")

#: How long Ceph may take where nobody said anything, seconds.
_PATIENCE = "30"

#: How long closing waits for what is still under way, seconds.
_FAREWELL = 10.0

#: librados' time-outs, and what they are when nobody set them.
_TIMEOUTS = {
    "client_mount_timeout": "300",
    "rados_mon_op_timeout": "0",
    "rados_osd_op_timeout": "0",
}

#: What is written is durable when it was answered: no cache. And librbd has a copy of what is
#: under way: an operation that timed out may still be sent, from memory long freed.
_FIXED = {"rbd_cache": "false", "rbd_disable_zero_copy_writes": "true"}


@dataclasses.dataclass(frozen=True)
class Access:
    """How the cluster is reached: Ceph's file (empty: its default places), user, time-out."""

    conf: str
    user: str
    timeout: int


class Cluster:
    """The cluster a store is in. Thread-safe; nothing is connected before it is used."""

    def __init__(self, sdk: Sdk, access: Access, store_id: str) -> None:
        self.sdk = sdk
        self.access = access
        self.asides = Asides()
        #: how long a few operations may take together, seconds; None: for ever
        self.patience: float | None = None
        self._store_id = store_id
        self._connection: Connection | None = None
        #: lost ones: images open on them still have to be closed
        self._lost: list[Connection] = []
        self._lock = threading.Lock()
        self._attempts = 0
        self._failure: Exception | None = None

    @property
    def fsid(self) -> str | None:
        """The cluster's name for itself, once there was a connection."""
        connection = self._connection
        return connection.fsid if connection else None

    def call(self, pool: str, what: str, work: Callable[[Any], T]) -> T:
        """``work(ioctx)`` on *pool*; once more on a new connection if Ceph shut this one out.

        The SDK's exceptions leave as `storefs.exceptions` about *what*.
        """
        return self._on_connection(what, lambda connection: work(self._pool(connection, pool)))

    @contextlib.contextmanager
    def using(self, pool: str, what: str) -> Iterator[Any]:
        """The pool's ioctx for more than one call; what the block raises is not tried again."""
        with translated(what):
            connection = self._connected()
            with connection.use():
                yield self._pool(connection, pool)

    def call_aside(self, pool: str, what: str, work: Callable[[Any], T]) -> T:
        """`call` for work that opens images for writing; `TimeoutError` when it hangs."""
        return self.aside(what, lambda: self.call(pool, what, work))

    def aside(self, what: str, work: Callable[[], T]) -> T:
        self._connected()
        return self.asides.run(work, self.patience, what)

    def open(self, pool: str, what: str, open_: Callable[[Any], Any]) -> OpenImage:
        """The rbd.Image that *open_* opens; whoever forgets to close it, `close` does."""
        return self._on_connection(
            what, lambda connection: connection.own(open_(self._pool(connection, pool)), what)
        )

    def mon_command(self, command: str) -> bytes:
        """The answer of the monitors to *command*, JSON; `storefs.exceptions`."""
        with translated("The Ceph cluster"):
            connection = self._connected()
            with connection.use():
                code, out, status = connection.handle.mon_command(command, b"")
        if code < 0:
            raise exceptions.RemoteServiceUnavailable(f"Ceph's monitors answer: {status}")
        return bytes(out)

    def default(self, name: str) -> str:
        """The value of an option of Ceph's own for this client."""
        with translated("The Ceph cluster"):
            connection = self._connected()
            with connection.use():
                return str(connection.handle.conf_get(name) or "")

    def lost(self, connection: Connection) -> None:
        """Make another one for the next call."""
        with self._lock:
            if self._connection is connection:
                self._connection = None
                self._lost.append(connection)

    def close(self) -> None:
        """Close what is open, and shut down.

        Where librbd is busy for longer, a thread goes on alone: it has everything that must
        not be freed before it was closed, until then or for ever.
        """
        farewell = threading.Thread(target=self._farewell, name="rbd-farewell", daemon=True)
        farewell.start()
        farewell.join(_FAREWELL)

    def _farewell(self) -> None:
        self.asides.finished(None)
        with self._lock:
            found = [c for c in (*self._lost, self._connection) if c is not None]
            self._lost, self._connection = [], None
        for connection in found:
            if connection.pid == os.getpid():
                connection.shutdown()
            else:
                connection.forsake()

    def _on_connection(self, what: str, work: Callable[[Connection], T]) -> T:
        with translated(what):
            connection = self._connected()
            try:
                with connection.use():
                    return work(connection)
            except Exception as exc:
                if code_of(exc) not in (errno.ESHUTDOWN, errno.ENOTCONN):
                    raise
                self.lost(connection)
            connection = self._connected()
            with connection.use():
                return work(connection)

    def _connected(self) -> Connection:
        attempt = self._attempts
        with self._lock:
            if self._connection is not None and self._connection.pid == os.getpid():
                return self._connection
            if self._attempts > attempt and self._failure is not None:
                # Who waited while another one tried in vain need not wait as long again.
                raise copy.copy(self._failure)
            self._failure = None
            if self._connection is not None:
                self._connection.forsake()
            try:
                self._connection = self._connect()
            except Exception as exc:
                # Without the traceback, whose frames have the handle.
                self._failure = copy.copy(exc)
                raise
            finally:
                self._attempts += 1
            return self._connection

    def _connect(self) -> Connection:
        with contextlib.ExitStack() as failed:
            try:
                handle = self._handle()
                failed.callback(handle.shutdown)
                handle.connect()
            except Exception as exc:
                code = code_of(exc)
                if code is None:
                    raise
                raise self._refusal(code) from exc
            self.patience = 2 * float(handle.conf_get("rados_osd_op_timeout")) or None
            with translated("The Ceph cluster"):
                connection = Connection(handle)
            failed.pop_all()
            return connection

    def _handle(self) -> Any:
        """A handle that has read Ceph's file, with our time-outs."""
        handle = self.sdk.rados.Rados(
            conffile=self.access.conf, rados_id=self.access.user, conf=_FIXED
        )
        for name, unset in _TIMEOUTS.items():
            if self.access.timeout >= 0:
                handle.conf_set(name, str(self.access.timeout))
            elif handle.conf_get(name) == unset:
                handle.conf_set(name, _PATIENCE)
        return handle

    def _refusal(self, code: int) -> Exception:
        """Why there is no connection, and which option to look at."""
        conf = self.access.conf or "Ceph's configuration file"
        user = f"client.{self.access.user}"
        if code == errno.ETIMEDOUT:
            return exceptions.TimeoutError(
                f"No monitor of {conf} answers: is the cluster up? check rbd_store_ceph_conf and "
                "rados_connect_timeout"
            )
        if code in (errno.EPERM, errno.EACCES):
            return self._bad(
                f"Ceph does not let {user} in: check rbd_store_user and the key in its keyring"
            )
        if code == errno.ENOENT:
            return self._bad(
                f"{conf} or the keyring of {user} it names cannot be found: check "
                "rbd_store_ceph_conf and rbd_store_user"
            )
        return self._bad(
            f"{conf} or the keyring of {user} cannot be used ({os.strerror(code)}): check "
            "rbd_store_ceph_conf and rbd_store_user"
        )

    def _pool(self, connection: Connection, name: str) -> Any:
        try:
            return connection.pool(name)
        except Exception as exc:
            if code_of(exc) != errno.ENOENT:
                raise
            raise self._bad(
                f"the cluster has no pool {name}: check rbd_store_pool, or create it (ceph osd "
                f"pool create {name}; rbd pool init {name})"
            ) from exc

    def _bad(self, reason: str) -> exceptions.BadStoreConfiguration:
        return exceptions.BadStoreConfiguration(store_name=self._store_id, reason=reason)
