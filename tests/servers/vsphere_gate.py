# SPDX-License-Identifier: Apache-2.0
"""What a vCenter does and vcsim does not: files below /folder are for those with a session.

A proxy before vcsim, over TLS, for what the simulator cannot be made to do:
ask for the session's cookie (401 and a page without), end sessions, redirect,
and fail as `FaultProxy` does. Everything else is vcsim's own.
"""

import http.cookies
import ssl
from collections.abc import Mapping

from pyVim.connect import Disconnect, SmartConnect

from tests.servers.fault_proxy import Fault, FaultProxy, Request, Tls
from tests.servers.vcsim import PASSWORD, USERNAME, Vcsim

_PAGE = b"<html><body>This is a page, and no image.</body></html>"


def _session(cookies: str) -> str | None:
    found = http.cookies.SimpleCookie(cookies).get("vmware_soap_session")
    return found.value if found else None


class VsphereGate(FaultProxy):
    """*sessions* are those that may read and write."""

    def __init__(self, server: Vcsim) -> None:
        shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.authority.issue_cert("127.0.0.1", "localhost").configure_cert(shown)
        self._trusted = ssl.create_default_context(cafile=str(server.ca_file))
        self._vcsim = server
        self.sessions: set[str] = set()
        self.open_to_all = False
        super().__init__(f"https://{server.host}", Tls(shown, self._trusted))
        self.host = self.url.removeprefix("https://")

    def expire(self) -> None:
        """End every session, as vCenter does with those that rest too long."""
        self.sessions.clear()
        host, _, port = self._vcsim.host.partition(":")
        service = SmartConnect(
            host=host, port=int(port), user=USERNAME, pwd=PASSWORD, sslContext=self._trusted
        )
        manager = service.content.sessionManager
        ours = manager.currentSession.key
        manager.TerminateSession([s.key for s in manager.sessionList if s.key != ours])
        Disconnect(service)

    def refused(self, status: int, **what: object) -> Fault:
        """A fault that is an error with a page."""
        return self.fault(page=(status, _PAGE, {"Content-Type": "text/html"}), **what)

    def redirected(self, url: str, **what: object) -> Fault:
        return self.fault(page=(307, b"", {"Location": url}), **what)

    def _take(self, request: Request, url: str) -> Fault:
        fault = super()._take(request, url)
        told = fault.page is not None or fault.reset
        if told or self.open_to_all or not request.path.startswith("/folder"):
            return fault
        if _session(request.headers.get("cookie", "")) in self.sessions:
            return fault
        return Fault(page=(401, _PAGE, {"Content-Type": "text/html"}))

    def _answered(self, request: Request, headers: Mapping[str, str]) -> None:
        session = _session(headers.get("Set-Cookie", ""))
        if session is not None and request.path == "/sdk":
            self.sessions.add(session)
