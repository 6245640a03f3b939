"""The lines of a stream of server-sent events."""

from __future__ import annotations

from collections.abc import Iterator

_BOM = b"\xef\xbb\xbf"


class EventLines:
    """Bytes to lines, which end in LF, CR or both. ``size`` is that of the line that has no end yet."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._is_after_cr = False
        self._is_first = True
        self.size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._is_after_cr and data:
            data = data.removeprefix(b"\n")
        self._is_after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *others = data.split(b"\n")
        self._rest.append(first)
        for following in others:
            line = b"".join(self._rest)
            self._rest = [following]
            yield line.removeprefix(_BOM) if self._is_first else line
            self._is_first = False
        self.size = sum(map(len, self._rest)) if others else self.size + len(first)
