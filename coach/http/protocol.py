"""HTTP/1.1 as uvicorn reads it, with an end to what a stranger may send and to how long it may take.

uvicorn bounds neither: heads and trailers are gathered for as long as they come, and nobody is ever sent away for
silence. Bodies have their limits where they are read (``coach/http/limits.py``).
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import ClassVar

from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_HEAD = 64 * 1024
"""Bytes of the address and the header lines of one request, its trailers included; and of all else that is no body."""

MAX_FIELDS = 128
"""Header lines and trailers of one request. Each costs more memory than its bytes."""

MAX_PIPELINED = 16
"""Requests that may wait behind the one being answered."""

MAX_HEADS = 8 * 1024 * 1024
"""Bytes that all unfinished heads of a process may hold. One that comes whole holds none."""

FRAMING = 8
"""Bytes of chunk framing that may come with each byte of a body: a chunk of one byte has five."""

SLOWEST = 1024
"""Bytes a second that a client has to send of a body, and read of an answer, once its time is up."""

LINGER = 5.0
"""Seconds for which the rest of a body is read past an answer, so that the answer reaches its reader."""

_FIELD = 200
"""Bytes that a header line takes beside its own, roughly."""


class Timeouts(Struct, frozen=True):
    """Seconds for a head, for a body (and more for a long one, by ``SLOWEST``), and for silence between requests."""

    head: float = 15.0
    body: float = 30.0
    idle: float = 30.0


class _Phase(Enum):
    """Where in a request its client is. After it, the answer is awaited or has been given."""

    BEFORE = 0
    HEAD = 1
    BODY = 2
    AFTER = 3


class _TooMuchError(Exception):
    """Ends the parsing."""


class BoundedProtocol(HttpToolsProtocol):
    """Counts what is no body, and keeps the time of each phase of a request."""

    timeouts: ClassVar[Timeouts] = Timeouts()
    held_by_all: ClassVar[int] = 0

    _phase = _Phase.BEFORE
    _lines = _fields = _unfinished = _held = _body = 0
    _since = 0.0
    _refusal = 400
    _timer: asyncio.TimerHandle | None = None
    _reader: asyncio.TimerHandle | None = None

    # What comes

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect(self.timeouts.idle)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        self._hold(0)
        if self._reader is not None:
            self._reader.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._unfinished += len(data)
        super().data_received(data)
        self._hold(self._unfinished + self._fields * _FIELD if self._phase is _Phase.HEAD else 0)
        if self._unfinished > MAX_HEAD:
            self._refuse(431)
        elif self._held and BoundedProtocol.held_by_all > MAX_HEADS:
            self._refuse(503)

    def handle_websocket_upgrade(self) -> None:
        self._expect(None)
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._lines = self._fields = self._body = 0
        self._enter(_Phase.HEAD, self.timeouts.head)

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._count(len(name) + len(value) + 4)
        if self._phase is _Phase.HEAD:
            # A trailer is no header: it came after the checks of those.
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._unfinished = 0
        if b"#" in self.url:
            # The parser drops a fragment: an address would have another spelling, past the rules of a proxy.
            self._give_up(400)
        if len(self.pipeline) >= MAX_PIPELINED:
            self._give_up(429)
        super().on_headers_complete()
        self._enter(_Phase.BODY, self.timeouts.body)

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        self._unfinished = max(0, self._unfinished - len(body) * (1 + FRAMING))
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unfinished = 0
        super().on_message_complete()
        self._enter(_Phase.AFTER, None if self._is_answering else self.timeouts.idle)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            self._watch_reader()
        elif not self._is_answering:
            self.cycle.body.clear()
            if self._phase is not _Phase.HEAD:
                self._expect(LINGER if self._phase is _Phase.BODY else self.timeouts.idle)

    # What is too much

    def _count(self, more: int) -> None:
        self._lines += more
        if self._lines > MAX_HEAD or self._fields > MAX_FIELDS:
            self._give_up(431)

    def _give_up(self, status: int) -> None:
        self._refusal = status
        raise _TooMuchError

    def _hold(self, held: int) -> None:
        BoundedProtocol.held_by_all += held - self._held
        self._held = held

    def send_400_response(self, msg: str) -> None:
        """The parser stopped, by its own judgement or by ours."""
        self._refuse(self._refusal)

    def _refuse(self, status: int) -> None:
        """Say why, unless something has been said to this very request."""
        if self._is_unanswered and not self.transport.is_closing():
            self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._leave()

    def _leave(self) -> None:
        self.transport.close()
        self._watch_reader()

    # What takes too long

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _is_unanswered(self) -> bool:
        return not (self.cycle.response_started if self._phase is _Phase.BODY else self._is_answering)

    def _enter(self, phase: _Phase, seconds: float | None) -> None:
        self._phase, self._since = phase, self.loop.time()
        self._expect(seconds)

    def _expect(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._time_is_up)

    def _time_is_up(self) -> None:
        if left := self._time_left():
            self._expect(left)
        elif self._phase in (_Phase.HEAD, _Phase.BODY):
            self._refuse(408)
        else:
            self._leave()

    def _time_left(self) -> float:
        """Time is granted while we are the ones who do not read, and for a long body that keeps coming."""
        if not self._is_answering:
            return 0.0
        if self._phase is _Phase.HEAD or self.flow.read_paused:
            return self.timeouts.idle
        until = self._since + self.timeouts.body + self._body / SLOWEST
        return max(0.0, until - self.loop.time())

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reader is not None and not self.transport.is_closing():
            self._reader.cancel()

    def _watch_reader(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
        unread = self.transport.get_write_buffer_size()
        self._reader = self.loop.call_later(self.timeouts.idle / 2, self._look_at_reader, unread)

    def _look_at_reader(self, unread: int) -> None:
        """A transport that is closed waits for ever for a reader who never reads."""
        if unread - self.transport.get_write_buffer_size() < SLOWEST * self.timeouts.idle / 2:
            self.transport.abort()
        else:
            self._watch_reader()


def bounded_by(timeouts: Timeouts) -> type[BoundedProtocol]:
    """The protocol with these timeouts: uvicorn takes a class and makes the objects."""
    return type("Bounded", (BoundedProtocol,), {"timeouts": timeouts})
