"""Notifications of work: an idle worker looks at once instead of at its next poll.

Only ever a matter of speed. Where no notification arrives – a transaction pooler, a listener that lost its connection,
rows written by another application – the poll behind it finds the same work.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from coach.database.listening import Listener
from coach.database.pool import Transaction

CHANNEL = "coach_work"
POLL = 1.5
"""Seconds between two looks at the queue: of the two that an edit may take to be found, the worker gets the rest."""


async def notify_work(tx: Transaction) -> None:
    """Notify every worker when ``tx`` commits.

    Called by the application and never by a trigger: commits that notify wait for each other in the whole cluster.
    Without a payload, so that many calls of one transaction are one notification.
    """
    await tx.execute("select pg_notify(%s, '')", (CHANNEL,))


class WorkListener(Listener):
    """Hears ``notify_work`` while ``run`` runs. ``url`` has to lead past any transaction pooler."""

    def __init__(self, url: str) -> None:
        super().__init__(url, CHANNEL, name="coach listener", heard=lambda _: self.wake(), connected=self.wake)
        self._announced = asyncio.Event()

    async def wait_for_work(self, timeout: float = POLL) -> None:
        """Until work was announced since the last call, but never longer than ``timeout`` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._announced.wait()
        self._announced.clear()

    def wake(self) -> None:
        """End a wait from inside this process."""
        self._announced.set()
