"""Texts of an import on disk while it arrives: they are written once, and read again one by one."""

from __future__ import annotations

from hashlib import blake2b
from tempfile import SpooledTemporaryFile

from msgspec import Struct

IN_MEMORY = 1024 * 1024
"""Bytes; a small import never touches the disk."""


class SpooledText(Struct, frozen=True):
    """Where a text is. Equal texts have equal digests."""

    at: int
    size: int
    digest: bytes


class Spool:
    """A file without a name, gone with its process. To be closed."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed with this
        self._end = 0

    def write(self, text: str) -> SpooledText:
        data = text.encode()
        self._file.write(data)
        self._end += len(data)
        return SpooledText(self._end - len(data), len(data), blake2b(data, digest_size=16).digest())

    def read(self, text: SpooledText) -> str:
        self._file.seek(text.at)
        return self._file.read(text.size).decode()

    def close(self) -> None:
        self._file.close()
