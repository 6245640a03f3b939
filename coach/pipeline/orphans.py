"""Turns of dead servers, closed by every worker that lives.

No job of the queue: what a killed process holds there is taken up after half a minute, and a job that is due a second
before a turn counts as orphaned leaves it to the next minute's. Looking is one short read of the running turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import structlog

from coach.chat.orphans import OrphanedTurn, close_orphans
from coach.database.pool import Database
from coach.errors import DatabaseUnavailable
from coach.values.clock import utc_now

_log = structlog.get_logger(__name__)

EVERY = 5.0
"""Seconds between two looks: a turn is closed at most so long after its heartbeat is missed (``ORPHANED_AFTER``)."""


class OrphanCloser:
    """A part of the worker. ``db`` may become the operator."""

    def __init__(self, db: Database, *, clock: Callable[[], datetime] = utc_now, every: float = EVERY) -> None:
        self._db, self._clock, self._every = db, clock, every
        self._stopping = asyncio.Event()
        self._refused: set[OrphanedTurn] = set()

    async def run(self) -> None:
        """Look again and again, until ``stop``."""
        while not self._stopping.is_set():
            await self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._stopping.wait()

    def stop(self) -> None:
        self._stopping.set()

    async def _look(self) -> None:
        try:
            # What cannot be closed is left to the job of the minute, which is held in sight if it fails as well.
            self._refused.update((await close_orphans(self._db, self._clock(), but=self._refused)).failed)
        except DatabaseUnavailable as error:
            _log.warning("orphans_wait_for_database", detail=str(error))
