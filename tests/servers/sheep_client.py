# SPDX-License-Identifier: Apache-2.0
"""Another program's way into a Sheepdog cluster: one request after the other, no checks.

It shares nothing with the driver, and works with the fake sheep and a real one.
"""

import contextlib
import socket
import struct
from typing import NamedTuple

INDEX = 4664
OBJECT = 4 * 1024 * 1024
BITMAP = 2 * 1024 * 1024


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

    def create(self, name: bytes, size: int, base: int = 0, snapid: int = 0) -> int:
        """The id of the new VDI."""
        fields = struct.pack("<QIBBBBII", size, base, 0, 0, 0, 0, snapid, 0)
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
        used = int.from_bytes(self.ask(0x15, b"", length=BITMAP)[48:], "little")
        gone = int.from_bytes(self.ask(0xC9, b"", length=BITMAP)[48:], "little")
        live, found = used & ~gone, []
        while live:
            lowest = live & -live
            vid, live = lowest.bit_length() - 1, live ^ lowest
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
