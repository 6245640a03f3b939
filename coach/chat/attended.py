"""Turns that live as long as somebody reads them: when the last reader leaves before the end, the turn is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from coach.chat.events import Event
from coach.chat.running import RunningTurn
from coach.database.pool import Database
from coach.database.queries import load
from coach.errors import DatabaseUnavailable
from coach.values.background import BackgroundTasks

_sql = load("attendance")

ABANDONED_AFTER = 0.75
"""Seconds. The stock SDKs try again 0.38 to 0.5 s after a lost connection, and then find the turn still running."""

FOLLOWED_FOR = timedelta(seconds=1.5)
"""A reader on another server process looks every quarter of a second."""


class Attendance:
    """Who reads a turn on which server process, as far as it matters: whether anybody still does."""

    def __init__(self, db: Database, clock: Callable[[], datetime], tasks: BackgroundTasks) -> None:
        self._db, self._clock, self._tasks = db, clock, tasks

    def reader(self, running: RunningTurn) -> AsyncGenerator[Sequence[Event], None]:
        """A caller's turn lives as long as it is read; all others belong to the server."""
        return running.log.read() if running.request.caller is None else Attended(running, self)

    async def follow(self, user_id: UUID, answer_id: UUID) -> None:
        """Tell the process that runs a turn that it is being read here."""
        async with self._db.as_user(user_id) as tx:
            await _sql.follow.run(tx, user_id=user_id, message_id=answer_id, now=self._clock())

    def left(self, running: RunningTurn) -> None:
        """A reader of this process has gone."""
        running.readers -= 1
        if not (running.readers or running.log.ended):
            self._tasks.start(self._abandon(running))

    async def _abandon(self, running: RunningTurn) -> None:
        """Stop it, unless somebody comes back, here or elsewhere."""
        await asyncio.sleep(ABANDONED_AFTER)
        while not (running.readers or running.log.ended):
            if not await self._is_followed(running):
                running.stop("disconnected")
                return
            await asyncio.sleep(ABANDONED_AFTER)

    async def _is_followed(self, running: RunningTurn) -> bool:
        turn = running.turn
        try:
            async with self._db.as_user(turn.user_id) as tx:
                last = await _sql.followed_at.value(tx, user_id=turn.user_id, message_id=turn.answer_id)
        except DatabaseUnavailable:
            return False  # nobody elsewhere can read it either
        return last is not None and self._clock() - last < FOLLOWED_FOR


class Attended(AsyncGenerator[Sequence[Event], None]):
    """Reads a running turn's log. Counted from its making on: one that is closed unread has left as well."""

    def __init__(self, running: RunningTurn, attendance: Attendance) -> None:
        self._running, self._attendance, self._events = running, attendance, running.log.read()
        self._has_left = False
        running.readers += 1

    async def asend(self, value: None) -> Sequence[Event]:
        return await self._events.asend(value)

    async def athrow(self, *error: Any) -> Sequence[Event]:
        return await self._events.athrow(*error)

    async def aclose(self) -> None:
        if not self._has_left:
            self._has_left = True
            await self._events.aclose()
            self._attendance.left(self._running)
