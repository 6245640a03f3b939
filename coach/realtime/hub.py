"""All open sockets of this process: by whom, how many, and one clock for all of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, KeysView
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

from coach.metrics import SOCKETS
from coach.realtime.connection import GOING_AWAY, REFUSED, TRY_LATER, Connection
from coach.realtime.frames import push_frame
from coach.values.background import BackgroundTasks

MAX_SOCKETS = 20
"""Of one user, in one server process: some devices with some tabs each."""

TICK = 1.0
LAST_WORDS = 1.0
"""Seconds for readers to get the ends of their turns once all turns have ended."""

SKEW = timedelta(seconds=1)
"""How far the clocks of database and server may differ. A socket gets no push from before it opened."""


class TooManySockets(Exception):
    """The user has too many sockets open here."""


class Hub:
    """Knows every socket of this process. One timer serves all: a task for each would cost more than the socket."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._sockets: defaultdict[UUID, set[Connection]] = defaultdict(set)
        self._closing = BackgroundTasks("socket_not_closed")
        self._ticking = BackgroundTasks("sockets_unattended")
        self.occupied = asyncio.Event()
        self.is_draining = False

    @contextmanager
    def joined(self, socket: Connection) -> Iterator[None]:
        """Register the socket while inside. :raises TooManySockets: the user has too many sockets here."""
        own = self._sockets[socket.user_id]
        if len(own) >= MAX_SOCKETS:
            raise TooManySockets
        own.add(socket)
        SOCKETS.inc()
        self.occupied.set()
        if not self._ticking:
            self._ticking.start(self._tick())
        try:
            yield
        finally:
            socket.let_go()
            own.discard(socket)
            if not own and self._sockets.get(socket.user_id) is own:
                del self._sockets[socket.user_id]
            SOCKETS.dec()

    @property
    def users(self) -> KeysView[UUID]:
        return self._sockets.keys()

    def push(self, user_id: UUID, frame: dict[str, Any], created_at: datetime | None = None) -> None:
        """Push to the user's open sockets in this process: ``{"type": …}`` and its fields. ``created_at`` leaves out
        sockets that opened later. ``Pushes.push`` reaches other processes too.
        """
        data = push_frame(frame)
        for socket in list(self._sockets.get(user_id, ())):
            if created_at is not None and created_at < socket.opened_at - SKEW:
                continue
            if not socket.push(data):
                self.close(socket, TRY_LATER, "What was to be told was not read in time.")

    def close(self, socket: Connection, code: int, reason: str) -> None:
        """Begin to close one, without waiting for it."""
        self._closing.start(socket.close(code, reason))

    def request_ended(self, socket: Connection) -> None:
        """A request has ended. While the server goes away, so does a socket with nothing left to tell."""
        if self.is_draining and not socket.replies:
            self.close(socket, GOING_AWAY, "The server is restarting; connect again.")

    def drain(self) -> None:
        """Close idle sockets now, and the others after their turns."""
        self.is_draining = True
        for socket in self._all():
            self.request_ended(socket)

    async def aclose(self) -> None:
        """Close all sockets. Turns have ended by now; their readers get a moment for the last parts."""
        self.drain()
        telling = [task for socket in self._all() for task in socket.replies.values()]
        if telling:
            await asyncio.wait(telling, timeout=LAST_WORDS)
        for socket in self._all():
            self.close(socket, GOING_AWAY, "The server is restarting; connect again.")
        await self._ticking.aclose()
        await self._closing.aclose(LAST_WORDS)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now, wall = monotonic(), self._clock()
            for socket in self._all():
                if socket.code is None:
                    self._check_socket(socket, now, wall)

    def _check_socket(self, socket: Connection, now: float, wall: datetime) -> None:
        if wall >= socket.expires_at:
            self.close(socket, REFUSED, "The token has expired; sign in again.")
        elif socket.is_stalled(now):
            self.close(socket, TRY_LATER, "What was told was not read in time; the turn goes on.")
        elif now >= socket.ping_at:
            socket.ping(now)

    def _all(self) -> list[Connection]:
        return [socket for own in self._sockets.values() for socket in own]
