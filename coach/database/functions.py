"""Function files: what a former version of a file made is dropped, and what the file says is made anew.

So a function may change its signature, and what a file no longer makes is gone. What others have built on it (an app's
views, a migration's triggers) is set aside and put back (``sql/functions/dependents.sql``). All in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection

from coach.database.schema_files import FunctionFile
from coach.errors import Misconfigured

Connection = AsyncConnection[tuple[Any, ...]]
Run = Callable[[str, str], Any]
"""Runs one file, of a path and with a text."""

_OBJECTS = """
    select catalog::oid, object, format('%s %s', type, identity)
    from (
        select 'pg_proc'::regclass as catalog, oid as object, pronamespace as schema from pg_proc
        union all
        select 'pg_class'::regclass, oid, relnamespace from pg_class where relkind = 'v'
        union all
        select 'pg_type'::regclass, t.oid, typnamespace
        from pg_type t
        join pg_class c on c.oid = typrelid
        where relkind = 'c'
        union all
        select 'pg_trigger'::regclass, t.oid, relnamespace
        from pg_trigger t
        join pg_class c on c.oid = tgrelid
        where not tgisinternal
    ) made
    cross join lateral pg_identify_object(catalog, object, 0)
    where made.schema in ('public'::regnamespace, 'coach'::regnamespace)
    order by object
"""

_SET_ASIDE = "select coach.set_aside_dependents(%s::oid, %s::oid, null, %s::oid[])"


@dataclass(frozen=True)
class Recorded:
    """What a file was when it was last applied, what it was before that, and what it made, as ``drop`` names it."""

    sha256: str
    former: list[str]
    made: list[str]


@dataclass(frozen=True)
class _Object:
    catalog: int
    oid: int
    name: str


async def recorded_functions(connection: Connection) -> dict[str, Recorded]:
    rows = await (await connection.execute("select name, sha256, former, made from coach.functions")).fetchall()
    return {name: Recorded(sha256, former, made) for name, sha256, former, made in rows}


async def apply_functions(connection: Connection, files: Sequence[FunctionFile], gone: Sequence[str], run: Run) -> None:
    """Apply ``files``, in their order, and drop what the files of the names ``gone`` had made."""
    recorded = await recorded_functions(connection)
    async with connection.transaction():
        await _drop(connection, [name for name in (*(file.name for file in files), *gone) if name in recorded])
        for name in gone:
            await _record(connection, name, "", [])
        for file in files:
            before = {found.oid for found in await _objects(connection)}
            await run(file.path, file.text)
            made = [found.name for found in await _objects(connection) if found.oid not in before]
            await _record(connection, file.name, file.sha256, made)
        await connection.execute("revoke all on all functions in schema coach from public")
        if await _has_machinery(connection):
            await connection.execute("select coach.restore_dependents()")


async def _drop(connection: Connection, names: Iterable[str]) -> None:
    recorded = await recorded_functions(connection)
    made = {name for file in names for name in recorded[file].made}
    doomed = [found for found in await _objects(connection) if found.name in made]
    if await _has_machinery(connection):
        for found in doomed:
            await connection.execute(_SET_ASIDE, (found.catalog, found.oid, [each.oid for each in doomed]))
    for found in reversed(doomed):
        try:
            await connection.execute(f"drop {found.name}".encode())
        except psycopg.errors.DependentObjectsStillExist as error:
            raise Misconfigured(f"{error.diag.message_primary}: {error.diag.message_detail}") from error


async def _objects(connection: Connection) -> list[_Object]:
    """The functions, views, composite types and triggers that there are, in the order in which they were made."""
    return [_Object(*row) for row in await (await connection.execute(_OBJECTS)).fetchall()]


async def _has_machinery(connection: Connection) -> bool:
    row = await (await connection.execute("select to_regproc('coach.restore_dependents') is not null")).fetchone()
    return row is not None and bool(row[0])


async def _record(connection: Connection, name: str, sha256: str, made: Sequence[str]) -> None:
    await connection.execute(
        """
        insert into coach.functions as f (name, sha256, made) values (%s, %s, %s)
        on conflict (name) do update
        set sha256 = excluded.sha256,
            made = excluded.made,
            former = array_remove(f.former, excluded.sha256) || f.sha256,
            applied_at = now()
        """,
        (name, sha256, list(made)),
    )
