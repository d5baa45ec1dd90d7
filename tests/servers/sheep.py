# SPDX-License-Identifier: Apache-2.0
"""A fake sheep: no Sheepdog is packaged any more, and tests need a server that errs on demand.

It was written from the protocol's description, not from the driver, and has the
habits of the real one that hurt: replies in any order, memory that was never written
after the end of an object, writes that nobody bounds, ids that are not given again,
a deletion that keeps the data where the index was not cleared. STOREFS_SHEEPDOG=host:port
runs the same tests against a real one.

python -m tests.servers.sheep PORT [unformatted]     in a process of its own
"""

import contextlib
import dataclasses
import random
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tests.servers.sheep_cluster import Answer, Asked, Cluster

_REQUEST = struct.Struct("<BBHIII32s")


@dataclasses.dataclass
class Fault:
    """What happens to the next *times* requests of *opcode* for which *fits* is true.

    *result* instead of doing it; *lose*: it is done, and the connection ends; *reset*: it is
    not even done; *stall*: it is done, and no answer comes; *then* is called before.
    """

    opcode: int
    times: int = 1
    result: int | None = None
    lose: bool = False
    reset: bool = False
    stall: bool = False
    then: Callable[[], object] | None = None
    fits: Callable[[Asked], bool] = lambda asked: True


class Sheep:
    """One gateway to *cluster* on 127.0.0.1 (or *host*); `asked` has every request it got."""

    def __init__(
        self, cluster: Cluster | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.cluster = cluster or Cluster()
        self.host = host
        self.asked: list[Asked] = []
        self.connections = 0
        #: what every request is answered with by a daemon that is going
        self.leaving = 0
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.released = threading.Event()
        self._server = self._serve(port)
        self.port: int = self._server.server_address[1]

    def _serve(self, port: int) -> "_Server":
        server = _Server((self.host, port), self, ":" in self.host)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def stop(self) -> None:
        """As a daemon that dies: every connection ends."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self.hang_up()

    def start(self) -> None:
        """Again, on the same port, with all that is stored."""
        self.released.clear()
        self.cluster.restart()
        self._server = self._serve(self.port)

    def hang_up(self) -> None:
        """End every connection there is."""
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def fault(self, opcode: int, **what: Any) -> Fault:
        """See `Fault`; later ones come after earlier ones."""
        fault = Fault(opcode, **what)
        with self._lock:
            self._faults.append(fault)
        return fault

    def count(self, opcode: int) -> int:
        """How many requests of *opcode* came."""
        return sum(asked.opcode == opcode for asked in self.asked)

    def serve(self, connection: socket.socket) -> None:
        """One connection: what has arrived is answered in any order."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self.connections += 1
            self._open.add(connection)
        waiting: list[tuple[Asked, Answer]] = []
        ready = threading.Condition()
        ended = threading.Event()
        sender = threading.Thread(
            target=self._send, args=(connection, waiting, ready, ended), daemon=True
        )
        sender.start()
        with contextlib.suppress(OSError, EOFError):
            for asked in self._requests(connection):
                answer = self._answer(asked)
                if answer is None:
                    break
                with ready:
                    waiting.append((asked, answer))
                    ready.notify()
        ended.set()
        with ready:
            ready.notify()
        sender.join()
        with self._lock:
            self._open.discard(connection)

    def _requests(self, connection: socket.socket) -> Iterator[Asked]:
        while True:
            header = _exactly(connection, 48)
            version, opcode, flags, _, number, length, fields = _REQUEST.unpack(header)
            payload = _exactly(connection, length) if flags & 0x01 else b""
            yield Asked(opcode, version, flags, number, length, fields, bytes(payload))

    def _answer(self, asked: Asked) -> Answer | None:
        """None: the connection ends."""
        fault = self._take(asked)
        if fault.then is not None:
            fault.then()
        if fault.reset:
            return None
        if fault.result is not None or self.leaving:
            return Answer(fault.result or self.leaving)
        answer = self.cluster.handle(asked)
        if fault.stall:
            self.released.wait(60)
        return None if fault.lose or fault.stall else answer

    def _take(self, asked: Asked) -> Fault:
        with self._lock:
            self.asked.append(dataclasses.replace(asked, payload=asked.payload[:512]))
            for fault in self._faults:
                if fault.times > 0 and fault.opcode == asked.opcode and fault.fits(asked):
                    fault.times -= 1
                    return fault
        return Fault(asked.opcode)

    def _send(
        self,
        connection: socket.socket,
        waiting: list[tuple[Asked, Answer]],
        ready: threading.Condition,
        ended: threading.Event,
    ) -> None:
        while True:
            with ready:
                ready.wait_for(lambda: waiting or ended.is_set())
                if not waiting:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
                    return
                answers = waiting[:]
                waiting.clear()
            random.shuffle(answers)
            with contextlib.suppress(OSError):
                for asked, answer in answers:
                    common = struct.pack(
                        "<BBHIII", 0, asked.opcode, 0, 1, asked.number, len(answer.data)
                    )
                    header = common + answer.result.to_bytes(4, "little") + answer.tail
                    connection.sendall(header)
                    connection.sendall(answer.data)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], sheep: Sheep, ipv6: bool) -> None:
        if ipv6:
            self.address_family = socket.AF_INET6
        self._sheep = sheep
        super().__init__(address, socketserver.BaseRequestHandler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        self._sheep.serve(request)


def _exactly(connection: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data


if __name__ == "__main__":
    Sheep(port=int(sys.argv[1])).cluster.formatted = "unformatted" not in sys.argv[2:]
    threading.Event().wait()
