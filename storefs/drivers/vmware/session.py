# SPDX-License-Identifier: Apache-2.0
"""A session at a vCenter or ESXi server: logged in when needed, and again when it expired."""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pyVmomi import vim, vmodl

from storefs import exceptions
from storefs.drivers.http_answer import retried
from storefs.drivers.http_transport import Transport
from storefs.drivers.vmware.errors import translated, translation
from storefs.drivers.vmware.soap import SoapStub

T = TypeVar("T")

#: A password that was refused is not sent again for this long, seconds: vCenter locks
#: an account after five tries.
_REFUSED_FOR = 30.0

#: The first wait for a task, seconds; each is twice the one before.
_FIRST_WAIT = 0.005


class Session:
    """Calls to the API at *url*, all in one session; thread-safe.

    *poll_interval* and *task_timeout* in seconds.
    """

    def __init__(
        self,
        transport: Transport,
        url: str,
        credentials: tuple[str, str],
        *,
        poll_interval: float,
        task_timeout: float,
    ) -> None:
        self._transport = transport
        self._stub = SoapStub(transport, url)
        self._credentials = credentials
        self._poll_interval = poll_interval
        self._task_timeout = task_timeout
        self._lock = threading.Lock()
        self._content: Any = None
        self._used = threading.local()  # the cookie each thread was given last
        self._refused: tuple[float, exceptions.GlanceStoreException] | None = None

    def __repr__(self) -> str:
        return f"<Session {self._stub!r}>"

    def headers(self) -> Mapping[str, str]:
        """What makes a request for a file one of this session."""
        self._entered()
        return self._stub.headers()

    def renew(self) -> bool:
        """Log in again after a refusal; another request makes sense then.

        Not if another thread has done so since this one asked for `headers`.
        """
        with self._lock:
            if self._content is None or getattr(self._used, "cookie", None) == self._stub.cookie:
                self._login()
        return True

    def call(self, doing: str, function: Callable[[Any], T]) -> T:
        """What *function* returns of the service's content; once more in a new session.

        *doing* ends the sentence "vSphere could not ..." of an error.
        """
        with translated(doing):
            try:
                return function(self._entered())
            except vim.fault.NotAuthenticated:
                self.renew()
                return function(self._entered())

    def read(self, doing: str, function: Callable[[Any], T]) -> T:
        """The same for what changes nothing: tried again while the server is busy."""
        return retried(lambda: self.call(doing, function), self._transport.settings.back_off)

    def run(self, doing: str, start: Callable[[Any], Any]) -> Any:
        """The result of the task that *start* begins, once it has ended.

        A fault that ends it is raised as any other; `TimeoutError` if it does not end.
        """
        task = self.call(doing, start)
        deadline = time.monotonic() + self._task_timeout
        wait = _FIRST_WAIT
        while True:
            told = self.read(doing, lambda content: _task_info(content, task))
            if told["info.state"] == "success":
                return told.get("info.result")
            if told["info.state"] == "error":
                raise translation(told["info.error"], doing) from told["info.error"]
            if time.monotonic() > deadline:
                raise exceptions.TimeoutError(
                    f"vSphere did not {doing} within {self._task_timeout:g} seconds: "
                    "see its tasks, or raise vmware_store_task_timeout"
                )
            time.sleep(wait)
            wait = min(2 * wait, self._poll_interval)

    def close(self) -> None:
        """Log out: a server has room for so many sessions."""
        with self._lock:
            self._leave()

    def _entered(self) -> Any:
        """The service's content; logged in."""
        with self._lock:
            if self._content is None:
                self._login()
            self._used.cookie = self._stub.cookie
            return self._content

    def _login(self) -> None:
        if self._refused is not None and time.monotonic() < self._refused[0]:
            raise exceptions.NotAuthenticated(self._refused[1].msg)
        self._leave()
        service: Any = vim.ServiceInstance("ServiceInstance", self._stub)
        with translated("log in"):
            try:
                content = retried(service.RetrieveContent, self._transport.settings.back_off)
                content.sessionManager.Login(*self._credentials)
            except vim.fault.InvalidLogin as exc:
                self._refused = time.monotonic() + _REFUSED_FOR, translation(exc, "log in")
                raise
        self._content, self._refused = content, None

    def _leave(self) -> None:
        content, self._content = self._content, None
        if content is not None:
            with contextlib.suppress(exceptions.GlanceStoreException, vmodl.MethodFault):
                content.sessionManager.Logout()
        self._stub.cookie = ""


def _task_info(content: Any, task: Any) -> dict[str, Any]:
    """State, result and error of *task*, as far as there are any, by one request."""
    collector = vmodl.query.PropertyCollector
    wanted = collector.PropertySpec(
        type=vim.Task, pathSet=["info.state", "info.result", "info.error"]
    )
    spec = collector.FilterSpec(objectSet=[collector.ObjectSpec(obj=task)], propSet=[wanted])
    found = content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions())
    return {prop.name: prop.val for prop in found.objects[0].propSet}
