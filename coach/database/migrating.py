"""The connection of whoever migrates, and how a file runs in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection, AsyncTransaction, sql

from coach.database.lines import Line
from coach.errors import DatabaseUnavailable, Misconfigured

_LOCK = 0x636F616368  # "coach"

Report = Callable[[Line], None]
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
        # Times of an app that name no zone are UTC, whatever the role's zone is.
        await connection.execute("set statement_timeout = 0; set timezone = 'UTC'")
        try:
            yield connection
        except psycopg.OperationalError as error:
            if not connection.broken:
                raise
            raise DatabaseUnavailable("The database closed the connection; nothing of this run stays.") from error


def _pass_on(notice: psycopg.errors.Diagnostic, report: Report) -> None:
    if notice.severity_nonlocalized == "INFO":
        report(Line(notice.message_primary or "", notice.message_detail))


@asynccontextmanager
async def alone(connection: Connection, report: Report) -> AsyncIterator[AsyncTransaction]:
    """One transaction over everything. Of several that migrate at once, one at a time."""
    async with connection.transaction() as transaction:
        row = await (await connection.execute("select pg_try_advisory_xact_lock(%s)", (_LOCK,))).fetchone()
        if row is None or not row[0]:
            report(Line("Another process is migrating this database; waiting for it."))
            await connection.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
        yield transaction


async def run_file(connection: Connection, path: str, text: str) -> None:
    """:raises Misconfigured: the role may not do it, or the file itself says what only the operator can decide."""
    await connection.execute(await _search_path(connection))
    try:
        await connection.execute(text.encode())
    except psycopg.errors.InsufficientPrivilege as error:
        said = " ".join(filter(None, (error.diag.message_primary, error.diag.message_hint)))
        raise Misconfigured(f"COACH_DATABASE_URL: this role may not do what sql/{path} needs: {said}") from error
    except psycopg.errors.RaiseException as error:
        raise Misconfigured(f"sql/{path}: {error.diag.message_primary}") from error
    except psycopg.Error as error:
        error.add_note(f"in sql/{path}")
        raise


async def _search_path(connection: Connection) -> sql.Composed:
    """``public`` first for what is made, then wherever pgvector lies (on Supabase: ``extensions``)."""
    query = "select extnamespace::regnamespace::text from pg_extension where extname = 'vector'"
    row = await (await connection.execute(query)).fetchone()
    schemas = dict.fromkeys(["public", *(row or ())])
    return sql.SQL("set search_path = {}").format(sql.SQL(", ").join(map(sql.Identifier, schemas)))
