# SPDX-License-Identifier: Apache-2.0
"""One long request whose body comes piece by piece, from whoever has the next piece."""

import threading
from collections.abc import Callable, Iterator

from storefs import exceptions
from storefs.drivers.base import Buffer
from storefs.drivers.http_answer import Answer
from storefs.drivers.http_transport import Stream

Send = Callable[[Stream], Answer]


class _BrokenOff(Exception):
    """Ends the request from inside its body."""


class BodyStream:
    """A request that *send* sends, given what gives its body; it runs in a thread.

    One piece at a time is handed over, without a copy: `put` returns when it is
    sent, and takes no longer than the connection's time-outs. The body cannot be
    sent twice, so whatever fails ends the stream for good.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._changed = threading.Condition()
        self._piece: Buffer | None = None
        self._begun = self._sending = self._complete = self._broken = self._over = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="vmware-upload", daemon=True)
        self._thread.start()

    def put(self, data: Buffer) -> None:
        """Send *data*; no reference to it is kept."""
        with self._changed:
            self._piece = data
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._piece is None or self._over)
            self._piece = None
            if self._over:
                raise self._reason()

    def finish(self) -> None:
        """End the body, and wait for the server to say that it has it."""
        self._end(broken=False)
        if self._failure is not None:
            raise self._reason()

    def break_off(self) -> None:
        """End the request before its end; does nothing after it."""
        self._end(broken=True)

    def _end(self, *, broken: bool) -> None:
        with self._changed:
            self._complete, self._broken = not broken, broken
            self._changed.notify_all()
        self._thread.join()

    def _reason(self) -> BaseException:
        if isinstance(self._failure, _BrokenOff):
            return exceptions.BackendException("The upload was given up")
        return self._failure or exceptions.RemoteServiceUnavailable(
            "The server answered before it had the image"
        )

    def _run(self) -> None:
        try:
            self._send(self._pieces).discard()
        except BaseException as exc:  # noqa: BLE001 - it is raised where the image comes from
            self._failure = exc
        with self._changed:
            self._over, self._piece = True, None
            self._changed.notify_all()

    def _pieces(self) -> Iterator[Buffer]:
        if self._begun:
            raise exceptions.RemoteServiceUnavailable(
                "The server sends the upload elsewhere, or wants it again, after it has begun: "
                "write the image again"
            )
        self._begun = True
        while (piece := self._next()) is not None:
            yield piece

    def _next(self) -> Buffer | None:
        """The next piece, when the one before is sent; None after the last."""
        with self._changed:
            if self._sending:
                self._piece = None
                self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._piece is not None or self._complete or self._broken
            )
            if self._broken:
                raise _BrokenOff
            self._sending = True
            return self._piece
