# SPDX-License-Identifier: Apache-2.0
"""MinIO, the server the S3 benchmark is run against."""

import os
import pathlib

from tests.servers.go_tools import go_tool
from tests.servers.process import Process, free_port

PACKAGE = "github.com/minio/minio"
VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"

ACCESS_KEY = "storefs-access"
SECRET_KEY = "storefs-secret-word"


class Minio(Process):
    """One server over *directory*/data."""

    def __init__(self, directory: pathlib.Path) -> None:
        data = directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [str(go_tool(PACKAGE, VERSION)), "server", "--quiet"]
        command += ["--address", f"127.0.0.1:{port}", str(data)]
        # the server's own names for its keys
        os.environ["MINIO_ROOT_USER"] = ACCESS_KEY
        os.environ["MINIO_ROOT_PASSWORD"] = SECRET_KEY
        super().__init__(command, [port], directory / "minio.log")
