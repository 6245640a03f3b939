"""Bring a database to the state of the files of ``sql/``: migrations in order, then the function files that changed.

All of it is one transaction: a run that fails leaves the database as it was. Each file's sha256 is remembered. What a
file did to tables that were there before arrives as INFO and goes to ``report``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from coach.database.functions import apply_functions
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
    """What this call applied, in order, as paths below ``sql/``; and how many files had been applied before."""

    names: tuple[str, ...]
    already: int

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


async def migrate(url: str, *, report: Report = lambda line: None, folder: Path = SQL) -> Applied:
    """Bring the database to the state of the files in ``folder``; a second call changes nothing.

    :raises Misconfigured: server or pgvector too old, pgvector missing, a role that row level security would bind, a
        migration that was changed after it had been applied, or a database from before the first release. Nothing was
        changed then, nor after any other error.
    :raises DatabaseUnavailable: the server cannot be reached.
    """
    schema = read_schema(folder)
    async with connect(url, report) as connection:
        await check_server(connection)
        async with alone(connection, report):
            waiting = await _waiting(connection, schema)
            if waiting.paths:
                await _apply(connection, schema, waiting)
            return Applied(waiting.paths, len(schema.named) - len(waiting.paths))


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
        await run_file(connection, migration.path, migration.text)
        record = "insert into coach.migrations (name, sha256) values (%s, %s)"
        await connection.execute(record, (migration.name, migration.sha256))
    await apply_functions(connection, functions, waiting.gone)
