# SPDX-License-Identifier: Apache-2.0
"""A Cinder on 127.0.0.1: API, scheduler and volume service in one process, no broker.

Its volumes are RBD images in pool ``volumes`` of the tests' Ceph, and files in a directory
that is bind-mounted where an NFS share would be, where the machine allows that. It asks the
tests' Keystone who may do what.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from tests.servers import openstack
from tests.servers.ceph import Ceph
from tests.servers.keystone import Keystone
from tests.servers.process import Process, ServerFailed, free_port

VERSION = "29.0.0"
POOL = "volumes"
SHARE = "127.0.0.1:/storefs-tests"

_CONFIGURATION = """
[DEFAULT]
host = tests
my_ip = 127.0.0.1
state_path = {here}/state
transport_url = fake://
auth_strategy = keystone
project_id_regex = [0-9a-zA-Z\\-]+
enabled_backends = {backends}
default_volume_type = rbd
api_paste_config = {venv}/etc/cinder/api-paste.ini
resource_query_filters_file = {venv}/etc/cinder/resource_filters.json
rootwrap_config = {venv}/etc/cinder/rootwrap.conf
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = {port}
osapi_volume_workers = 1
quota_volumes = -1
quota_gigabytes = -1
quota_snapshots = -1
backend_stats_polling_interval = 10
periodic_fuzzy_delay = 1
periodic_interval = 10
volume_clear = none
use_stderr = true
[database]
connection = sqlite:///{here}/cinder.db
[oslo_concurrency]
lock_path = {here}/state/locks
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = cinder
password = cinder-pass
project_name = service
user_domain_id = default
project_domain_id = default
service_token_roles_required = true
service_type = block-storage
[rbd]
volume_driver = cinder.volume.drivers.rbd.RBDDriver
volume_backend_name = rbd
rbd_pool = {pool}
rbd_user = {user}
rbd_ceph_conf = {here}/ceph.conf
rbd_cluster_name = ceph
rados_connect_timeout = 10
report_discard_supported = true
# a thousand volumes that are nothing but rows count, as soon as it starts again
max_over_subscription_ratio = 1000000
[nfs]
volume_driver = cinder.volume.drivers.nfs.NfsDriver
volume_backend_name = nfs
nfs_shares_config = {here}/nfs_shares
nfs_mount_point_base = {here}/state/mnt
nas_secure_file_operations = false
nas_secure_file_permissions = false
nfs_sparsed_volumes = true
nfs_qcow2_volumes = false
nfs_snapshot_support = false
max_over_subscription_ratio = 1000000
"""

#: With the fake:// transport services only hear each other within one process.
_SERVE = """
import shlex, sys
from cinder import monkey_patch
monkey_patch.patch()
import os_brick
from oslo_config import cfg
from oslo_log import log
from oslo_privsep import priv_context
from oslo_service import service as runner
from cinder import context, coordination, i18n, objects, rpc, service, utils, version
from cinder.common import config, constants

CONF = cfg.CONF

class Service(service.Service):
    # upstream keeps the id in the class: several services in a process would share it
    def report_state(self):
        found = objects.Service.get_by_id(context.get_admin_context(), self.origin_service_id)
        if self.manager.is_working():
            found.report_count += 1
            found.save(retry=False)

i18n.enable_lazy()
objects.register_all()
CONF(sys.argv[1:], project="cinder", version=version.version_string())
config.set_middleware_defaults()
log.setup(CONF, "cinder")
priv_context.init(root_helper=shlex.split(utils.get_root_helper()))
os_brick.setup(CONF)
coordination.COORDINATOR.start()
rpc.init(CONF)
launcher = runner.ServiceLauncher(CONF, restart_method="mutate")
launcher.launch_service(Service.create(binary="cinder-scheduler"))
for backend in CONF.enabled_backends:
    CONF.register_opt(cfg.StrOpt("backend_host"), group=backend)
    made = Service.create(host=f"{CONF.host}@{backend}", service_name=backend,
                          binary=constants.VOLUME_BINARY, coordination=True)
    launcher.launch_service(made)
launcher.launch_service(service.WSGIService("osapi_volume"))
launcher.wait()
"""


def environment() -> pathlib.Path:
    """The environment with Cinder and an empty database in it, built if need be; `ServerFailed`."""
    directory = openstack.environment("cinder", VERSION, sync=("db", "sync"))
    _bring_bindings(directory)
    return directory


def _bring_bindings(venv: pathlib.Path) -> None:
    """librados and librbd for Python are Debian's packages only."""
    version = f"python3.{sys.version_info.minor}"
    for name in ("rados", "rbd"):
        found = [*pathlib.Path("/usr/lib/python3/dist-packages").glob(f"{name}.cpython-*.so")]
        fitting = [path for path in found if f"cpython-3{sys.version_info.minor}-" in path.name]
        if not fitting:
            raise ServerFailed(f"there is no python3-{name} for {version}")
        link = venv / "lib" / version / "site-packages" / fitting[0].name
        if not link.exists():
            new = link.with_suffix(f".{os.getpid()}")  # another run may bring it at the same time
            new.symlink_to(fitting[0])
            new.rename(link)


class Cinder:
    """`start` makes it from nothing; `stop` and `start` in turns keep what is in it.

    Volume types: ``rbd`` (the default) and ``rbd-multi`` (multiattach), and with
    *nfs*, which needs root, ``nfs``. `keyring` is what storefs needs to read and write.
    """

    def __init__(
        self, directory: pathlib.Path, ceph: Ceph, keystone: Keystone, *, nfs: bool = False
    ) -> None:
        self._venv = environment()
        self._here = directory
        self._ceph = ceph
        self.keystone = keystone
        self.backends = ["rbd", "nfs"] if nfs else ["rbd"]
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/v3"
        # a name no other cluster on this machine has a key for
        self.user = f"volumes-{self._port}"
        self.keyring = directory / f"ceph.client.{self.user}.keyring"
        self.database = directory / "cinder.db"
        self.nfs_data = directory / "nfs-data"
        self._mounts: list[pathlib.Path] = []
        python, conf = str(self._venv / "bin" / "python"), str(directory / "cinder.conf")
        path = f"PATH={directory}/bin:{self._venv}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        command = ["env", "PYTHONWARNINGS=ignore", path, python, "-c", _SERVE]
        self._process = Process(
            [*command, "--config-file", conf], [self._port], directory / "cinder.log"
        )

    def start(self) -> None:
        """Returns when volumes can be made; `ServerFailed`."""
        fresh = not self.database.exists()
        if fresh:
            self._lay_out()
        self._process.start(patience=120)
        if fresh:
            self._make_types()
            self._lift_quota()
        self._await_backends()  # until the scheduler has heard of them, no volume can be made

    def stop(self) -> None:
        """Returns when it is gone."""
        self._process.stop()

    def discard(self) -> None:
        """Stop it for good, and let go of the machine's mounts."""
        self.stop()
        for mount in self._mounts:
            subprocess.run(["umount", "-l", str(mount)], check=False, timeout=60)

    def share(self, base: pathlib.Path) -> None:
        """Have the NFS share where os-brick, told of *base*, looks for it."""
        name = hashlib.md5(SHARE.encode(), usedforsecurity=False).hexdigest()
        mount = base / name
        mount.mkdir(parents=True, exist_ok=True)
        self.nfs_data.mkdir(exist_ok=True)
        try:
            subprocess.run(
                ["mount", "--bind", str(self.nfs_data), str(mount)],
                check=True,
                capture_output=True,
                text=True,
                timeout=60,
            )
        except (OSError, subprocess.CalledProcessError) as exc:
            raise ServerFailed(f"a directory cannot be bind-mounted here: {exc}") from exc
        self._mounts.append(mount)

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, project: str = "admin"
    ) -> dict[str, Any]:
        """What Cinder answers the administrator in *project*; `ServerFailed`."""
        token, _ = self.keystone.token("admin", "keystone-pass", project)
        headers = {
            "Content-Type": "application/json",
            "X-Auth-Token": token,
            "OpenStack-API-Version": "volume 3.70",
        }
        data = None if body is None else json.dumps(body).encode()
        project_id = self.keystone.add_project(project)
        url = f"{self.url}/{project_id}{path}"
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as exc:
            with exc:
                reason = exc.read().decode()[:500]
            raise ServerFailed(f"{method} {path}: {exc.code} {reason}") from exc
        return json.loads(text) if text else {}

    def _lay_out(self) -> None:
        here = self._here
        for name in ("state", "bin"):
            (here / name).mkdir()
        for name, text in {"sudo": 'exec "$@"', "mount.nfs": "exit 0"}.items():
            (here / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
            (here / "bin" / name).chmod(0o755)
        (here / "nfs_shares").write_text(f"{SHARE}\n")
        if "nfs" in self.backends:
            self.share(here / "state" / "mnt")
        self._make_pool()
        text = _CONFIGURATION.format(
            here=here,
            venv=self._venv,
            port=self._port,
            backends=",".join(self.backends),
            keystone=self.keystone.url,
            pool=POOL,
            user=self.user,
        )
        (here / "cinder.conf").write_text(text)
        self._register()
        shutil.copy(self._venv / openstack.EMPTY, self.database)

    def _make_pool(self) -> None:
        """The pool, a user who may use it, and a configuration that holds both."""
        conf, client = self._ceph.conf, f"client.{self.user}"
        pools = self._ceph.run("ceph", "-c", conf, "osd", "pool", "ls").split()
        if POOL not in pools:
            self._ceph.run("ceph", "-c", conf, "osd", "pool", "create", POOL, "8", "8")
            self._ceph.run("rbd", "-c", conf, "pool", "init", POOL)
        grants = ("mon", "profile rbd", "osd", f"profile rbd pool={POOL}")
        key = self._ceph.run("ceph", "-c", conf, "auth", "get-or-create-key", client, *grants)
        self.keyring.write_text(f"[{client}]\n\tkey = {key.strip()}\n")
        self.keyring.chmod(0o600)
        lines = [
            line
            for line in conf.read_text().splitlines()
            if line.split(" = ")[0] in {"fsid", "mon_host"}
        ]
        (self._here / "ceph.conf").write_text(
            "\n".join(["[global]", *lines, f"keyring = {self.keyring}", ""])
        )

    def _register(self) -> None:
        user = self.keystone.add_user("cinder", "cinder-pass", "service", role="admin")
        self.keystone.grant(user, self.keystone.add_project("service"), "service")
        for kind, name in (("block-storage", "cinder"), ("volumev3", "cinderv3")):
            self.keystone.add_service(kind, name, f"{self.url}/%(project_id)s")

    def _make_types(self) -> None:
        for backend in self.backends:
            specs = {"volume_backend_name": backend}
            for name, more in ((backend, {}), (f"{backend}-multi", {"multiattach": "<is> True"})):
                wanted = {"name": name, "extra_specs": {**specs, **more}}
                self.call("POST", "/types", {"volume_type": wanted})

    def _lift_quota(self) -> None:
        """Ten volumes a project, unless told otherwise."""
        wanted = {"volumes": 100_000, "gigabytes": 1_000_000}
        self.call("PUT", "/os-quota-class-sets/default", {"quota_class_set": wanted})

    def _await_backends(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(ServerFailed):
                pools = self.call("GET", "/scheduler-stats/get_pools")["pools"]
                up = {pool["name"].split("@")[1].split("#")[0] for pool in pools}
                if up >= set(self.backends):
                    return
            if time.monotonic() > deadline:
                log = (self._here / "cinder.log").read_text()
                raise ServerFailed(f"Cinder's backends do not come up: {log[-2000:]}")
            time.sleep(0.1)
