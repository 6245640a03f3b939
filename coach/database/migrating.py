"""The connection of whoever migrates, and the lock that lets one of them work at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection

from coach.errors import DatabaseUnavailable

_LOCK = 0x636F616368  # "coach"

Report = Callable[[str], None]
Connection = AsyncConnection[tuple[Any, ...]]


@asynccontextmanager
async def connect(url: str, report: Report = lambda line: None) -> AsyncIterator[Connection]:
    try:
        connection: Connection = await AsyncConnection.connect(
            url, autocommit=True, prepare_threshold=None, connect_timeout=10
        )
    except psycopg.OperationalError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatabaseUnavailable(f"The database cannot be reached: {reason}") from error
    async with connection:
        connection.add_notice_handler(lambda notice: _pass_on(notice, report))
        # A role's time limit for queries (Supabase: two minutes) would end a migration, or the wait for another's.
        await connection.execute("set statement_timeout = 0")
        try:
            yield connection
        except psycopg.OperationalError as error:
            if not connection.broken:
                raise
            raise DatabaseUnavailable("The database closed the connection; nothing of the last file stays.") from error


def _pass_on(notice: psycopg.errors.Diagnostic, report: Report) -> None:
    if notice.severity_nonlocalized == "INFO" and notice.message_primary:
        report(notice.message_primary)


@asynccontextmanager
async def alone(connection: Connection, report: Report) -> AsyncIterator[None]:
    """Of several that migrate at once, one at a time."""
    row = await (await connection.execute("select pg_try_advisory_lock(%s)", (_LOCK,))).fetchone()
    if row is None or not row[0]:
        report("Another process is migrating this database; waiting for it.")
        await connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
    yield
    # After an error the lock would end with the connection. That takes the server a moment, and the next caller would
    # hear of a migration that is over.
    await connection.execute("select pg_advisory_unlock(%s)", (_LOCK,))
