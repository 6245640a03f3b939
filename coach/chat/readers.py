"""Turns that run while they have a reader. When the last reader leaves before the end, the turn is stopped."""

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

_sql = load("readers")

ABANDONED_AFTER = 0.75
"""Seconds. The stock SDKs try again 0.38 to 0.5 s after a lost connection, and then find the turn still running."""

REMOTE_READER_FOR = timedelta(seconds=1.5)
"""A reader on another server process looks every quarter of a second."""


class TurnReaders:
    """Knows whether a turn still has a reader, in this process or another."""

    def __init__(self, db: Database, clock: Callable[[], datetime], tasks: BackgroundTasks) -> None:
        self._db, self._clock, self._tasks = db, clock, tasks

    def reader(self, running: RunningTurn) -> AsyncGenerator[Sequence[Event], None]:
        """A caller's turn runs while it has a reader. All other turns belong to the server."""
        return running.log.read() if running.request.caller is None else CountedReader(running, self)

    async def follow(self, user_id: UUID, answer_id: UUID) -> None:
        """Note in the checkpoint that the turn has a reader here. The process that runs it looks there."""
        async with self._db.as_user(user_id) as tx:
            await _sql.follow.run(tx, user_id=user_id, message_id=answer_id, now=self._clock())

    def reader_left(self, running: RunningTurn) -> None:
        """A reader of this process has gone."""
        running.readers -= 1
        if not (running.readers or running.log.ended):
            self._tasks.start(self._abandon(running))

    async def _abandon(self, running: RunningTurn) -> None:
        """Stop the turn, unless a reader returns, here or in another process."""
        await asyncio.sleep(ABANDONED_AFTER)
        while not (running.readers or running.log.ended):
            if not await self._has_remote_reader(running):
                running.stop("disconnected")
                return
            await asyncio.sleep(ABANDONED_AFTER)

    async def _has_remote_reader(self, running: RunningTurn) -> bool:
        turn = running.turn
        try:
            async with self._db.as_user(turn.user_id) as tx:
                last = await _sql.remote_reader_at.value(tx, user_id=turn.user_id, message_id=turn.answer_id)
        except DatabaseUnavailable:
            return False  # readers in other processes cannot read it either
        return last is not None and self._clock() - last < REMOTE_READER_FOR


class CountedReader(AsyncGenerator[Sequence[Event], None]):
    """Reads a running turn's log. It counts as a reader from its creation until it is closed, even if it was never
    read."""

    def __init__(self, running: RunningTurn, readers: TurnReaders) -> None:
        self._running, self._attendance, self._events = running, readers, running.log.read()
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
            self._attendance.reader_left(self._running)
