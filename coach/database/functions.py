"""Function files: what a former version of a file made is dropped, and what the file says is made anew.

So a function may change its signature, and what a file no longer makes is gone. What others have built on it (an app's
views, a migration's triggers) is set aside and put back (``sql/functions/dependents.sql``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import psycopg

from coach.database.migrating import Connection, run_file
from coach.database.schema_files import SqlFile
from coach.errors import Misconfigured

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

_RECORD = """
    insert into coach.functions as f (name, sha256, made) values (%s, %s, %s)
    on conflict (name) do update
    set sha256 = excluded.sha256,
        made = excluded.made,
        former = array_remove(f.former, excluded.sha256) || f.sha256,
        applied_at = now()
"""


class _Object(NamedTuple):
    catalog: int
    oid: int
    name: str


async def apply_functions(connection: Connection, files: Sequence[SqlFile], gone: Sequence[str]) -> None:
    """Apply ``files``, in their order, and drop what the files of the names ``gone`` had made."""
    await _drop(connection, [*(file.name for file in files), *gone])
    for name in gone:
        await connection.execute(_RECORD, (name, "", []))
    for file in files:
        before = {found.oid for found in await _objects(connection)}
        await run_file(connection, file.path, file.text)
        made = [found.name for found in await _objects(connection) if found.oid not in before]
        await connection.execute(_RECORD, (file.name, file.sha256, made))
    await connection.execute("revoke all on all functions in schema coach from public")
    if await _has_machinery(connection):
        await connection.execute("select coach.restore_dependents()")


async def _drop(connection: Connection, names: Iterable[str]) -> None:
    recorded = await connection.execute("select unnest(made) from coach.functions where name = any(%s)", (list(names),))
    made = {name for (name,) in await recorded.fetchall()}
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
    found: tuple[Any, ...] | None = await (
        await connection.execute("select to_regproc('coach.restore_dependents')")
    ).fetchone()
    return found is not None and found[0] is not None
