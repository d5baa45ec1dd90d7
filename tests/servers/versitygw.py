# SPDX-License-Identifier: Apache-2.0
"""versitygw: a directory served as S3."""

import pathlib

from tests.servers.go_tools import go_tool
from tests.servers.process import Process, free_port

PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
VERSION = "v1.8.0"

ACCESS_KEY = "storefs-access"
SECRET_KEY = "storefs-secret-word"


class VersityGw(Process):
    """*directory*/buckets holds a directory a bucket, its files are the objects."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.buckets = directory / "buckets"
        self.versions = directory / "versions"
        for path in (self.buckets, self.versions):
            path.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [
            *(str(go_tool(PACKAGE, VERSION)), "--port", f"127.0.0.1:{port}", "--keep-alive"),
            *("--access", ACCESS_KEY, "--secret", SECRET_KEY, "--quiet"),
            *("posix", "--versioning-dir", str(self.versions), str(self.buckets)),
        ]
        super().__init__(command, [port], directory / "versitygw.log")
