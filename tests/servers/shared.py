# SPDX-License-Identifier: Apache-2.0
"""Servers that several stores share: one for the whole run, started when first asked for."""

import atexit
import functools
import pathlib
import shutil
import tempfile

from tests.servers.ceph import Ceph
from tests.servers.cinder import Cinder
from tests.servers.keystone import Keystone
from tests.servers.swift import Swift


def directory(kind: str) -> pathlib.Path:
    """A directory that goes when the run ends."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=f"storefs-{kind}-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def ceph() -> Ceph:
    """A Ceph of one node; `ServerFailed`."""
    server = Ceph(directory("ceph"))
    atexit.register(server.stop)
    server.start()
    return server


@functools.cache
def keystone() -> Keystone:
    """A Keystone for whoever registers services with it; `ServerFailed`."""
    server = Keystone(directory("keystone"))
    atexit.register(server.stop)
    server.start()
    return server


@functools.cache
def swift() -> Swift:
    """A Swift with tempauth and, at a proxy of its own, behind `keystone()`; `ServerFailed`."""
    server = Swift(directory("swift"), keystone())
    atexit.register(server.stop)
    server.start()
    return server


@functools.cache
def cinder() -> Cinder:
    """A Cinder over the Ceph, with the Keystone; `ServerFailed`."""
    server = Cinder(directory("cinder"), ceph(), keystone())
    atexit.register(server.discard)
    server.start()
    return server
