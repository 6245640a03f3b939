"""A connection that listens: notifications of one channel, for as long as it is asked to, whatever breaks between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import psycopg
import structlog
from psycopg import AsyncConnection, sql

_log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
QUIET = 60.0
"""Seconds of silence after which the listener asks whether its connection still lives."""


class Listener:
    """Hears ``channel`` while ``run`` runs. ``url`` has to lead past any transaction pooler.

    ``heard`` gets each payload. ``connected`` is called whenever it begins to listen: what was announced before went
    unheard. Neither may block.
    """

    def __init__(
        self, url: str, channel: str, *, name: str, heard: Callable[[str], None], connected: Callable[[], None]
    ) -> None:
        self._url, self._channel, self._name = url, channel, name
        self._heard, self._connected = heard, connected
        self._complained = False

    async def run(self) -> None:
        """Listen until cancelled; a lost connection is made again, at growing intervals."""
        pause = FIRST_PAUSE
        while True:
            try:
                async with await self._connect() as connection:
                    pause = FIRST_PAUSE
                    await self._hear(connection)
            except psycopg.Error as error:
                self._complain(error)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads reconnections, guards nothing
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _connect(self) -> AsyncConnection[tuple[object, ...]]:
        connection = await AsyncConnection.connect(
            self._url, autocommit=True, prepare_threshold=None, connect_timeout=10, application_name=self._name
        )
        await connection.execute(sql.SQL("listen {}").format(sql.Identifier(self._channel)))
        if self._complained:
            _log.info("listener_reconnected", channel=self._channel)
            self._complained = False
        self._connected()
        return connection

    async def _hear(self, connection: AsyncConnection[tuple[object, ...]]) -> None:
        while True:
            async for notification in connection.notifies(timeout=QUIET):
                self._heard(notification.payload)
            await connection.execute("select")

    def _complain(self, error: psycopg.Error) -> None:
        """Log only the first error of an outage: the poll goes on, and other parts report the outage."""
        if not self._complained:
            self._complained = True
            _log.warning("listener_disconnected", channel=self._channel, error=type(error).__name__)
