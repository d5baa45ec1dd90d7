# SPDX-License-Identifier: Apache-2.0
"""A Keystone with sqlite and fernet tokens on 127.0.0.1, in an environment of its own.

There from the start: project `admin` with admin/keystone-pass, project `demo` with
demo/demo-pass (member) and reader/reader-pass (reader), all in domain `default`;
project `labproj` with alice/alice-pass in domain `labdomain`; project `service`.
"""

import json
import os
import pathlib
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from tests.servers import openstack
from tests.servers.process import Process, ServerFailed, free_port

VERSION = "30.0.0"
REGION = "RegionOne"
ADMIN_PASSWORD = "keystone-pass"

_CONFIGURATION = """
[DEFAULT]
public_endpoint = {root}
use_stderr = true
default_log_levels = sqlalchemy=WARN,keystone=WARN,oslo_messaging=WARN,dogpile=WARN
[database]
connection = sqlite:///{here}/keystone.db
[token]
provider = fernet
expiration = {token_life}
# tokens that have just expired are as dead as old ones: renewal is what is tested
allow_expired_window = 0
[fernet_tokens]
key_repository = {here}/fernet
[fernet_receipts]
key_repository = {here}/fernet
[credential]
key_repository = {here}/credential
[identity]
# 4 rounds, the fewest there are, make a token 31 ms instead of 370
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.memory
"""

# Keystone's application parses sys.argv itself: the arguments of waitress-serve break it.
_SERVE = """
import sys
listen = sys.argv[1]
sys.argv[1:] = []
import waitress
from keystone.wsgi.api import application
waitress.serve(application, listen=listen, threads=4)
"""


def environment() -> pathlib.Path:
    """The environment with Keystone and an empty database in it, built once; `ServerFailed`."""
    return openstack.environment("keystone", VERSION, "waitress==3.0.2")


class Keystone:
    """`start` makes it from nothing; `stop` and `start` in turns keep what is in it.

    *token_life* in seconds; `limit_tokens` changes it. `url` is what clients call auth_url.
    """

    def __init__(self, directory: pathlib.Path, token_life: int = 3600) -> None:
        self._venv = environment()
        self._here = directory
        self._port = free_port()
        self._root = f"http://127.0.0.1:{self._port}"
        self.url = f"{self._root}/v3"
        self._conf = directory / "keystone.conf"
        self._configure(token_life)
        variables = [
            f"OS_KEYSTONE_CONFIG_FILES={self._conf}",
            f"OS_KEYSTONE_CONFIG_DIR={directory}",
            "PYTHONWARNINGS=ignore",
        ]
        serve = [str(self._venv / "bin" / "python"), "-c", _SERVE, f"127.0.0.1:{self._port}"]
        self._process = Process(
            ["env", *variables, *serve], [self._port], directory / "keystone.log"
        )

    def start(self) -> None:
        """Returns when it answers, populated; `ServerFailed`."""
        fresh = not (self._here / "keystone.db").exists()
        if fresh:
            self._bootstrap()
        self._process.start(patience=120)
        if fresh:
            self._populate()

    def stop(self) -> None:
        """Returns when it is gone."""
        self._process.stop()

    def limit_tokens(self, seconds: int) -> None:
        """Let tokens live for *seconds* from now on; those that are out keep their end."""
        self._configure(seconds)
        self.stop()
        self.start()

    def add_domain(self, name: str) -> str:
        """The id of domain *name*, which is made if there is none."""
        return self._once("domain", {"name": name})

    def add_project(self, name: str, domain: str = "default") -> str:
        """The id of project *name* in the domain with id *domain*."""
        return self._once("project", {"name": name, "domain_id": domain})

    def add_user(
        self,
        name: str,
        password: str,
        project: str,
        *,
        role: str = "member",
        domain: str = "default",
    ) -> str:
        """The id of user *name* with *role* in *project*; user and project are made if need be."""
        project_id = self.add_project(project, domain)
        user = self._once("user", {"name": name, "domain_id": domain}, password=password)
        self.grant(user, project_id, role)
        return user

    def grant(self, user_id: str, project_id: str, role: str) -> None:
        """Give *role*, which is made if there is none."""
        role_id = self._once("role", {"name": role})
        self.call("PUT", f"/projects/{project_id}/users/{user_id}/roles/{role_id}")

    def add_service(self, kind: str, name: str, url: str, region: str = REGION) -> str:
        """The id of a service of type *kind* in the catalogue, at *url* for all interfaces.

        `%(project_id)s` in *url* is the caller's project. A second call moves it to *url*.
        """
        service = self._once("service", {"name": name, "type": kind})
        for endpoint in self.call("GET", f"/endpoints?service_id={service}")["endpoints"]:
            self.call("DELETE", f"/endpoints/{endpoint['id']}")
        self.add_region(region)
        for interface in ("public", "internal", "admin"):
            self.add_endpoint(service, interface, url, region)
        return service

    def add_endpoint(self, service: str, interface: str, url: str, region: str = REGION) -> None:
        """One more endpoint of the service with id *service*."""
        wanted = {"service_id": service, "interface": interface, "url": url, "region_id": region}
        self.call("POST", "/endpoints", {"endpoint": wanted})

    def add_region(self, name: str) -> None:
        """Have a region *name*."""
        regions = self.call("GET", "/regions")["regions"]
        if not any(region["id"] == name for region in regions):
            self.call("POST", "/regions", {"region": {"id": name}})

    def add_application_credential(
        self, name: str, user: str, password: str, project: str
    ) -> tuple[str, str]:
        """(id, secret) of a new application credential of *user* for *project*."""
        token, user_id = self.token(user, password, project)
        wanted = {"application_credential": {"name": name}}
        path = f"/users/{user_id}/application_credentials"
        made = self.call("POST", path, wanted, token=token)["application_credential"]
        return made["id"], made["secret"]

    def token(self, user: str, password: str, project: str) -> tuple[str, str]:
        """(token, user id) of *user* for *project*, both in domain `default`."""
        answer, headers = self._request("POST", "/auth/tokens", _login(user, password, project))
        return headers["X-Subject-Token"], answer["token"]["user"]["id"]

    def catalog(self, token: str) -> list[dict[str, Any]]:
        """What *token* may find, in the form Glance hands to its stores."""
        services: list[dict[str, Any]] = self.call("GET", "/auth/catalog", token=token)["catalog"]
        return services

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, token: str = ""
    ) -> dict[str, Any]:
        """What Keystone answers, as the administrator or with *token*; `ServerFailed`."""
        token = token or self.token("admin", ADMIN_PASSWORD, "admin")[0]
        return self._request(method, path, body, token)[0]

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, token: str = ""
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        headers = {"Content-Type": "application/json", "X-Auth-Token": token}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
                return (json.loads(text) if text else {}), answer.headers
        except urllib.error.HTTPError as exc:
            with exc:
                reason = exc.read().decode()[:500]
            raise ServerFailed(f"{method} {path}: {exc.code} {reason}") from exc

    def _once(self, kind: str, wanted: dict[str, Any], **more: Any) -> str:
        query = "&".join(f"{key}={value}" for key, value in wanted.items())
        found = self.call("GET", f"/{kind}s?{query}")[f"{kind}s"]
        if not found:
            found = [self.call("POST", f"/{kind}s", {kind: {**wanted, **more}})[kind]]
        identity: str = found[0]["id"]
        return identity

    def _configure(self, token_life: int) -> None:
        text = _CONFIGURATION.format(root=self._root, here=self._here, token_life=token_life)
        self._conf.write_text(text)

    def _bootstrap(self) -> None:
        shutil.copy(self._venv / openstack.EMPTY, self._here / "keystone.db")
        who = ("--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid()))
        for name in ("fernet", "credential"):
            (self._here / name).mkdir(mode=0o700)
            openstack.manage(self._venv, "keystone", self._conf, f"{name}_setup", *who)
        urls = [
            word
            for interface in ("admin", "public", "internal")
            for word in (f"--bootstrap-{interface}-url", self.url)
        ]
        password = ("--bootstrap-password", ADMIN_PASSWORD)
        region = ("--bootstrap-region-id", REGION)
        openstack.manage(self._venv, "keystone", self._conf, "bootstrap", *password, *urls, *region)

    def _populate(self) -> None:
        self.add_project("service")
        self.add_user("demo", "demo-pass", "demo")
        self.add_user("reader", "reader-pass", "demo", role="reader")
        lab = self.add_domain("labdomain")
        self.add_user("alice", "alice-pass", "labproj", domain=lab)


def _login(user: str, password: str, project: str) -> dict[str, Any]:
    domain = {"id": "default"}
    identity = {
        "methods": ["password"],
        "password": {"user": {"name": user, "domain": domain, "password": password}},
    }
    return {
        "auth": {"identity": identity, "scope": {"project": {"name": project, "domain": domain}}}
    }
