"""Migrations: plain files in order, each in one transaction, each with its sha256 remembered.

A session advisory lock lets one process migrate while others wait behind it; it dies with its connection, so a killed
holder blocks nobody. What a file did to tables that were there before arrives as INFO and goes to ``report``.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql

from coach.errors import DatabaseUnavailable, Misconfigured
from coach.resources import SQL

OLDEST_SERVER = 15
OLDEST_PGVECTOR = (0, 8)

NO_TRANSACTION = "-- coach:no-transaction"
"""First line of a file whose (single) statement refuses to run in a transaction."""

_LOCK = 0x636F616368  # "coach"

Report = Callable[[str], None]
Connection = AsyncConnection[tuple[Any, ...]]


@dataclass(frozen=True)
class Migration:
    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def in_transaction(self) -> bool:
        return self.text.split("\n", 1)[0].strip() != NO_TRANSACTION


@dataclass(frozen=True)
class Applied:
    """The names that this call applied, in order, and how many were there before."""

    names: tuple[str, ...]
    already: int


async def migrate(url: str, *, report: Report = lambda line: None, folder: Path = SQL / "migrations") -> Applied:
    """Bring the database to the state of the files in ``folder``; a second call changes nothing.

    :raises Misconfigured: server or pgvector too old, pgvector missing, a role that row level security would bind, or
        a file that was changed after it had been applied. Nothing was changed then.
    :raises DatabaseUnavailable: the server cannot be reached.
    """
    async with _connect(url, report) as connection:
        await _check_server(connection)
        async with _alone(connection, report):
            await _prepare(connection)
            done = await _recorded(connection)
            todo = _outstanding(migrations(folder), done)
            for migration in todo:
                await _apply(connection, migration)
            return Applied(tuple(migration.name for migration in todo), len(done))


async def pending(url: str, *, folder: Path = SQL / "migrations") -> tuple[str, ...]:
    """The names that ``migrate`` would apply; also for the server's own login, which may not migrate."""
    async with _connect(url) as connection:
        known = await (await connection.execute("select to_regclass('coach.migrations') is not null")).fetchone()
        done = await _recorded(connection) if known and known[0] else {}
        return tuple(migration.name for migration in _outstanding(migrations(folder), done))


def migrations(folder: Path) -> list[Migration]:
    return [Migration(file.name, file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.sql"))]


def _outstanding(files: list[Migration], done: dict[str, str]) -> list[Migration]:
    for migration in files:
        if migration.name in done and done[migration.name] != migration.sha256:
            raise Misconfigured(
                f"Migration {migration.name} was changed after it had been applied to this database. Restore the file "
                "as it was and put the change into a new one; or, where nothing in this database is worth keeping, "
                "make it anew (the embedded one: delete COACH_HOME)."
            )
    return [migration for migration in files if migration.name not in done]


@asynccontextmanager
async def _connect(url: str, report: Report = lambda line: None) -> AsyncIterator[Connection]:
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


async def _check_server(connection: Connection) -> None:
    version = connection.info.server_version // 10_000
    if version < OLDEST_SERVER:
        raise Misconfigured(
            f"COACH_DATABASE_URL: this is PostgreSQL {version}; {OLDEST_SERVER} or newer is needed "
            "(or leave the variable out for the embedded one)."
        )
    await _check_role(connection, version)
    await _check_pgvector(connection)


async def _check_role(connection: Connection, version: int) -> None:
    query = "select rolname, rolsuper, rolbypassrls from pg_roles where rolname = current_user"
    row = await (await connection.execute(query)).fetchone()
    assert row is not None  # every session has a current user
    name, superuser, bypasses = row
    if superuser or (bypasses and version >= 16):
        return
    wanted = "a superuser" if version < 16 else "a superuser or a role with bypassrls"
    raise Misconfigured(
        f"COACH_DATABASE_URL: migrations must run as {wanted}, or row level security would hide rows from them; "
        f"{name} is neither. Example: postgresql://postgres:…@host/database"
    )


async def _check_pgvector(connection: Connection) -> None:
    query = """
        select coalesce(installed_version, default_version), installed_version is not null
        from pg_available_extensions
        where name = 'vector'
    """
    row = await (await connection.execute(query)).fetchone()
    wanted = ".".join(map(str, OLDEST_PGVECTOR))
    if row is None:
        raise Misconfigured(
            f"COACH_DATABASE_URL: this server lacks the extension pgvector (vector); install {wanted} or newer."
        )
    version, installed = row
    if tuple(int(part) for part in str(version).split(".")[:2]) < OLDEST_PGVECTOR:
        remedy = "`alter extension vector update` after installing it" if installed else "install it"
        raise Misconfigured(f"COACH_DATABASE_URL: pgvector is {version}; {wanted} or newer is needed ({remedy}).")


@asynccontextmanager
async def _alone(connection: Connection, report: Report) -> AsyncIterator[None]:
    """Of several that migrate at once, one at a time."""
    row = await (await connection.execute("select pg_try_advisory_lock(%s)", (_LOCK,))).fetchone()
    if row is None or not row[0]:
        report("Another process is migrating this database; waiting for it.")
        await connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
    yield
    # After an error the closing connection does it; but that takes the server a moment, and whoever comes next would be
    # told of a migration that is over.
    await connection.execute("select pg_advisory_unlock(%s)", (_LOCK,))


async def _prepare(connection: Connection) -> None:
    await connection.execute("create schema if not exists coach")
    await connection.execute("""
        create table if not exists coach.migrations (
            name text primary key,
            sha256 text not null,
            applied_at timestamptz not null default now()
        )
    """)


async def _recorded(connection: Connection) -> dict[str, str]:
    rows = await (await connection.execute("select name, sha256 from coach.migrations")).fetchall()
    return dict(rows)


async def _apply(connection: Connection, migration: Migration) -> None:
    if migration.in_transaction:
        async with connection.transaction():
            await _run(connection, migration)
    else:
        await _run(connection, migration)


async def _run(connection: Connection, migration: Migration) -> None:
    await connection.execute(await _search_path(connection))
    try:
        await connection.execute(migration.text.encode())
    except psycopg.errors.InsufficientPrivilege as error:
        said = " ".join(filter(None, (error.diag.message_primary, error.diag.message_hint)))
        raise Misconfigured(
            f"COACH_DATABASE_URL: this role may not do what migration {migration.name} needs: {said}"
        ) from error
    except psycopg.errors.RaiseException as error:
        # Said by the file itself: something in this database that only its operator can decide.
        raise Misconfigured(f"Migration {migration.name}: {error.diag.message_primary}") from error
    except psycopg.Error as error:
        error.add_note(f"in sql/migrations/{migration.name}")
        raise
    await connection.execute(
        "insert into coach.migrations (name, sha256) values (%s, %s)", (migration.name, migration.sha256)
    )


async def _search_path(connection: Connection) -> sql.Composed:
    """``public`` first for what is made, then wherever pgvector lies (on Supabase: ``extensions``)."""
    query = (
        "select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where extname = 'vector'"
    )
    row = await (await connection.execute(query)).fetchone()
    schemas = ["public"] if row is None or row[0] == "public" else ["public", str(row[0])]
    return sql.SQL("set search_path = {}").format(sql.SQL(", ").join(map(sql.Identifier, schemas)))
