# SPDX-License-Identifier: Apache-2.0
"""vSphere's API over our own connections: pyvmomi writes and reads the XML, we send it.

So calls have the time-outs, the certificates and the errors of all other
requests.
"""

import contextlib
import http.cookies
import xml.parsers.expat
from collections.abc import Callable
from typing import Any

from pyVmomi.SoapAdapter import SoapResponseDeserializer, SoapStubAdapterBase

from storefs import exceptions
from storefs.drivers.http_answer import Answer, Interrupted
from storefs.drivers.http_transport import Origin, Transport

#: vSphere 5.5's, the oldest that is spoken; every later server understands it.
_VERSION = "vim.version.version9"

#: The cookie that is a session.
COOKIE = "vmware_soap_session"

#: The longest answer that is kept in memory, bytes: a listing of 100,000 files is 30 MiB.
_LONGEST_ANSWER = 256 * 1024 * 1024


class SoapStub(SoapStubAdapterBase):  # type: ignore[misc] # pyvmomi has no types
    """What pyvmomi's objects send their calls by. *cookie* is the session's, or empty."""

    samlToken = None  # noqa: N815 - the names pyvmomi looks for
    requestContext = None  # noqa: N815

    def __init__(self, transport: Transport, url: str) -> None:
        super().__init__(version=_VERSION)
        self.cookie = ""
        self._transport = transport
        self._origin = Origin(url, self.headers)

    def __repr__(self) -> str:
        return f"<SoapStub {self._origin!r}>"

    def headers(self) -> dict[str, str]:
        """What makes a request one of the session."""
        return {"Cookie": f'{COOKIE}="{self.cookie}"'} if self.cookie else {}

    def InvokeMethod(  # noqa: N802 - the name pyvmomi calls
        self,
        mo: Any,
        info: Any,
        args: Any,
        outerStub: Any = None,  # noqa: N803
    ) -> Any:
        request = self.SerializeRequest(mo, info, args)
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": self.versionId}
        answer = self._transport.send("POST", self._origin, headers, body=request)
        try:
            if answer.status not in {200, 500}:
                raise _refusal(answer)
            page = answer.read(_LONGEST_ANSWER)
        finally:
            answer.discard()
        self._keep_cookie(answer, info.wsdlName)
        result = self._parsed(page, info.result, answer)
        if answer.status == 500:
            raise result
        return result

    def _keep_cookie(self, answer: Answer, method: str) -> None:
        """Of the login, or of what comes before it: ESXi gives one to everybody."""
        if self.cookie and method != "Login":
            return
        with contextlib.suppress(http.cookies.CookieError):
            cookies = http.cookies.SimpleCookie(answer.headers.get("Set-Cookie", ""))
            if COOKIE in cookies:
                self.cookie = cookies[COOKIE].value

    def _parsed(self, page: bytes, expected: Any, answer: Answer) -> Any:
        """The result, or a fault; anything else is no answer of vSphere's."""
        if not page.rstrip().endswith(b"Envelope>"):
            raise _not_vsphere(answer)  # the parser is content with any beginning
        deserializer: Callable[..., Any] = SoapResponseDeserializer(self).Deserialize
        try:
            result = deserializer(page, expected)
        except (xml.parsers.expat.ExpatError, ValueError, KeyError, AttributeError) as exc:
            raise _not_vsphere(answer) from exc
        if answer.status == 500 and not isinstance(result, BaseException):
            raise _not_vsphere(answer)
        return result


def _refusal(answer: Answer) -> exceptions.GlanceStoreException:
    """vSphere's faults come with 500; any other error is of something before it."""
    refusal = answer.refusal()
    return refusal if isinstance(refusal, Interrupted) else _not_vsphere(answer)


def _not_vsphere(answer: Answer) -> exceptions.RemoteServiceUnavailable:
    return exceptions.RemoteServiceUnavailable(
        f"{answer} with something that is not vSphere's: check vmware_server_host"
    )
