# SPDX-License-Identifier: Apache-2.0
"""An image as an iterator of bytes, which is how Glance reads."""

from collections.abc import Iterator

from storefs import exceptions
from storefs.drivers.base import Reader

#: How much is read at a time, bytes; glance_store's number, callers know it.
READ_CHUNKSIZE = 4 * 1024 * 1024


class ImageIterator(Iterator[bytes]):
    """The bytes of *reader* from *offset*, *length* of them or all that follow.

    The reader is closed at the end, by `close`, and when nobody holds the
    iterator any more. Data that ends before the image does is an error.
    """

    def __init__(self, reader: Reader, offset: int = 0, length: int | None = None) -> None:
        self._reader: Reader | None = reader
        self._offset = offset
        self._stop = reader.info.size
        if length is not None and length > 0:
            end = offset + length
            self._stop = end if self._stop is None else min(end, self._stop)
        self._may_be_short = reader.info.size is None

    def __next__(self) -> bytes:
        piece = self._read()
        if not piece:
            self.close()
            raise StopIteration
        self._offset += len(piece)
        return piece

    def _read(self) -> bytes:
        length = READ_CHUNKSIZE
        if self._stop is not None:
            length = min(length, self._stop - self._offset)
        if self._reader is None or length <= 0:
            return b""
        try:
            piece = bytes(self._reader.pread(length, self._offset))
        except BaseException:
            self.close()
            raise
        if len(piece) < length:
            self._check_end(self._offset + len(piece))
        return piece

    def _check_end(self, end: int) -> None:
        if not self._may_be_short:
            self.close()
            raise exceptions.BackendException(
                f"The image ended at byte {end}, before byte {self._stop}"
            )
        self._stop = end

    def close(self) -> None:
        """Let go of the reader; may be called more than once."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def __del__(self) -> None:
        if getattr(self, "_reader", None) is not None:
            self.close()
