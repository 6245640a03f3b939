"""JSON that is read while it arrives: its outer containers step by step, each value within them whole.

No more than one value is in memory. A value that is too large is passed over, and so are names past their bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import msgspec

from coach.values.text import mend_surrogates

Path = tuple[str | int, ...]

_SPACE = re.compile(rb"[ \t\n\r]*+")
_LEAD = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\n\r]*+")
_SCALAR = re.compile(rb"[-+.0-9A-Za-z]++")
_IN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_BETWEEN = re.compile(rb'[^"\[\]{}]*+')
_OPENERS, _CLOSERS = b"[{", b"]}"


class MalformedJson(Exception):
    """This is no JSON."""


def decode(raw: bytes | bytearray) -> Any:
    """One value.

    :raises MalformedJson: it is none.
    """
    text = raw.decode("utf-8", "replace")
    try:
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return msgspec.json.decode(mend_surrogates(text))
    except (msgspec.DecodeError, RecursionError):
        raise MalformedJson from None


class Closed(NamedTuple):
    """The end of a container that was stepped into."""

    is_object: bool


class _Container:
    def __init__(self, *, is_object: bool) -> None:
        self.is_object = is_object
        self.count = 0
        self.name: str | int = 0


Event = tuple[Path, bytes | Closed | None]
Expected = Literal["value", "name", "colon", "next", "nothing"]


class JsonStream:
    """Events of a JSON text: ``(path, bytes)`` a value, ``None`` one that is larger than ``limit``, ``Closed`` an end.

    ``descends`` says of the path of an object (``b"{"``) or a list (``b"["``) whether it is stepped into,
    and so bounds the depth.
    """

    def __init__(self, descends: Callable[[Path, bytes], bool], limit: int) -> None:
        self._descends, self._limit = descends, limit
        self._buffer = bytearray()
        self._containers: list[_Container] = []
        self._expected: Expected = "value"
        # Of the value that is being read: how far it was looked at, and where that is.
        self._at = self._depth = 0
        self._is_within = self._in_string = self._is_passed_over = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """What is complete with ``data``.

        :raises MalformedJson: it cannot become JSON.
        """
        self._buffer += data
        while (event := self._step(is_last=False)) is not None:
            if event:
                yield event

    def finish(self) -> Iterator[Event]:
        """The rest, at the end of the text.

        :raises MalformedJson: it ends too early.
        """
        while (event := self._step(is_last=True)) is not None:
            if event:
                yield event
        if self._expected != "nothing":
            raise MalformedJson

    def _step(self, *, is_last: bool) -> Event | tuple[()] | None:
        """An event, ``()`` for progress without one, None where more has to arrive."""
        if self._is_within:
            return self._go_on(is_last=is_last)
        del self._buffer[: _end(_SPACE if self._containers else _LEAD, self._buffer)]
        if not self._buffer:
            return None
        if self._expected == "name":
            return self._name()
        if self._expected == "value" and self._buffer[0] not in b"]},:":
            return self._value()
        return self._mark(self._buffer.pop(0))

    def _mark(self, mark: int) -> Event | tuple[()]:
        top = self._containers[-1] if self._containers else None
        if top is None:
            raise MalformedJson
        is_first = top.count == 0 and self._expected == ("name" if top.is_object else "value")
        if mark == b"}]"[not top.is_object] and (self._expected == "next" or is_first):
            self._containers.pop()
            self._expected = "next" if self._containers else "nothing"
            return self._path(), Closed(top.is_object)
        if mark == ord(":") and self._expected == "colon":
            self._expected = "value"
        elif mark == ord(",") and self._expected == "next":
            self._expected = "name" if top.is_object else "value"
        else:
            raise MalformedJson
        return ()

    def _name(self) -> Event | tuple[()] | None:
        if self._buffer[0] == ord("}"):
            return self._mark(self._buffer.pop(0))
        if self._buffer[0] != ord('"'):
            raise MalformedJson
        end = _end(_IN_STRING, self._buffer, 1)
        if end >= len(self._buffer) or self._buffer[end] != ord('"'):
            if len(self._buffer) > self._limit:
                raise MalformedJson
            return None
        self._containers[-1].name = str(decode(self._buffer[: end + 1]))
        del self._buffer[: end + 1]
        self._expected = "colon"
        return ()

    def _value(self) -> Event | tuple[()] | None:
        opener = bytes(self._buffer[:1])
        if self._containers:
            top = self._containers[-1]
            if not top.is_object:
                top.name = top.count
            top.count += 1
        if opener in (b"[", b"{") and self._descends(self._path(), opener):
            del self._buffer[:1]
            self._containers.append(_Container(is_object=opener == b"{"))
            self._expected = "name" if opener == b"{" else "value"
            return ()
        self._is_within, self._is_passed_over = True, False
        self._at = self._depth = 0
        self._in_string = False
        return ()

    def _go_on(self, *, is_last: bool) -> Event | None:
        """Look for the end of the value that begins the buffer."""
        if not self._is_complete(is_last=is_last):
            if self._at > self._limit:
                self._is_passed_over = True
            if self._is_passed_over:
                del self._buffer[: self._at]
                self._at = 0
            return None
        raw = None if self._is_passed_over or self._at > self._limit else bytes(self._buffer[: self._at])
        del self._buffer[: self._at]
        self._is_within = False
        self._expected = "next" if self._containers else "nothing"
        return self._path(), raw

    def _is_complete(self, *, is_last: bool) -> bool:
        buffer = self._buffer
        is_begun = self._at > 0 or self._is_passed_over
        if not is_begun and buffer[0] not in b'"[{':
            found = _SCALAR.match(buffer)
            if found is None or found.end() > 1_000:
                raise MalformedJson
            self._at = found.end() if is_last or found.end() < len(buffer) else 0
            return self._at > 0
        while self._at < len(buffer):
            if self._in_string:
                self._at = _end(_IN_STRING, buffer, self._at)
                if self._at >= len(buffer) or buffer[self._at] != ord('"'):
                    return False
                self._in_string = False
            else:
                self._at = _end(_BETWEEN, buffer, self._at)
                if self._at >= len(buffer):
                    return False
                mark = buffer[self._at]
                self._in_string = mark == ord('"')
                self._depth += (mark in _OPENERS) - (mark in _CLOSERS)
            self._at += 1
            if self._depth == 0 and not self._in_string:
                return True
        return False

    def _path(self) -> Path:
        return tuple(container.name for container in self._containers)


def _end(pattern: re.Pattern[bytes], buffer: bytearray, at: int = 0) -> int:
    """Where what ``pattern`` takes at ``at`` ends; it may take nothing."""
    found = pattern.match(buffer, at)
    return at if found is None else found.end()
