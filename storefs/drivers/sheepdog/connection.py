# SPDX-License-Identifier: Apache-2.0
"""One TCP connection to a sheep: requests go out together, replies come in any order.

A connection belongs to one caller at a time. What is sent and what is received is
bounded, in bytes by what was asked for and in time by a deadline for all of
it; after any fault the connection is of no use, since what is left on
it belongs to nobody.
"""

import contextlib
import itertools
import socket
import time
from collections.abc import Sequence
from typing import NamedTuple

from storefs.drivers.sheepdog.wire import HEADER, MAX_DATA, SUCCESS, Malformed, Reply, Request

#: A server slower than this, bytes a second, is given up.
SLOWEST = 64 * 1024

_SCRATCH = 64 * 1024


class Gateway(NamedTuple):
    """Host (a name, an IPv4 or IPv6 address without brackets) and port of a sheep."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Connection:
    """Connects at once; OSError, of which time-outs are some."""

    def __init__(self, gateway: Gateway, connect_timeout: float, timeout: float) -> None:
        self._timeout = timeout
        self._socket = socket.create_connection(gateway, connect_timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._numbers = itertools.count(1)
        self._header = bytearray(HEADER)
        self._deadline = 0.0

    def exchange(self, requests: Sequence[Request]) -> list[Reply]:
        """Send all *requests* and wait for all replies; in the order of the requests.

        OSError, `Malformed`: the connection is to be closed, and what is in the
        requests' buffers is not to be used.
        """
        length = sum(request.length for request in requests)
        self._deadline = time.monotonic() + self._timeout + length / SLOWEST
        pending: dict[int, tuple[int, Request]] = {}
        for position, request in enumerate(requests):
            number = next(self._numbers) & 0xFFFFFFFF
            pending[number] = position, request
            self._send(request.header(number), memoryview(request.payload).cast("B"))
        replies: dict[int, Reply] = {}
        while pending:
            position, reply = self._receive(pending)
            replies[position] = reply
        return [replies[position] for position in range(len(requests))]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()

    def _send(self, header: bytes, payload: memoryview) -> None:
        self._socket.settimeout(self._left())
        sent = self._socket.sendmsg([header, payload])
        if sent < HEADER:
            self._socket.sendall(header[sent:])
            sent = HEADER
        if sent - HEADER < len(payload):
            self._socket.settimeout(self._left())
            self._socket.sendall(payload[sent - HEADER :])

    def _receive(self, pending: dict[int, tuple[int, Request]]) -> tuple[int, Reply]:
        """One reply, its data in the buffer of its request."""
        self._fill(memoryview(self._header))
        reply = Reply.parse(bytes(self._header))
        if reply.number not in pending:
            raise Malformed(f"a reply to request {reply.number}, which was not sent")
        position, request = pending.pop(reply.number)
        if reply.opcode != request.opcode:
            raise Malformed(f"a reply to opcode {reply.opcode:#04x} for {request.opcode:#04x}")
        if reply.result != SUCCESS:
            self._discard(reply.length)
        elif reply.length != request.wanted:
            raise Malformed(f"{reply.length} bytes of data for the {request.wanted} asked for")
        elif request.into is not None:
            self._fill(request.into)
        return position, reply

    def _discard(self, length: int) -> None:
        """An error normally brings nothing; what it says it brings has to be taken."""
        if length > MAX_DATA:
            raise Malformed(f"{length} bytes of data beside an error")
        scratch = memoryview(bytearray(min(length, _SCRATCH)))
        while length:
            piece = scratch[:length]
            self._fill(piece)
            length -= len(piece)

    def _fill(self, view: memoryview) -> None:
        while view:
            self._socket.settimeout(self._left())
            count = self._socket.recv_into(view)
            if not count:
                raise ConnectionResetError("the server ended the connection")
            view = view[count:]

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer did not come in time")
        return left
