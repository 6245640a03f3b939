"""One open socket: what goes out on it, what is being answered on it, and when it has to go."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import datetime
from time import monotonic
from typing import Any
from uuid import UUID

from coach.metrics import SOCKETS_CLOSED
from coach.realtime.frames import PING
from coach.values.background import BackgroundTasks

DONE, GOING_AWAY, REFUSED, TRY_LATER = 1000, 1001, 1008, 1013
"""Close codes (RFC 6455, section 7.4). Too large a frame is 1009, and the protocol's own to answer."""

MAX_PUSHES = 64
"""Pushes that wait for a reader. What is in flight of a turn needs no bound here: it stays in the turn's own log."""

STALLED_AFTER = 20.0
"""Seconds that a send may wait for its reader before the socket is dropped."""

PING_EVERY = (15.0, 20.0)

FRAMES_A_SECOND, FRAMES_AT_ONCE = 20.0, 120.0

Send = Callable[[Any], Awaitable[None]]


class SocketGone(Exception):
    """The other side has left, or was closed."""


class Connection:
    """``send`` is the server's (ASGI). Times by the monotonic clock, but for when the token expires."""

    __slots__ = (
        "_allowance",
        "_allowed_at",
        "_flushing",
        "_moved_at",
        "_pushes",
        "_send",
        "_tasks",
        "_waiting",
        "code",
        "expires_at",
        "opened_at",
        "ping_at",
        "replies",
        "user_id",
    )

    def __init__(self, user_id: UUID, expires_at: datetime, opened_at: datetime, send: Send) -> None:
        self.user_id, self.expires_at, self.opened_at, self._send = user_id, expires_at, opened_at, send
        self.replies: dict[str, asyncio.Task[None]] = {}
        self.code: int | None = None
        now = monotonic()
        self.ping_at = now + random.uniform(*PING_EVERY)  # noqa: S311 - spreads the pings, guards nothing
        self._allowance, self._allowed_at = FRAMES_AT_ONCE, now
        self._waiting, self._moved_at = 0, now
        self._pushes: deque[bytes] | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._tasks = BackgroundTasks("socket_request_broke")

    async def send(self, frame: bytes) -> None:
        """One frame; waits while the reader is behind.

        :raises SocketGone: the other side has left.
        """
        if self._waiting == 0:
            self._moved_at = monotonic()
        self._waiting += 1
        try:
            await self._send({"type": "websocket.send", "text": frame.decode()})
        except OSError:
            raise SocketGone from None
        finally:
            self._waiting -= 1
            self._moved_at = monotonic()

    def push(self, frame: bytes) -> bool:
        """Send a push at once, or when the reader has caught up. False if too many wait."""
        if self.code is not None:
            return True
        if self._pushes is None:
            self._pushes = deque()
        if len(self._pushes) >= MAX_PUSHES:
            return False
        self._pushes.append(frame)
        if self._flushing is None:
            self._flushing = self._tasks.start(self._flush(self._pushes))
        return True

    def ping(self, now: float) -> None:
        """Unless there is more to tell already."""
        self.ping_at = now + random.uniform(*PING_EVERY)  # noqa: S311 - spreads the pings, guards nothing
        if self._flushing is None:
            self.push(PING)

    def answer(self, request_id: str, work: Coroutine[Any, Any, None], done: Callable[[], None]) -> None:
        """Carry on with one request beside the others; ``done`` is called after its last frame."""
        task = self._tasks.start(work)
        self.replies[request_id] = task

        def ended(_: asyncio.Task[None]) -> None:
            if self.replies.get(request_id) is task:
                del self.replies[request_id]
            done()

        task.add_done_callback(ended)

    def detach(self, request_id: str) -> None:
        """Tell no more of a request; whatever it began goes on."""
        if task := self.replies.pop(request_id, None):
            task.cancel()

    def is_stalled(self, now: float) -> bool:
        return self._waiting > 0 and now - self._moved_at > STALLED_AFTER

    def allows_frame(self) -> bool:
        """Count one frame of the client's; false where they come too fast."""
        now = monotonic()
        self._allowance = min(FRAMES_AT_ONCE, self._allowance + (now - self._allowed_at) * FRAMES_A_SECOND)
        self._allowed_at = now
        self._allowance -= 1
        return self._allowance >= 0

    async def close(self, code: int, reason: str) -> None:
        """Send the close frame, and stop all readers of this socket."""
        if self.code is not None:
            return
        self.code = code
        SOCKETS_CLOSED.labels(str(code)).inc()
        self.let_go()
        with suppress(OSError):
            await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def let_go(self) -> None:
        for task in [*self.replies.values(), *([self._flushing] if self._flushing else [])]:
            task.cancel()

    async def _flush(self, pushes: deque[bytes]) -> None:
        try:
            while pushes:
                await self.send(pushes[0])
                pushes.popleft()
        except SocketGone:
            pushes.clear()
        finally:
            self._flushing = None
            self._pushes = None
