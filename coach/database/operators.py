"""The worker's and the command line's way into the database: as the operator, past row level security."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg.errors import InsufficientPrivilege

from coach.database.pool import Database
from coach.errors import Misconfigured

POOL = 6


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
