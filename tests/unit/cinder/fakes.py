# SPDX-License-Identifier: Apache-2.0
"""A Cinder in memory that fails where it is told to.

A real one cannot be made to fail between two given steps; `tests/contract` and
`tests/mount` have the real one. Its refusals are those Cinder 29 was seen to make.
"""

import collections
import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from storefs import exceptions
from storefs.drivers.base import Buffer
from storefs.drivers.cinder import CinderDriver
from storefs.drivers.cinder.attachment import Attacher
from storefs.drivers.cinder.brick import Plugged
from storefs.drivers.cinder.device import Device
from storefs.drivers.cinder.volume import Volume
from tests.contract.harness import options_of


class FakeDevice(Device):
    """The volume's bytes in a bytearray."""

    def __init__(self, cinder: "FakeCinder", volume_id: str) -> None:
        self._cinder = cinder
        self._volume_id = volume_id
        self.closed = False

    def pread(self, length: int, offset: int) -> Buffer:
        self._cinder.step("pread")
        data = self._cinder.data[self._volume_id]
        return bytes(data[offset : offset + length]).ljust(length, b"\0")

    def pwrite(self, data: memoryview, offset: int) -> None:
        self._cinder.step("pwrite")
        kept = self._cinder.data[self._volume_id]
        kept[len(kept) :] = bytes(max(0, offset + len(data) - len(kept)))
        kept[offset : offset + len(data)] = data

    def flush(self) -> None:
        self._cinder.step("flush")

    def close(self) -> None:
        self.closed = True


class FakeCinder:
    """What `Api`, `Brick` and a journal are to the driver, all in one.

    ``fail[step]`` is raised by that step, each time; ``late[step]`` after the step was done.
    """

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        self.held: dict[str, tuple[str, str]] = {}
        self.data: dict[str, bytearray] = collections.defaultdict(bytearray)
        self.plugged: set[str] = set()
        self.noted: dict[str, Mapping[str, str]] = {}
        self.fail: dict[str, Exception] = {}
        self.late: dict[str, Exception] = {}
        self.steps: list[str] = []
        self._ids = itertools.count(1)
        self.project_id = "project"

    def step(self, name: str) -> None:
        self.steps.append(name)
        if name in self.fail:
            raise self.fail[name]

    @contextlib.contextmanager
    def _doing(self, name: str) -> Iterator[None]:
        self.step(name)
        yield
        if name in self.late:
            raise self.late[name]

    @property
    def leftovers(self) -> list[str]:
        """What is attached, connected or noted still, and volumes that are no images."""
        uploads = [v for v in self.known if self.volume(v).upload]
        states = [v for v, told in self.known.items() if told["status"] != "available"]
        return [*self.held, *self.plugged, *self.noted, *uploads, *states]

    # -- Api

    def volume(self, volume_id: str) -> Volume:
        if volume_id not in self.known:
            raise exceptions.NotFound(image=volume_id)
        return Volume(volume_id, created_ns=int(volume_id), **self.known[volume_id])

    def volumes(
        self, name: str = "", metadata: Mapping[str, str] | None = None
    ) -> Iterator[Volume]:
        self.step("volumes")
        for volume_id in reversed(list(self.known)):
            volume = self.volume(volume_id)
            if (not name or volume.name == name) and (metadata or {}).items() <= (
                volume.metadata.items()
            ):
                yield volume

    def make(self, gib: int, name: str, metadata: Mapping[str, str], kind: str | None) -> str:
        with self._doing("make"):
            volume_id = str(next(self._ids))
            told = {"name": name, "status": "available", "gib": gib, "metadata": dict(metadata)}
            self.known[volume_id] = told
        return volume_id

    def rename(self, volume_id: str, name: str, metadata: Mapping[str, str]) -> None:
        with self._doing("rename"):
            known = self.known[volume_id]
            kept = {k: v for k, v in known["metadata"].items() if k == "readonly"}
            known.update(name=name, metadata={**metadata, **kept})

    def add_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        self.known[volume_id]["metadata"].update(metadata)

    def make_read_only(self, volume_id: str) -> None:
        with self._doing("make_read_only"):
            self._require(volume_id, "available")
            self.known[volume_id]["metadata"]["readonly"] = "True"

    def extend(self, volume_id: str, gib: int) -> None:
        with self._doing("extend"):
            assert gib > self.known[volume_id]["gib"]
            self.known[volume_id]["gib"] = gib

    def delete(self, volume_id: str) -> None:
        with self._doing("delete"):
            self._require(volume_id, "available")
            del self.known[volume_id]

    def reserve(self, volume_id: str, mode: str) -> str:
        with self._doing("reserve"):
            self._require(volume_id, "available")
            attachment_id = f"attachment-{next(self._ids)}"
            self.known[volume_id]["status"] = "reserved"
            self.held[attachment_id] = (volume_id, "reserved")
        return attachment_id

    def connect(self, attachment_id: str, connector: Mapping[str, Any]) -> dict[str, Any]:
        with self._doing("connect"):
            self.known[self.held[attachment_id][0]]["status"] = "attaching"
        return {"driver_volume_type": "rbd", "volume": self.held[attachment_id][0]}

    def complete(self, attachment_id: str) -> None:
        with self._doing("complete"):
            volume_id = self.held[attachment_id][0]
            self.known[volume_id]["status"] = "in-use"
            self.held[attachment_id] = (volume_id, "attached")

    def connection(self, attachment_id: str) -> dict[str, Any]:
        if attachment_id not in self.held:
            raise exceptions.NotFound(image=attachment_id)
        return {"driver_volume_type": "rbd"}

    def attachments(self, volume_id: str) -> dict[str, str]:
        return {a: state for a, (v, state) in self.held.items() if v == volume_id}

    def detach(self, attachment_id: str) -> None:
        with self._doing("detach"):
            if attachment_id in self.held:
                volume_id, _ = self.held.pop(attachment_id)
                self.known[volume_id]["status"] = "available"

    def await_state(self, volume_id: str, states: set[str], gib: int = 0) -> Volume:
        self.step("await_state")
        assert self.known[volume_id]["status"] in states
        return self.volume(volume_id)

    def await_deleted(self, volume_id: str) -> None:
        self.step("await_deleted")

    def pause(self, seconds: float) -> None:
        self.step("pause")

    def _require(self, volume_id: str, status: str) -> None:
        if self.volume(volume_id).status != status:
            raise exceptions.InUseByStore(f"Volume status must be {status}")

    # -- Brick

    def connector(self) -> Mapping[str, Any]:
        self.step("connector")
        return {"host": "tests"}

    def plug(self, connection: Mapping[str, Any], what: str, mode: str) -> Plugged:
        with self._doing("plug"):
            volume_id = connection["volume"]
            self.plugged.add(volume_id)
        return Plugged(FakeDevice(self, volume_id), None, connection, volume_id)

    def unplug(self, plugged: Plugged, what: str) -> None:
        plugged.device.close()
        self.plugged.discard(plugged.told)
        self.step("unplug")

    def unplug_leftover(self, connection: Mapping[str, Any], what: str) -> None:
        self.step("unplug_leftover")

    def extended(self, plugged: Plugged, what: str) -> None:
        self.step("extended")

    # -- Journal

    def begun(self, name: str, **record: str) -> None:
        self.noted[name] = record

    def ended(self, name: str) -> None:
        self.noted.pop(name, None)


def attacher(cinder: FakeCinder, **options: Any) -> Attacher:
    """An attacher over *cinder*."""
    given: Any = cinder
    return Attacher(given, given, given, options_of(CinderDriver, **options))
