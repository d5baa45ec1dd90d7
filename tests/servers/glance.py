# SPDX-License-Identifier: Apache-2.0
"""A real Glance on 127.0.0.1, in an environment of its own, with storefs for its glance_store.

It takes everybody for an administrator, and keeps what it knows in sqlite.
"""

import importlib.metadata
import pathlib
import shutil
import subprocess
from collections.abc import Mapping

import storefs
from tests.servers import openstack
from tests.servers.process import Process, free_port

VERSION = "33.0.0"

#: What of storefs' needs Glance does not bring.
_OURS = "botocore==1.44.5"

#: Images may have this many bytes.
SIZE_CAP = 24 * 1024 * 1024

#: Where Glance keeps what is on its way into a store, and its stores for that.
RESERVED = {"os_glance_staging_store": "staging", "os_glance_tasks_store": "tasks"}

_CONFIGURATION = """
[DEFAULT]
enabled_backends = {backends}
show_multiple_locations = true
worker_self_reference_url = {url}
enabled_import_methods = [glance-direct,web-download,copy-image]
image_size_cap = {cap}
use_stderr = true
[glance_store]
default_backend = {default}
[database]
connection = sqlite:///{here}/glance.db?timeout=30
[oslo_concurrency]
lock_path = {here}/locks
[import_filtering_opts]
allowed_hosts = [127.0.0.1]
allowed_ports = []
[paste_deploy]
config_file = {here}/paste.ini
"""

_PIPELINE = """
[pipeline:glance-api]
pipeline = administrator context versions
[composite:versions]
paste.composite_factory = glance.api:root_app_factory
/: apiversions
/v2: apiv2app
[app:apiversions]
paste.app_factory = glance.api.versions:create_resource
[app:apiv2app]
paste.app_factory = glance.api.v2.router:API.factory
[filter:context]
paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory
[filter:administrator]
paste.filter_factory = __main__:administrator
"""

#: The lines of docs/usage.md.
_INSTEAD = """
import sys
import storefs
sys.modules["glance_store"] = storefs
"""

#: wsgiref hands the body on as it comes: waitress has all of it before it calls Glance, and
#: an upload that is cut off would never get there.
_SERVE = """
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server
import sqlalchemy

WHO = {"HTTP_X_IDENTITY_STATUS": "Confirmed", "HTTP_X_ROLES": "admin,member,reader,service"}
for name in ("USER", "PROJECT", "TENANT"):
    WHO |= {f"HTTP_X_{name}_ID": "tests", f"HTTP_X_{name}_NAME": "tests"}

# a transaction of sqlite's that has read and wants to write does not wait, but fails
@sqlalchemy.event.listens_for(sqlalchemy.Engine, "before_cursor_execute", retval=True)
def in_turn(connection, cursor, statement, parameters, *more):
    return ("BEGIN IMMEDIATE" if statement == "BEGIN" else statement), parameters

def administrator(conf, **local):
    return lambda app: lambda environ, start: app({**environ, **WHO}, start)

class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

from glance.wsgi.api import application
make_server("127.0.0.1", int(sys.argv[1]), application, Server).serve_forever()
"""

_COMMAND = """
import importlib
name = sys.argv.pop(1)
sys.exit(importlib.import_module(f"glance.cmd.{name}").main())
"""


def environment() -> pathlib.Path:
    """The environment with Glance and an empty database in it, built if need be; `ServerFailed`."""
    return openstack.environment("glance", VERSION, _OURS)


class Glance:
    """A glance-api over *stores*, identifier -> type, whose options are in *sections*.

    The first is the default. A file store's directory is `datadir(identifier)`, and so are
    those of `RESERVED`.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        stores: Mapping[str, str],
        sections: Mapping[str, Mapping[str, object]],
    ) -> None:
        self._venv = environment()
        self._here = directory
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.log = directory / "glance.log"
        self.configuration = directory / "glance-api.conf"
        given = {name: dict(options) for name, options in sections.items()}
        for name in [*(n for n, kind in stores.items() if kind == "file"), *RESERVED]:
            given.setdefault(name, {})["filesystem_store_datadir"] = self.datadir(name)
        self._configure(stores, given)
        self._python = [
            "env",
            f"OS_GLANCE_CONFIG_DIR={directory}",
            f"PYTHONPATH={self._tell_of_storefs()}",
            f"STATE_DIRECTORY={directory}/state",
            "PYTHONWARNINGS=ignore",
            *(str(self._venv / "bin" / "python"), "-c"),
        ]
        serve = [*self._python, _INSTEAD + _SERVE, str(self._port)]
        self._process = Process(serve, [self._port], self.log)

    def datadir(self, name: str) -> pathlib.Path:
        """The directory of the file store *name*, or of one of `RESERVED`."""
        return self._here / RESERVED.get(name, name)

    def start(self) -> None:
        """Returns when it answers; `ServerFailed`."""
        if not (self._here / "glance.db").exists():
            shutil.copy(self._venv / openstack.EMPTY, self._here / "glance.db")
        self._process.start(patience=120)

    def stop(self) -> None:
        """Returns when it is gone."""
        self._process.stop()

    def run(self, command: str, *arguments: str) -> str:
        """What ``glance-COMMAND``, which must work, prints."""
        given = ["--config-file", str(self.configuration), *arguments]
        done = subprocess.run(
            [*self._python, _INSTEAD + _COMMAND, command, *given],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, (done.stdout, done.stderr[-2000:])
        return done.stdout

    def _configure(
        self, stores: Mapping[str, str], sections: Mapping[str, Mapping[str, object]]
    ) -> None:
        text = _CONFIGURATION.format(
            backends=", ".join(f"{name}:{kind}" for name, kind in stores.items()),
            default=next(iter(stores)),
            here=self._here,
            url=self.url,
            cap=SIZE_CAP,
        )
        for section, options in sections.items():
            text += f"[{section}]\n"
            text += "".join(f"{name} = {value}\n" for name, value in options.items())
        self.configuration.write_text(text)
        (self._here / "paste.ini").write_text(_PIPELINE)

    def _tell_of_storefs(self) -> str:
        """A PYTHONPATH with storefs and its entry points, and nothing else of the tests."""
        site = self._here / "site"
        info = site / f"storefs-{storefs.__version__}.dist-info"
        info.mkdir(parents=True)
        points = importlib.metadata.distribution("storefs").read_text("entry_points.txt")
        (info / "entry_points.txt").write_text(points or "")
        name = f"Metadata-Version: 2.1\nName: storefs\nVersion: {storefs.__version__}\n"
        (info / "METADATA").write_text(name)
        return f"{site}:{pathlib.Path(storefs.__file__).parents[1]}"
