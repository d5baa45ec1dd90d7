# SPDX-License-Identifier: Apache-2.0
"""vcsim, the simulator of a vCenter: one datacenter with two datastores, over TLS.

What it does not do as a vCenter does: it asks nobody who reads or writes below
/folder for a session and never redirects (`tests.servers.vsphere_gate` does),
and its free space is a constant.
"""

import atexit
import functools
import os
import pathlib
import uuid
from typing import Any

import trustme

from tests.servers import shared
from tests.servers.go_tools import go_tool
from tests.servers.process import Process, free_port

PACKAGE = "github.com/vmware/govmomi/vcsim"
#: v0.50 and later are without it.
VERSION = "v0.46.3"

USERNAME = "storefs"
PASSWORD = "storefs-secret-word"
DATACENTER = "DC0"
DATASTORES = ("LocalDS_0", "LocalDS_1")


class Vcsim(Process):
    """What the datastores hold is below *directory*, and gone when it stops."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._files = directory / "files"
        self._files.mkdir(parents=True)
        self.ca_file = directory / "ca.pem"
        certificate, key = self._certify(directory)
        port = free_port()
        self.host = f"127.0.0.1:{port}"
        command = [
            # it makes its datastores where temporaries are made
            *("env", f"TMPDIR={self._files}", str(go_tool(PACKAGE, VERSION)), "-l", self.host),
            *("-username", USERNAME, "-password", PASSWORD),
            *("-tlscert", str(certificate), "-tlskey", str(key)),
            *("-dc", "1", "-cluster", "1", "-host", "1", "-standalone-host", "0"),
            *("-vm", "0", "-ds", "2"),
        ]
        super().__init__(command, [port], directory / "vcsim.log")

    def _certify(self, directory: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
        self.authority = trustme.CA()
        issued = self.authority.issue_cert("127.0.0.1", "localhost")
        self.authority.cert_pem.write_to_path(str(self.ca_file))
        certificate, key = directory / "certificate.pem", directory / "key.pem"
        for blob in issued.cert_chain_pems:
            blob.write_to_path(str(certificate), append=True)
        issued.private_key_pem.write_to_path(str(key))
        return certificate, key

    def datastore(self, name: str) -> pathlib.Path:
        """Where the files of a datastore really are."""
        (path,) = self._files.glob(f"*{name}*")
        return path


class ImageDirectory:
    """A directory of one test's own in the simulator's datastores, behind storefs' back."""

    def __init__(self, server: Vcsim) -> None:
        self.server = server
        self.name = f"images-{uuid.uuid4().hex[:12]}"
        self._mtime = 1_700_000_000

    @property
    def options(self) -> dict[str, Any]:
        """What makes a driver use it."""
        return {
            "vmware_server_host": self.server.host,
            "vmware_server_username": USERNAME,
            "vmware_server_password": PASSWORD,
            "vmware_datastores": [f"{DATACENTER}:{name}" for name in DATASTORES],
            "vmware_store_image_dir": f"/{self.name}",
            "vmware_ca_file": str(self.server.ca_file),
        }

    def path(self, name: str = "", datastore: str = DATASTORES[0]) -> pathlib.Path:
        return self.server.datastore(datastore) / self.name / name

    def put(self, name: str, data: bytes, datastore: str = DATASTORES[0]) -> None:
        """All of it at once; each time with a later mtime."""
        path = self.path(name, datastore)
        path.parent.mkdir(exist_ok=True)
        other = self.server.datastore(datastore) / f"other-{self.name}"
        other.write_bytes(data)
        self._mtime += 1
        os.utime(other, (self._mtime, self._mtime))
        other.rename(path)

    def get(self, name: str) -> bytes:
        return self.path(name).read_bytes()

    def files(self) -> list[str]:
        """The names of all files, in all datastores."""
        directories = [self.path("", datastore) for datastore in DATASTORES]
        return [path.name for d in directories if d.is_dir() for path in d.iterdir()]


@functools.cache
def vcsim() -> Vcsim:
    """The simulator all tests share; `ServerFailed`."""
    server = Vcsim(shared.directory("vcsim"))
    atexit.register(server.stop)
    server.start()
    return server
