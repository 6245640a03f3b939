"""Bring a database to the state of the files of ``sql/``: migrations in order, then the function files that changed.

All of it is one transaction: a run that fails leaves the database as it was. Each file's sha256 is remembered. What a
file did to tables that were there before arrives as INFO and goes to ``report``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from coach.database.functions import apply_functions
from coach.database.lines import Line
from coach.database.migrating import Connection, Report, alone, connect, run_file
from coach.database.requirements import check_server
from coach.database.schema_files import Schema, SqlFile, read_schema
from coach.errors import Misconfigured
from coach.resources import SQL

APPLIED = """
    select 'migrations/' || name, sha256 from coach.migrations
    union all
    select 'functions/' || name || '.sql', unnest(former || sha256) from coach.functions
"""
"""The paths of all files that were ever applied, each with its sha256. A newer version's function files take the place
of ours, and ours stay in this list: servers of both versions run beside each other during a deployment."""


@dataclass(frozen=True)
class Applied:
    """What this call applied, in order, as paths below ``sql/``; how many files had been applied before; and the tables
    that it made in ``public``."""

    names: tuple[str, ...]
    already: int
    created: tuple[str, ...]

    @property
    def migrations(self) -> int:
        return sum(name.startswith("migrations/") for name in self.names)


@dataclass(frozen=True)
class _Waiting:
    """``gone``: the names of function files that there are no more."""

    migrations: list[SqlFile]
    functions: list[SqlFile]
    gone: list[str]

    @property
    def paths(self) -> tuple[str, ...]:
        files = [file.path for file in (*self.migrations, *self.functions)]
        return (*files, *(f"functions/{name}.sql" for name in self.gone))


async def migrate(
    url: str,
    *,
    report: Report = lambda line: None,
    folder: Path = SQL,
    is_rehearsal: bool = False,
    harden: bool = False,
) -> Applied:
    """Bring the database to the state of the files in ``folder``; a second call changes nothing.

    ``harden`` also revokes what leads past row level security. A rehearsal does all of it and takes it back: what it
    reports, refusals included, is what a run would do. It holds the same locks meanwhile.

    :raises Misconfigured: server or pgvector too old, pgvector missing, a role that row level security would bind, a
        migration that was changed after it had been applied, a database from before the first release, or tables of an
        app that cannot be adopted (all of them, with the remedies). Nothing was changed then, nor after another error.
    :raises DatabaseUnavailable: the server cannot be reached.
    """
    schema = read_schema(folder)
    refused: list[Line] = []

    def hear(line: Line) -> None:
        report(line)
        if line.kind == "refused":
            refused.append(line)

    async with connect(url, hear) as connection:
        await check_server(connection)
        async with alone(connection, hear) as transaction:
            before = await _tables(connection)
            waiting = await _waiting(connection, schema)
            try:
                await _apply(connection, schema, waiting)
                await _finish(connection, harden=harden)
            except psycopg.Error as error:
                # What was refused is the reason, and the error may be its consequence.
                if not refused:
                    raise
                raise _refusal(refused) from error
            applied = Applied(
                waiting.paths, len(schema.named) - len(waiting.paths), tuple(sorted(await _tables(connection) - before))
            )
            if is_rehearsal:
                raise psycopg.Rollback(transaction)
            if refused:
                raise _refusal(refused)
    return applied


def _refusal(refused: Sequence[Line]) -> Misconfigured:
    reasons = "\n".join(dict.fromkeys(f"- {line}" for line in refused))
    return Misconfigured(f"This database cannot be adopted as it is, and nothing was changed:\n{reasons}")


async def _finish(connection: Connection, *, harden: bool) -> None:
    """What is done at the end of each run, by functions that the files themselves have made."""
    for function in ("resume_triggers", *(["harden"] if harden else []), "warn_of_exposure"):
        found = await (await connection.execute("select to_regproc(%s)", (f"coach.{function}",))).fetchone()
        if found and found[0]:
            await connection.execute(f"select coach.{function}()".encode())


async def _tables(connection: Connection) -> set[str]:
    found = await connection.execute("select tablename::text from pg_tables where schemaname = 'public'")
    return {name for (name,) in await found.fetchall()}


async def pending(url: str, *, folder: Path = SQL) -> tuple[str, ...]:
    """The paths of what ``migrate`` would apply; also for the server's own login, which may not migrate."""
    async with connect(url) as connection:
        return (await _waiting(connection, read_schema(folder))).paths


async def lacking(url: str) -> set[str]:
    """The paths of our files that were never applied to this database: a server cannot run on it.

    :raises Misconfigured: as ``migrate`` does for a migration that was changed.
    """
    schema = read_schema(SQL)
    async with connect(url) as connection:
        waiting = await _waiting(connection, schema)
        if len(waiting.migrations) == len(schema.migrations):
            return set(waiting.paths)
        return schema.lacking(await (await connection.execute(APPLIED)).fetchall())


async def _waiting(connection: Connection, schema: Schema) -> _Waiting:
    migrations, functions = await _recorded(connection)
    for migration in schema.migrations:
        if migrations.get(migration.name, migration.sha256) != migration.sha256:
            raise Misconfigured(
                f"Migration {migration.name} was changed after it had been applied to this database. Restore the file "
                "as it was and put the change into a new one; or, where nothing in this database is worth keeping, "
                "make it anew (the embedded one: delete COACH_HOME)."
            )
    names = {file.name for file in schema.functions}
    return _Waiting(
        [migration for migration in schema.migrations if migration.name not in migrations],
        [file for file in schema.functions if functions.get(file.name) != file.sha256],
        [name for name, sha256 in functions.items() if sha256 and name not in names],
    )


async def _recorded(connection: Connection) -> tuple[dict[str, str], dict[str, str]]:
    """The sha256 of the applied migrations, and of the function files, by name."""
    found = await connection.execute("select to_regclass('coach.migrations'), to_regclass('coach.functions')")
    match await found.fetchone():
        case (None, _):
            return {}, {}
        case (_, None):
            raise Misconfigured(
                "This database was made before the first release, and no migration leads on from there. Let the "
                "version that made it export what is worth keeping, then make the database anew (the embedded one: "
                "delete COACH_HOME)."
            )
    migrations = await (await connection.execute("select name, sha256 from coach.migrations")).fetchall()
    functions = await (await connection.execute("select name, sha256 from coach.functions")).fetchall()
    return dict(migrations), dict(functions)


async def _apply(connection: Connection, schema: Schema, waiting: _Waiting) -> None:
    if not waiting.paths:
        return
    await connection.execute("""
        create schema if not exists coach;
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
    functions = waiting.functions
    for migration in waiting.migrations:
        wanted = schema.beneath(migration)
        if first := [file for file in functions if file.name in wanted]:
            await apply_functions(connection, first, ())
            functions = [file for file in functions if file not in first]
        for file in (*schema.before(migration), migration):
            await run_file(connection, file.path, file.text)
        record = "insert into coach.migrations (name, sha256) values (%s, %s)"
        await connection.execute(record, (migration.name, migration.sha256))
    await apply_functions(connection, functions, waiting.gone)
