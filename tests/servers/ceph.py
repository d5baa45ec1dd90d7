# SPDX-License-Identifier: Apache-2.0
"""A Ceph of one node with RGW: Debian's packages, below one directory, on 127.0.0.1.

Built from nothing in some seconds: one monitor, one OSD on a sparse file, one
radosgw. A manager is there to be started: only capacity figures, quotas and placement
statistics need one.
"""

import pathlib
import shutil
import signal
import subprocess
import uuid

from tests.servers.process import Process, ServerFailed, free_port

S3_ACCESS_KEY = "storefsaccesskey0001"
S3_SECRET_KEY = "storefs-secret-word-000000000000000000001"

_PROGRAMS = (
    "ceph",
    "ceph-authtool",
    "ceph-mgr",
    "ceph-mon",
    "ceph-osd",
    "monmaptool",
    "radosgw",
    "radosgw-admin",
)

_CONFIGURATION = """
[global]
fsid = {fsid}
mon_host = {monitor}
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
keyring = {here}/keyring.$name
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
pid_file = {here}/$name.pid
admin_socket =
log_file = {here}/$name.log
crash_dir = {here}/crash
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_delete = true
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
[mon]
mon_data = {here}/mon
keyring = {here}/keyring.mon.
mon_data_avail_warn = 2
mon_data_avail_crit = 1
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
[mgr]
mgr_data = {here}/mgr
mgr_initial_modules = iostat
mgr_stats_period = 1
[osd]
# so long a client that was killed is still one that has its images open
osd_client_watch_timeout = 5
osd_data = {here}/osd
osd_objectstore = bluestore
osd_memory_target = 939524096
osd_class_update_on_start = false
bluestore_block_size = 10737418240
bluestore_block_create = true
bluestore_cache_size = 134217728
bluestore_cache_autotune = false
# each close of the block file waits for one poll, and there are many at the start
bdev_aio_poll_ms = 10
osd_op_num_shards = 2
[client.rgw.tests]
# without tcp_nodelay every short answer takes 40 ms
rgw_frontends = beast endpoint=127.0.0.1:{rgw_port} tcp_nodelay=1
rgw_data = {here}/rgw
rgw_run_sync_thread = false
rgw_thread_pool_size = 64
rgw_enable_ops_log = false
rgw_enable_usage_log = false
"""

_ALL = ("mon", "allow *", "osd", "allow *", "mgr", "allow *")

#: Who may what: name -> pairs of service and capability.
_KEYS = {
    "client.admin": _ALL,
    "osd.0": ("mon", "allow profile osd", "osd", "allow *", "mgr", "allow profile osd"),
    "mgr.x": ("mon", "allow profile mgr", "osd", "allow *", "mds", "allow *"),
    "client.rgw.tests": ("mon", "allow rw", "osd", "allow rwx", "mgr", "allow rw"),
    "client.glance": (
        *("mon", "profile rbd", "osd", "profile rbd pool=images"),
        *("mgr", "profile rbd pool=images"),
    ),
    "client.glance-ro": ("mon", "profile rbd", "osd", "profile rbd-read-only pool=images"),
}


class Ceph:
    """`start` builds the cluster, without RGW unless *gateway*; `stop` ends it.

    `mon`, `osd`, `mgr` and `rgw` may be stopped and started in between, each alone.
    """

    def __init__(self, directory: pathlib.Path, *, gateway: bool = True) -> None:
        missing = [program for program in _PROGRAMS if shutil.which(program) is None]
        if missing:
            raise ServerFailed(f"Ceph is not installed: there is no {missing[0]}")
        self._here = directory
        self._gateway = gateway
        self.conf = directory / "ceph.conf"
        mon_port, rgw_port = free_port(), free_port()
        self._monitor = f"[v2:127.0.0.1:{mon_port}]"
        self._fsid = str(uuid.uuid4())
        self.url = f"http://127.0.0.1:{rgw_port}"
        text = _CONFIGURATION.format(
            here=directory, fsid=self._fsid, monitor=self._monitor, rgw_port=rgw_port
        )
        self.conf.write_text(text)
        self.mon = self._daemon("ceph-mon", "a", [mon_port])
        self.mgr = self._daemon("ceph-mgr", "x", [])
        self.osd = self._daemon("ceph-osd", "0", [])
        self.rgw = self._daemon("radosgw", "client.rgw.tests", [rgw_port], "-n")

    def start(self) -> None:
        """Build it and wait until RGW answers; `ServerFailed`."""
        for name in ("mon", "mgr", "osd", "rgw", "crash"):
            (self._here / name).mkdir()
        self._make_keys()
        keyring, monmap = self._here / "keyring.mon.", self._here / "monmap"
        self.run(
            "monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", self._monitor, monmap
        )
        self.run(
            "ceph-mon",
            "-c",
            self.conf,
            "-i",
            "a",
            "--mkfs",
            "--monmap",
            monmap,
            "--keyring",
            keyring,
        )
        self.mon.start()
        self._start_osd()
        if self._gateway:
            self.rgw.start(patience=120)
            self._make_user()

    def stop(self) -> None:
        """End it without regard to what is in it."""
        for daemon in (self.rgw, self.osd, self.mgr, self.mon):
            daemon.stop(signal.SIGKILL)

    def _daemon(self, program: str, name: str, ports: list[int], flag: str = "-i") -> Process:
        command = [program, "-f", "-c", str(self.conf), flag, name]
        return Process(command, ports, self._here / f"{program}.out")

    def _make_keys(self) -> None:
        keyring = self._here / "keyring.mon."
        self.run(
            "ceph-authtool",
            "--create-keyring",
            keyring,
            "--gen-key",
            "-n",
            "mon.",
            "--cap",
            "mon",
            "allow *",
        )
        for name, grants in _KEYS.items():
            path = self._here / f"keyring.{name}"
            caps = [word for pair in zip(grants[::2], grants[1::2]) for word in ("--cap", *pair)]
            self.run("ceph-authtool", "--create-keyring", path, "--gen-key", "-n", name, *caps)
            self.run("ceph-authtool", keyring, "--import-keyring", path)

    def _start_osd(self) -> None:
        osd_id = str(uuid.uuid4())
        self.run("ceph", "-c", self.conf, "osd", "new", osd_id)
        self.run("truncate", "-s", "10G", self._here / "osd" / "block")
        self.run("ceph-osd", "-c", self.conf, "-i", "0", "--mkfs", "--osd-uuid", osd_id)
        self.osd.start()

    def _make_user(self) -> None:
        self.run(
            *("radosgw-admin", "-c", self.conf, "-n", "client.rgw.tests"),
            *("user", "create", "--uid=storefs", "--display-name=storefs"),
            *(f"--access-key={S3_ACCESS_KEY}", f"--secret-key={S3_SECRET_KEY}"),
        )

    def run(self, *command: str | pathlib.Path) -> str:
        """What *command* prints; `ServerFailed`."""
        words = [str(word) for word in command]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
        except subprocess.CalledProcessError as exc:
            raise ServerFailed(f"{' '.join(words[:4])}: {exc.stderr[-2000:]}") from exc
        except subprocess.TimeoutExpired as exc:
            raise ServerFailed(f"{' '.join(words[:4])} hangs") from exc
        return done.stdout
