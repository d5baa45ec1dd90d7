# SPDX-License-Identifier: Apache-2.0
"""What is left of Keystone's version 2 API: a fake, because no Keystone speaks it any more."""

import http.server
import json
import threading
from typing import Any


class KeystoneV2:
    """Gives *token* for *storage_url* to whoever knows *user*, *password* and *tenant*."""

    def __init__(self, storage_url: str, token: str, user: str, password: str, tenant: str) -> None:
        self.logins: list[dict[str, Any]] = []
        expected = {
            "passwordCredentials": {"username": user, "password": password},
            "tenantName": tenant,
        }
        answer = _access(storage_url, token, user, tenant)
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                login = json.loads(body)["auth"]
                fake.logins.append(login)
                good = self.path == "/v2.0/tokens" and login == expected
                page = json.dumps(answer if good else {"error": {"message": "no"}}).encode()
                self.send_response(200 if good else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *args: Any) -> None:
                """Nothing: stderr is for failures."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v2.0"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> "KeystoneV2":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _access(storage_url: str, token: str, user: str, tenant: str) -> dict[str, Any]:
    endpoint = {"region": "RegionOne", "publicURL": storage_url, "internalURL": storage_url}
    return {
        "access": {
            "token": {
                "id": token,
                "expires": "2099-01-01T00:00:00Z",
                "tenant": {"id": "1", "name": tenant},
            },
            "user": {"id": "2", "name": user, "roles": [{"name": "member"}]},
            "serviceCatalog": [
                {"type": "object-store", "name": "swift", "endpoints": [endpoint]},
            ],
        }
    }
