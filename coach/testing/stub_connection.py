"""One client's connection to the stub provider."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol, cast

from coach.testing.stub_script import HELD
from coach.testing.stub_wire import Response


class Stub(Protocol):
    """Who answers, and who counts."""

    open_streams: int
    ended_at: float
    going_on: asyncio.Event

    def respond(self, path: str, headers: dict[str, str], raw: bytes) -> Response: ...
    def opened(self, connection: StubConnection) -> None: ...
    def lost(self, connection: StubConnection) -> None: ...


class StubConnection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request at a time, bodies by content-length."""

    transport: asyncio.Transport

    def __init__(self, stub: Stub) -> None:
        self._stub, self._buffer = stub, b""
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self._stub.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stub.lost(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self.task is None:
            self._take_request()

    def _take_request(self) -> None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        response = self._stub.respond(first.split(" ")[1], headers, rest[:length])
        self.task = asyncio.get_running_loop().create_task(self._send(response))

    async def _send(self, response: Response) -> None:
        self._stub.open_streams += response.is_stream
        loop = asyncio.get_running_loop()
        due, going_on = loop.time(), self._stub.going_on
        try:
            for part in response.parts:
                if isinstance(part, bytes):
                    self.transport.write(part)
                elif part == HELD:
                    await going_on.wait()
                    due = loop.time()
                elif part > 0:
                    due += part  # by the clock: pauses one after the other would let a pace slip by each one's delay
                    await asyncio.sleep(max(0.0, due - loop.time()))
        finally:
            self._stub.open_streams -= response.is_stream
            self._stub.ended_at = time.monotonic()
        self.task = None
        if response.closes:
            self.transport.close()
        else:
            self._take_request()
