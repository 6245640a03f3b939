"""pgqueuer over our own pool: its statements, our transactions.

Its own drivers hold one connection: with the login's own role, for ever, and dead once the database restarts. Here each
statement is a transaction of the operator's, so a transaction pooler may stand between and a lost connection costs one
statement. It does not listen: the runner polls every few seconds.
"""

from __future__ import annotations

import asyncio
from typing import Any, Self

from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.tm import TaskManager
from pgqueuer.domain.settings import DBSettings
from pgqueuer.ports.driver import Driver, NotifyCallback
from psycopg import AsyncRawCursor
from psycopg.rows import dict_row

from coach.database.pool import Database

SCHEMA = "coach_jobs"


class PooledDriver(Driver):
    """What pgqueuer asks of a database. A notification reaches the process that sends it and no other."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._shutdown = asyncio.Event()
        self._tasks = TaskManager()
        self._listeners: dict[str, list[NotifyCallback]] = {}

    @property
    def shutdown(self) -> asyncio.Event:
        return self._shutdown

    @property
    def tm(self) -> TaskManager:
        return self._tasks

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        async with self._db.as_operator() as tx:
            cursor: AsyncRawCursor[dict[str, Any]] = AsyncRawCursor(tx, row_factory=dict_row)
            await cursor.execute(query.encode(), args or None)
            return await cursor.fetchall()

    async def execute(self, query: str, *args: object) -> str:
        async with self._db.as_operator() as tx:
            cursor = AsyncRawCursor(tx)
            await cursor.execute(query.encode(), args or None)
            return cursor.statusmessage or ""

    async def notify(self, channel: str, payload: str) -> None:
        for callback in self._listeners.get(channel, []):
            callback(payload)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        self._listeners.setdefault(channel, []).append(callback)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listeners.clear()


def queries(db: Database) -> Queries:
    """pgqueuer's statements, on our tables."""
    # Not by its constructor: whatever the environment holds, ``QUEUE_TABLE`` and the like, would change the names.
    names = DBSettings.model_construct(db_schema=SCHEMA)
    return Queries(
        PooledDriver(db),
        qbe=QueryBuilderEnvironment(names),
        qbq=QueryQueueBuilder(names),
        qbs=QuerySchedulerBuilder(names),
    )
