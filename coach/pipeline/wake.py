"""Wake-ups: who queued something says so, and an idle worker looks at once instead of at its next poll.

Only ever a matter of speed. Where no notification arrives – a transaction pooler, a listener that lost its connection,
rows written by another application – the poll behind it finds the same work.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import psycopg
import structlog
from psycopg import AsyncConnection, sql

from coach.database.pool import Transaction

_log = structlog.get_logger(__name__)

CHANNEL = "coach_work"
POLL = 1.5
"""Seconds between two looks at the queue: of the two that an edit may take to be found, the worker gets the rest."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
QUIET = 60.0
"""Seconds of silence after which the listener asks whether its connection still lives."""


async def notify_work(tx: Transaction) -> None:
    """Tell every worker that something waits, when ``tx`` commits.

    Called by the application and never by a trigger: commits that notify wait for each other in the whole cluster.
    Without a payload, so that many calls of one transaction are one notification.
    """
    await tx.execute("select pg_notify(%s, '')", (CHANNEL,))


class Wake:
    """Hears ``notify_work`` while ``run`` runs. ``url`` has to lead past any transaction pooler."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._announced = asyncio.Event()
        self._complained = False

    async def wait_for_work(self, timeout: float = POLL) -> None:
        """Until work was announced since the last call, but never longer than ``timeout`` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._announced.wait()
        self._announced.clear()

    def nudge(self) -> None:
        """End a wait from inside this process."""
        self._announced.set()

    async def run(self) -> None:
        """Listen until cancelled; a lost connection is made again, at growing intervals."""
        pause = FIRST_PAUSE
        while True:
            try:
                async with await self._connected() as connection:
                    pause = FIRST_PAUSE
                    await self._hear(connection)
            except psycopg.Error as error:
                self._complain(error)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads reconnections, guards nothing
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _connected(self) -> AsyncConnection[tuple[object, ...]]:
        connection = await AsyncConnection.connect(
            self._url, autocommit=True, prepare_threshold=None, connect_timeout=10, application_name="coach listener"
        )
        await connection.execute(sql.SQL("listen {}").format(sql.Identifier(CHANNEL)))
        if self._complained:
            _log.info("listening_again")
            self._complained = False
        # Whatever was announced before this moment went unheard.
        self.nudge()
        return connection

    async def _hear(self, connection: AsyncConnection[tuple[object, ...]]) -> None:
        while True:
            async for _ in connection.notifies(timeout=QUIET):
                self.nudge()
            await connection.execute("select")

    def _complain(self, error: psycopg.Error) -> None:
        """Once for each time that it goes deaf: the poll goes on, and an outage has louder witnesses."""
        if not self._complained:
            self._complained = True
            _log.warning("listening_stopped", error=type(error).__name__, poll_seconds=POLL)
