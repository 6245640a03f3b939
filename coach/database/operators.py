"""The worker's and the command line's way into the database: as the operator, past row level security."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg.errors import DeadlockDetected, InsufficientPrivilege, LockNotAvailable

from coach.database.pool import Database, Transaction
from coach.errors import DatabaseBusy, Misconfigured

POOL = 6

LOCK_TIMEOUT = "500ms"
"""How long ``yielding_transaction`` waits for a lock."""


@asynccontextmanager
async def operators_database(url: str) -> AsyncIterator[Database]:
    """Connections of the worker's login, open while inside.

    :raises Misconfigured: that login may not become ``service_role``. :raises DatabaseUnavailable: no answer.
    """
    db = Database(url, max_size=POOL)
    await db.open()
    try:
        try:
            async with db.as_operator():
                pass
        except InsufficientPrivilege:
            raise Misconfigured(
                "COACH_WORKER_DATABASE_URL: this login may not act for all users. Log in as coach_worker, or as a role "
                "that is a member of service_role. Example: postgresql://coach_worker:…@db.internal/postgres"
            ) from None
        yield db
    finally:
        await db.close()


@asynccontextmanager
async def yielding_transaction(db: Database) -> AsyncIterator[Transaction]:
    """An operator's transaction that gives way to users'. PostgreSQL ends a deadlock after a second (deadlock_timeout)
    and may fail either side. This transaction gives up after half a second. So an open transaction delays only the rows
    that it has locked.

    :raises DatabaseBusy: half a second for a lock was not enough; nothing was written.
    """
    async with db.as_operator() as tx:
        try:
            await tx.execute("select set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
            yield tx
        except (LockNotAvailable, DeadlockDetected) as error:
            raise DatabaseBusy from error
