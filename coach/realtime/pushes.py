"""Pushes to all open sockets of a user, on all server processes.

A push is a row, kept for minutes, and a notification that only names the user. A process that has a socket of that user
reads the row, under the user's row level security. A poll serves processes that cannot listen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import structlog
from msgspec import Struct
from psycopg.types.json import Jsonb

from coach.chat.events import Quota
from coach.chat.quota import warning
from coach.database.listening import Listener
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import CoachError
from coach.realtime.hub import Hub
from coach.values.background import BackgroundTasks, beside

_sql = load("realtime")
_log = structlog.get_logger(__name__)

CHANNEL = "coach_push"
POLL = 5.0
"""Seconds between two looks of a process that was not notified."""

OVERLAP = timedelta(seconds=30)
"""How far back each poll looks: a row's time is earlier than its commit."""

KEPT = timedelta(minutes=5)
NOBODY = ""
"""The origin of a push that no server process has sent to its own sockets."""

Frame = Mapping[str, Any]


class _Push(Struct, frozen=True):
    """One row of the query ``pushes_since``."""

    user_id: UUID
    id: UUID
    frame: dict[str, Any]
    created_at: datetime


async def store_pushes(tx: Transaction, user_id: UUID, frames: Iterable[Frame], origin: str = NOBODY) -> None:
    """Store frames in the transaction that they report. Call ``announce`` after it has committed."""
    for frame in frames:
        await _sql.store_push.run(tx, user_id=user_id, origin=origin, frame=Jsonb(dict(frame)))


async def notify_pushes(tx: Transaction, user_ids: Iterable[UUID]) -> None:
    """Notify every process of these users' pushes when ``tx`` commits. Use a short transaction: commits that notify
    wait for each other in the whole cluster."""
    await _sql.announce_pushes.run(tx, channel=CHANNEL, user_ids=list(user_ids))


async def prune(db: Database, now: datetime) -> None:
    """The job: deletes old pushes and unused tickets."""
    async with db.as_operator() as tx:
        await _sql.prune_pushes.run(tx, before=now - KEPT)
        await _sql.prune_tickets.run(tx, before=now)


class Pushes:
    """Sends pushes; between ``start`` and ``aclose`` brings those of other processes to the sockets of this one."""

    def __init__(self, db: Database, hub: Hub, listen_url: str, clock: Callable[[], datetime]) -> None:
        self._db, self._hub, self._clock = db, hub, clock
        self._origin = uuid4().hex
        self._listener = Listener(listen_url, CHANNEL, name="coach pushes", heard=self._heard, connected=self._poll_all)
        self._due: set[UUID] = set()
        self._called = asyncio.Event()
        self._told: dict[UUID, datetime] = {}
        self._sending = BackgroundTasks("push_lost")
        self._bringing = BackgroundTasks("pushes_not_brought")

    async def push(self, user_id: UUID, frame: Frame) -> None:
        """Push to all open sockets of a user: ``{"type": …}`` and its fields, JSON values only. :raises
        DatabaseUnavailable: sockets of other processes do not get it.
        """
        self._hub.push(user_id, dict(frame))
        async with self._db.as_user(user_id) as tx:
            await store_pushes(tx, user_id, [frame], self._origin)
            await notify_pushes(tx, [user_id])

    def push_soon(self, user_id: UUID, frame: Frame) -> None:
        """Push without waiting. A lost push is only logged."""
        self._sending.start(self.push(user_id, frame), kind=str(frame.get("type")))

    def quota_taken(self, user_id: UUID, quota: Quota) -> None:
        """After a turn: where its unit was the one that reached 80, 95 or 100 percent."""
        if quota.warning is not None and quota.warning != warning(quota.used - 1, quota.limit):
            self.push_soon(
                user_id,
                {
                    "type": "quota",
                    "limit": quota.limit,
                    "used": quota.used,
                    "remaining": quota.remaining,
                    "resets_at": quota.resets_at.isoformat(),
                    "warning": quota.warning,
                },
            )

    def start(self) -> None:
        self._bringing.start(self._run())

    async def _run(self) -> None:
        """The process listens only after the first socket opened here."""
        await self._hub.occupied.wait()
        async with beside(self._listener.run(), "pushes_not_heard"):
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL):
                        await self._called.wait()
                if not self._called.is_set():
                    self._poll_all()
                self._called.clear()
                users, self._due = self._due & self._hub.users, set()
                if users:
                    await self._deliver(users)

    async def aclose(self) -> None:
        """What was to be pushed soon is, within a second or never."""
        await self._sending.aclose(grace=1)
        await self._bringing.aclose()

    async def _deliver(self, users: Collection[UUID]) -> None:
        now = self._clock()
        try:
            rows: list[_Push]
            (rows,) = await self._db.once(
                None,
                _sql.pushes_since.statement(_Push, user_ids=list(users), since=now - OVERLAP, origin=self._origin),
            )
        except (CoachError, psycopg.Error) as error:
            _log.warning("pushes_not_read", error=type(error).__name__)
            return
        for row in rows:
            if row.id not in self._told:
                self._told[row.id] = now
                self._hub.push(row.user_id, row.frame, row.created_at)
        self._told = {push_id: at for push_id, at in self._told.items() if now - at < OVERLAP * 2}

    def _heard(self, payload: str) -> None:
        try:
            user_id = UUID(payload)
        except ValueError:
            return  # any login may notify, so a payload proves nothing; the poll finds real rows
        if user_id in self._hub.users:
            self._due.add(user_id)
            self._called.set()

    def _poll_all(self) -> None:
        self._due |= self._hub.users
        self._called.set()
