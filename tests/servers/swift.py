# SPDX-License-Identifier: Apache-2.0
"""OpenStack Swift of one replica on 127.0.0.1, in an environment of its own.

A proxy with tempauth (auth v1), and where a Keystone is given a second one that
asks it. Users of tempauth: test:tester/testing is the admin of AUTH_test,
test:tester3/testing3 may do there what ACLs say, test2:tester2/testing2 is the
admin of AUTH_test2. Those of Keystone: see there.
"""

import pathlib
import shutil
import signal
import subprocess

from tests.servers.keystone import Keystone
from tests.servers.process import Process, ServerFailed, free_port
from tests.servers.venv_tools import python_server

VERSION = "2.38.3"

_OTHERS = (
    "keystoneauth1==5.18.1",
    "keystonemiddleware==13.0.1",
    "python-keystoneclient==6.0.0",
    "python-swiftclient==4.11.0",
    # Swift's entry points are found through pkg_resources, which newer ones lack
    "setuptools<80",
)

_RINGS = """
import sys
from swift.common.ring import RingBuilder
for kind, port in zip(("account", "container", "object"), sys.argv[2:]):
    builder = RingBuilder(4, 1, 1)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port),
                     "device": "d1", "weight": 1})
    builder.rebalance()
    builder.get_ring().save(f"{sys.argv[1]}/{kind}.ring.gz")
"""

_SWIFT = """
[swift-hash]
swift_hash_path_prefix = storefs
swift_hash_path_suffix = tests
[storage-policy:0]
name = Policy-0
default = yes
"""

_COMMON = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {here}
workers = 0
log_level = WARNING
"""

_BACKEND = """
devices = {here}/srv
mount_check = false
fallocate_reserve = 0
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

# One replica: a single time-out must not put the only server on the list of bad ones,
# and the limits on segments a second are for clusters.
_PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats bulk {auth} copy
    container-quotas account-quotas slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
error_suppression_interval = 0
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:slo]
use = egg:swift#slo
rate_limit_segments_per_sec = 0
[filter:dlo]
use = egg:swift#dlo
rate_limit_segments_per_sec = 0
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:copy]
use = egg:swift#copy
[filter:container-quotas]
use = egg:swift#container_quotas
[filter:account-quotas]
use = egg:swift#account_quotas
"""

_TEMPAUTH = """
[filter:tempauth]
use = egg:swift#tempauth
token_life = {token_life}
user_test_tester = testing .admin
user_test_tester3 = testing3
user_test2_tester2 = testing2 .admin
"""

_KEYSTONE = """
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {url}
auth_url = {url}
auth_type = password
username = swift
password = swift-pass
project_name = service
user_domain_id = default
project_domain_id = default
delay_auth_decision = true
cache = swift.cache
include_service_catalog = false
service_token_roles_required = true
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member
"""


def environment() -> pathlib.Path:
    """The environment with Swift and the `swift` command, built if need be; `ServerFailed`."""
    return python_server("swift", VERSION, *_OTHERS)


class Swift:
    """`start` makes it from nothing; `proxy` alone may be stopped and started in between.

    `auth_url` is tempauth's; `keystone_proxy` is there where a *keystone* is.
    """

    def __init__(self, directory: pathlib.Path, keystone: Keystone | None = None) -> None:
        if shutil.which("memcached") is None:
            raise ServerFailed("Swift needs memcached, which is not installed")
        self.venv = environment()
        self._here = directory
        self._ports = {kind: free_port() for kind in ("account", "container", "object")}
        self._memcached = free_port()
        port = str(self._memcached)
        command = ["memcached", "-u", "root", "-l", "127.0.0.1", "-p", port, "-U", "0", "-m", "32"]
        self._cache = Process(command, [self._memcached], directory / "memcached.log")
        self._backends = [self._backend(kind, port) for kind, port in self._ports.items()]
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.auth_url = f"{self.url}/auth/v1.0"
        self.proxy = self._proxy(
            "tempauth", self.port, "tempauth", _TEMPAUTH.format(token_life=86400)
        )
        self.keystone_proxy = self._behind(keystone) if keystone is not None else None

    def start(self) -> None:
        """Returns when all of it answers; `ServerFailed`."""
        (self._here / "srv" / "d1").mkdir(parents=True)
        (self._here / "swift.conf").write_text(_SWIFT)
        self._make_rings()
        for process in self._all():
            process.begin()
        for process in self._all():
            process.await_up(patience=120)

    def stop(self) -> None:
        """End it without regard to what is in it."""
        for process in self._all():
            process.stop(signal.SIGKILL)

    @property
    def srv(self) -> pathlib.Path:
        """Where everything it keeps is."""
        return self._here / "srv" / "d1"

    def _all(self) -> list[Process]:
        proxies = [self.proxy] if self.keystone_proxy is None else [self.proxy, self.keystone_proxy]
        return [self._cache, *self._backends, *proxies]

    def _make_rings(self) -> None:
        ports = [str(port) for port in self._ports.values()]
        command = [str(self.venv / "bin" / "python"), "-W", "ignore", "-c", _RINGS]
        try:
            subprocess.run(
                [*command, str(self._here), *ports], check=True, capture_output=True, text=True
            )
        except subprocess.CalledProcessError as exc:
            raise ServerFailed(f"Swift's rings: {exc.stderr[-2000:]}") from exc

    def _backend(self, kind: str, port: int) -> Process:
        return self._server(
            f"{kind}-server", f"{kind}-server", port, _BACKEND.format(here=self._here, kind=kind)
        )

    def _behind(self, keystone: Keystone) -> Process:
        """A proxy that asks *keystone*, whose catalogue leads to it."""
        port = free_port()
        keystone.add_user("swift", "swift-pass", "service", role="admin")
        keystone.add_user("swift", "swift-pass", "service", role="service")
        url = f"http://127.0.0.1:{port}/v1/AUTH_%(project_id)s"
        keystone.add_service("object-store", "swift", url)
        auth = _KEYSTONE.format(url=keystone.url)
        return self._proxy("keystone", port, "authtoken keystoneauth", auth)

    def _proxy(self, name: str, port: int, auth: str, sections: str) -> Process:
        text = _PROXY.format(auth=auth, memcached=self._memcached) + sections
        return self._server(f"proxy-{name}", "proxy-server", port, text)

    def _server(self, name: str, program: str, port: int, text: str) -> Process:
        conf = self._here / f"{name}.conf"
        conf.write_text(_COMMON.format(port=port, user=_user(), here=self._here) + text)
        command = [str(self.venv / "bin" / "python"), "-W", "ignore"]
        command += [str(self.venv / "bin" / f"swift-{program}"), str(conf)]
        return Process(command, [port], self._here / f"{name}.log")


def _user() -> str:
    return pathlib.Path("/proc/self").owner()
