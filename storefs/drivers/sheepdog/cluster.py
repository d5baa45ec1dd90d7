# SPDX-License-Identifier: Apache-2.0
"""The way into a cluster: several gateways, connections kept for them, and asking again.

Any sheep serves any request, so what one gateway does not answer the next one is
asked. Every request the driver sends may be sent twice: either the second one
does the same again, or who sent it finds out what the first one did.
"""

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Iterator, Sequence

from storefs import exceptions
from storefs.drivers.sheepdog.connection import Connection, Gateway
from storefs.drivers.sheepdog.errors import LEAVING, RETRY, TABLE, error_of
from storefs.drivers.sheepdog.wire import SUCCESS, Malformed, Reply, Request

#: The waits before the following attempts, seconds.
BACK_OFF = (0.05, 0.2, 0.8, 2.0)

#: How long a gateway that did not answer is asked after all the others, seconds.
ASIDE = 30.0

#: Requests that go out together; what they bring together is in memory at once.
BATCH = 128


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """Time-outs in seconds; *idle* connections are kept to each gateway."""

    connect_timeout: float = 5.0
    timeout: float = 30.0
    idle: int = 8
    back_off: Sequence[float] = BACK_OFF


class _Leaving(Exception):
    """A node said that it goes."""


class _Failed(Exception):
    """A gateway did not do what it was asked. *stale*: the connection was an old one."""

    def __init__(self, gateway: Gateway, cause: Exception, *, stale: bool = False) -> None:
        super().__init__(f"{gateway}: {_reason(cause)}")
        self.timed_out = isinstance(cause, TimeoutError)
        self.stale = stale


class Cluster:
    """Thread-safe; a call takes a connection for itself."""

    def __init__(self, gateways: Sequence[Gateway], settings: Settings) -> None:
        self.gateways = tuple(gateways)
        self.settings = settings
        self._lock = threading.Lock()
        self._idle: dict[Gateway, list[Connection]] = {gateway: [] for gateway in gateways}
        self._aside_until: dict[Gateway, float] = {}
        self._closed = False

    def ask(self, request: Request, what: str) -> Reply:
        """The reply to *request* if it is a success; else `error_of` it, which names *what*."""
        (reply,) = self.call([request])
        return succeeded(reply, what)

    def call(self, requests: Sequence[Request]) -> list[Reply]:
        """All of *requests*, pipelined; the replies in their order, successes or not.

        What is worth another attempt gets it. `TimeoutError`,
        `RemoteServiceUnavailable` where no gateway answers.
        """
        replies: list[Reply] = []
        for first in range(0, len(requests), BATCH):
            replies += self._call(requests[first : first + BATCH])
        return replies

    def at(self, gateway: Gateway, request: Request, what: str) -> Reply:
        """The same of one gateway alone, in one attempt."""
        try:
            (reply,) = self._exchange(gateway, [request])
        except _Failed as exc:
            raise self._unreachable(exc) from exc
        return succeeded(reply, what)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            connections = [c for idle in self._idle.values() for c in idle]
            for idle in self._idle.values():
                idle.clear()
        for connection in connections:
            connection.close()

    def _call(self, requests: Sequence[Request]) -> list[Reply]:
        """One batch, until every request has an answer that counts."""
        replies: dict[int, Reply] = {}
        for wait in (*self.settings.back_off, None):
            left = [n for n in range(len(requests)) if n not in replies]
            found = self._anywhere([requests[n] for n in left])
            replies |= {n: r for n, r in zip(left, found) if r.result not in RETRY or wait is None}
            if len(replies) == len(requests) or wait is None:
                break
            time.sleep(wait)
        return [replies[n] for n in range(len(requests))]

    def _anywhere(self, requests: Sequence[Request]) -> list[Reply]:
        """From the first gateway that answers; those in turn that were not slow to say no."""
        silent: set[Gateway] = set()
        for wait in (*self.settings.back_off, None):
            for gateway in self._in_order():
                if gateway in silent:
                    continue
                try:
                    return self._fresh_or_not(gateway, requests)
                except _Failed as exc:
                    failure = exc
                    if exc.timed_out:
                        silent.add(gateway)
                    self._put_aside(gateway)
            if wait is None or silent.issuperset(self.gateways):
                raise self._unreachable(failure) from failure
            time.sleep(wait)
        raise AssertionError("the last wait is None")

    def _fresh_or_not(self, gateway: Gateway, requests: Sequence[Request]) -> list[Reply]:
        """A kept connection may have ended long ago: that is no fault of the gateway."""
        try:
            return self._exchange(gateway, requests)
        except _Failed as exc:
            if not exc.stale:
                raise
        self._forget(gateway)
        return self._exchange(gateway, requests)

    def _exchange(self, gateway: Gateway, requests: Sequence[Request]) -> list[Reply]:
        kept = False
        try:
            with self._connection(gateway) as (connection, kept):
                return _of_who_stays(connection.exchange(requests))
        except (OSError, Malformed, _Leaving) as exc:
            stale = kept and not isinstance(exc, TimeoutError | Malformed | _Leaving)
            raise _Failed(gateway, exc, stale=stale) from exc

    @contextlib.contextmanager
    def _connection(self, gateway: Gateway) -> Iterator[tuple[Connection, bool]]:
        """A connection for oneself, and whether it was used before; closed after any error."""
        with self._lock:
            idle = self._idle[gateway]
            connection = idle.pop() if idle else None
        kept = connection is not None
        if connection is None:
            settings = self.settings
            connection = Connection(gateway, settings.connect_timeout, settings.timeout)
        try:
            yield connection, kept
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._aside_until.pop(gateway, None)
            if not self._closed and len(idle) < self.settings.idle:
                idle.append(connection)
                return
        connection.close()

    def _in_order(self) -> list[Gateway]:
        """As configured, but first those that did not fail of late."""
        now = time.monotonic()
        with self._lock:
            return sorted(self.gateways, key=lambda g: self._aside_until.get(g, 0) > now)

    def _put_aside(self, gateway: Gateway) -> None:
        with self._lock:
            self._aside_until[gateway] = time.monotonic() + ASIDE

    def _forget(self, gateway: Gateway) -> None:
        with self._lock:
            connections, self._idle[gateway][:] = self._idle[gateway][:], []
        for connection in connections:
            connection.close()

    def _unreachable(self, failure: _Failed) -> exceptions.GlanceStoreException:
        if failure.timed_out:
            return exceptions.TimeoutError(
                f"{failure}; check sheepdog_store_address, sheepdog_store_port, or raise "
                "sheepdog_store_timeout"
            )
        return exceptions.RemoteServiceUnavailable(
            f"Cannot speak with Sheepdog at {failure}; check sheepdog_store_address and "
            "sheepdog_store_port"
        )


def _of_who_stays(replies: list[Reply]) -> list[Reply]:
    for reply in replies:
        if reply.result in LEAVING:
            raise _Leaving(TABLE[reply.result][1])
    return replies


def succeeded(reply: Reply, what: str) -> Reply:
    """*reply*, or the exception it stands for."""
    if reply.result != SUCCESS:
        raise error_of(reply.result, what)
    return reply


def _reason(cause: Exception) -> str:
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, socket.gaierror):
        return f"the host is not known ({cause.strerror})"
    if isinstance(cause, OSError):
        return cause.strerror or str(cause)
    return str(cause)
