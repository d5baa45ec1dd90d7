# SPDX-License-Identifier: Apache-2.0
"""Another program's way into a Sheepdog cluster: one request after the other, no checks.

It shares nothing with the driver, and works with the fake sheep and a real one.
"""

import contextlib
import re
import socket
import struct
import time
from typing import NamedTuple

INDEX = 4664
OBJECT = 4 * 1024 * 1024
BITMAP = 2 * 1024 * 1024

#: the result of a cluster that waits for its format
UNFORMATTED = 0x16


class SheepError(Exception):
    """What was asked for did not succeed; *result* is Sheepdog's code."""

    def __init__(self, result: int) -> None:
        super().__init__(f"result {result:#04x}")
        self.result = result


class Vdi(NamedTuple):
    """One VDI of a listing."""

    vid: int
    name: bytes
    size: int
    snapshot: bool


class SheepClient:
    """One connection to *host*, *port*."""

    def __init__(self, host: str, port: int) -> None:
        self.connection = socket.create_connection((host, port), 30)

    def close(self) -> None:
        self.connection.close()

    def prepare(self) -> None:
        """Format the cluster if nobody ever did: one copy of each object, plain store."""
        try:
            self.find(b"storefs-is-there-a-format")
        except SheepError as exc:
            if exc.result == UNFORMATTED:
                fields = struct.pack("<8xQBBHII", int(time.time()) << 32, 1, 0, 0x4, 0, 0)
                self.ask(0x84, fields + bytes([22]), b"plain\0")

    def ask(self, opcode: int, fields: bytes, payload: bytes = b"", length: int = 0) -> bytes:
        """Header and data of the answer; `SheepError`."""
        version = 10 if opcode >= 0x80 else 2
        head = struct.pack(
            "<BBHIII", version, opcode, bool(payload), 0, 7, len(payload) or length
        ) + fields.ljust(32, b"\0")
        self.connection.sendall(head + payload)
        answer = self._take(48)
        found, result = struct.unpack_from("<II", answer, 12)
        data = self._take(found)
        if result:
            raise SheepError(result)
        return answer + data

    def _take(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            piece = self.connection.recv(length - len(data))
            if not piece:
                raise ConnectionResetError
            data += piece
        return data

    def read(self, oid: int, length: int, offset: int = 0) -> bytes:
        fields = struct.pack("<QQIII", oid, 0, 0, 0, offset)
        return self.ask(0x02, fields, length=length)[48:]

    def write(self, oid: int, data: bytes, offset: int = 0, *, create: bool = False) -> None:
        fields = struct.pack("<QQIII", oid, 0, 0, 0, offset)
        self.ask(0x01 if create else 0x03, fields, data)

    def create(
        self, name: bytes, size: int, base: int = 0, snapid: int = 0, *, hyper: bool = False
    ) -> int:
        """The id of the new VDI."""
        fields = struct.pack("<QIBBBBII", size, base, 0, 0, hyper, 0, snapid, 0)
        return self._vid(self.ask(0x11, fields, name.ljust(256, b"\0")))

    def find(self, name: bytes) -> int:
        return self._vid(self.ask(0x14, b"", name.ljust(256, b"\0")))

    @staticmethod
    def _vid(answer: bytes) -> int:
        return int.from_bytes(answer[24:28], "little")

    def put(self, name: bytes, data: bytes) -> int:
        """A VDI of *data*, as a program that knows nothing of storefs makes it."""
        vid = self.create(name, len(data))
        self.fill(vid, data)
        return vid

    def fill(self, vid: int, data: bytes) -> None:
        """Write the objects that are not all zeros, and then the index."""
        entries = b""
        for start in range(0, len(data), OBJECT):
            piece = data[start : start + OBJECT]
            if piece.strip(b"\0"):
                self.write(vid << 32 | start // OBJECT, piece, create=True)
                entries += vid.to_bytes(4, "little")
            else:
                entries += bytes(4)
        if entries:
            self.write(inode(vid), entries, INDEX)

    def put_hyper(self, name: bytes, size: int, objects: dict[int, bytes], leaves: int = 0) -> int:
        """A hyper volume with *objects*, listed in its root, or in so many leaves."""
        vid = self.create(name, size, hyper=True)
        for number, piece in objects.items():
            self.write(vid << 32 | number, piece, create=True)
        numbers = sorted(objects)
        step = -(-len(numbers) // leaves) if leaves else len(numbers)
        nodes = [numbers[n : n + step] for n in range(0, len(numbers), step)]
        root = b"".join(struct.pack("<II", number, vid) for number in numbers)
        head = struct.pack("<HHI", 0x6274, 2 if leaves else 1, len(nodes if leaves else numbers))
        if leaves:
            root = b""
            for at, node in enumerate(nodes):
                oid = 1 << 60 | vid << 32 | at
                entries = b"".join(struct.pack("<II", number, vid) for number in node)
                self.write(oid, struct.pack("<HHI", 0x6274, 1, len(node)) + entries, create=True)
                root += struct.pack("<I4xQ", node[-1], oid)
        # as the real tools do: all of it from the head on, which no index write is
        self.write(inode(vid), self.read(inode(vid), INDEX) + head + root, 0)
        return vid

    def get(self, name: bytes) -> bytes:
        """All of a VDI."""
        vid = self.find(name)
        size = int.from_bytes(self.read(inode(vid), 8, 536), "little")
        index = self.read(inode(vid), 4 * -(-size // OBJECT), INDEX) if size else b""
        data = b""
        for number in range(len(index) // 4):
            owner = int.from_bytes(index[4 * number : 4 * number + 4], "little")
            length = min(OBJECT, size - number * OBJECT)
            data += self.read(owner << 32 | number, length) if owner else bytes(length)
        return data

    def snapshot(self, name: bytes, tag: bytes) -> tuple[int, int]:
        """The ids of the snapshot and of the VDI that goes on."""
        vid = self.find(name)
        size = int.from_bytes(self.read(inode(vid), 8, 536), "little")
        self.write(inode(vid), tag.ljust(256, b"\0"), 256)
        return vid, self.create(name, size, vid, 1)

    def delete(self, name: bytes) -> None:
        """In both steps."""
        vid = self.find(name)
        size = int.from_bytes(self.read(inode(vid), 8, 536), "little")
        entries = min(-(-size // OBJECT), 1 << 20)
        if entries:
            self.write(inode(vid), bytes(4 * entries), INDEX)
        self.ask(0x17, b"", name.ljust(256, b"\0"))

    def vdis(self) -> list[Vdi]:
        """Every VDI that is not deleted, snapshots included."""
        used, gone = (self.ask(opcode, b"", length=BITMAP)[48:] for opcode in (0x15, 0xC9))
        found = []
        bits = (8 * m.start() + n for m in re.finditer(rb"[^\x00]", used) for n in range(8))
        for vid in bits:
            if not (used[vid // 8] & ~gone[vid // 8]) >> vid % 8 & 1:
                continue
            with contextlib.suppress(SheepError):
                head = self.read(inode(vid), 568)
                name = head[:256].partition(b"\0")[0]
                if name:
                    size = int.from_bytes(head[536:544], "little")
                    found.append(Vdi(vid, name, size, any(head[520:528])))
        return found


def inode(vid: int) -> int:
    """The object id of a VDI's inode."""
    return 1 << 63 | vid << 32
