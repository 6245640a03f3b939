"""Bring a database to the state of the files of ``sql/``: migrations in order, then the function files that changed.

Each migration is one transaction, all function files together another; each file's sha256 is remembered. A session
advisory lock lets one process migrate while others wait behind it; it dies with its connection, so a killed holder
blocks nobody. What a file did to tables that were there before arrives as INFO and goes to ``report``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg
from psycopg import sql

from coach.database.functions import Recorded, apply_functions, recorded_functions
from coach.database.migrating import Connection, Report, alone, connect
from coach.database.requirements import check_server
from coach.database.schema_files import FunctionFile, Migration, Schema, read_schema
from coach.errors import Misconfigured
from coach.resources import SQL


@dataclass(frozen=True)
class Applied:
    """What this call applied, in order, as paths below ``sql/``; and how many files had been applied before."""

    names: tuple[str, ...]
    already: int

    @property
    def migrations(self) -> int:
        return sum(name.startswith("migrations/") for name in self.names)


@dataclass(frozen=True)
class _State:
    """What of the files has been applied to a database."""

    migrations: dict[str, str]
    functions: dict[str, Recorded]


async def migrate(url: str, *, report: Report = lambda line: None, folder: Path = SQL) -> Applied:
    """Bring the database to the state of the files in ``folder``; a second call changes nothing.

    :raises Misconfigured: server or pgvector too old, pgvector missing, a role that row level security would bind, a
        migration that was changed after it had been applied, or a database from before the first release. Nothing was
        changed then.
    :raises DatabaseUnavailable: the server cannot be reached.
    """
    schema = read_schema(folder)
    async with connect(url, report) as connection:
        await check_server(connection)
        async with alone(connection, report):
            await _refuse_older(connection)
            await _prepare(connection)
            state = await _state(connection)
            waiting = _waiting(schema, state)
            for migration in waiting.migrations:
                await _apply_functions(connection, schema, migration.after)
                await _apply(connection, migration)
            await _apply_functions(connection, schema, [file.name for file in schema.functions])
            return Applied(waiting.paths, len(schema.named) - len(waiting.paths))


async def pending(url: str, *, folder: Path = SQL) -> tuple[str, ...]:
    """The paths of what ``migrate`` would apply; also for the server's own login, which may not migrate."""
    schema = read_schema(folder)
    async with connect(url) as connection:
        await _refuse_older(connection)
        return _waiting(schema, await _state(connection)).paths


async def lacking(url: str) -> set[str]:
    """The paths of our files that were never applied to this database: a server cannot run on it.

    :raises Misconfigured: as ``migrate`` does for a migration that was changed.
    """
    schema = read_schema(SQL)
    async with connect(url) as connection:
        await _refuse_older(connection)
        state = await _state(connection)
        _waiting(schema, state)
        applied = await (await connection.execute(APPLIED)).fetchall() if state.migrations else []
    return schema.lacking(applied)


APPLIED = """
    select 'migrations/' || name, sha256 from coach.migrations
    union all
    select 'functions/' || name || '.sql', unnest(former || sha256) from coach.functions
"""
"""The paths of all files that were ever applied, each with its sha256. A newer version's function files take the place
of ours, and ours stay in this list: servers of both versions run beside each other during a deployment."""


@dataclass(frozen=True)
class _Waiting:
    migrations: list[Migration]
    functions: list[FunctionFile]
    gone: list[str]

    @property
    def paths(self) -> tuple[str, ...]:
        return (
            *(migration.path for migration in self.migrations),
            *(file.path for file in self.functions),
            *(f"functions/{name}.sql" for name in self.gone),
        )


def _waiting(schema: Schema, state: _State) -> _Waiting:
    for migration in schema.migrations:
        if state.migrations.get(migration.name, migration.sha256) != migration.sha256:
            raise Misconfigured(
                f"Migration {migration.name} was changed after it had been applied to this database. Restore the file "
                "as it was and put the change into a new one; or, where nothing in this database is worth keeping, "
                "make it anew (the embedded one: delete COACH_HOME)."
            )
    known = {name: recorded.sha256 for name, recorded in state.functions.items()}
    names = {file.name for file in schema.functions}
    return _Waiting(
        [migration for migration in schema.migrations if migration.name not in state.migrations],
        [file for file in schema.functions if known.get(file.name) != file.sha256],
        [name for name, sha256 in known.items() if sha256 and name not in names],
    )


async def _apply_functions(connection: Connection, schema: Schema, names: Sequence[str]) -> None:
    """Those that changed of the function files ``names`` and of what they stand on."""
    waiting = _waiting(schema, await _state(connection))
    wanted = schema.beneath(names)
    files = [file for file in waiting.functions if file.name in wanted]
    gone = waiting.gone if len(wanted) == len(schema.functions) else []
    if files or gone:
        await apply_functions(connection, files, gone, partial(_run, connection))


async def _refuse_older(connection: Connection) -> None:
    row = await (
        await connection.execute("select to_regclass('coach.migrations'), to_regclass('coach.functions')")
    ).fetchone()
    if row and row[0] and not row[1]:
        raise Misconfigured(
            "This database was made before the first release, and no migration leads on from there. Let the version "
            "that made it export what is worth keeping, then make the database anew (the embedded one: delete "
            "COACH_HOME)."
        )


async def _prepare(connection: Connection) -> None:
    await connection.execute("create schema if not exists coach")
    await connection.execute("""
        create table if not exists coach.migrations (
            name text primary key,
            sha256 text not null,
            applied_at timestamptz not null default now()
        );
        create table if not exists coach.functions (
            name text primary key,
            sha256 text not null,
            former text[] not null default '{}',
            made text[] not null,
            applied_at timestamptz not null default now()
        )
    """)


async def _state(connection: Connection) -> _State:
    row = await (await connection.execute("select to_regclass('coach.migrations')")).fetchone()
    if row is None or row[0] is None:
        return _State({}, {})
    rows = await (await connection.execute("select name, sha256 from coach.migrations")).fetchall()
    return _State(dict(rows), await recorded_functions(connection))


async def _apply(connection: Connection, migration: Migration) -> None:
    if not migration.in_transaction:
        await _run_migration(connection, migration)
        return
    async with connection.transaction():
        await _run_migration(connection, migration)


async def _run_migration(connection: Connection, migration: Migration) -> None:
    await _run(connection, migration.path, migration.text)
    await connection.execute(
        "insert into coach.migrations (name, sha256) values (%s, %s)", (migration.name, migration.sha256)
    )


async def _run(connection: Connection, path: str, text: str) -> None:
    await connection.execute(await _search_path(connection))
    try:
        await connection.execute(text.encode())
    except psycopg.errors.InsufficientPrivilege as error:
        said = " ".join(filter(None, (error.diag.message_primary, error.diag.message_hint)))
        raise Misconfigured(f"COACH_DATABASE_URL: this role may not do what sql/{path} needs: {said}") from error
    except psycopg.errors.RaiseException as error:
        # Raised by the migration itself: only the operator can decide this.
        raise Misconfigured(f"sql/{path}: {error.diag.message_primary}") from error
    except psycopg.Error as error:
        error.add_note(f"in sql/{path}")
        raise


async def _search_path(connection: Connection) -> sql.Composed:
    """``public`` first for what is made, then wherever pgvector lies (on Supabase: ``extensions``)."""
    query = (
        "select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where extname = 'vector'"
    )
    row = await (await connection.execute(query)).fetchone()
    schemas = ["public"] if row is None or row[0] == "public" else ["public", str(row[0])]
    return sql.SQL("set search_path = {}").format(sql.SQL(", ").join(map(sql.Identifier, schemas)))
