"""What a database's schema is, as rows that can be compared: whatever the order in which it came to be.

``python -m tests.migration.catalog URL URL`` prints what either of two databases has and the other lacks.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import psycopg

SCHEMAS = "('public', 'coach', 'coach_jobs', 'auth')"

QUERIES = {
    "tables": """
        select c.oid::regclass::text, relkind::text, relpersistence::text, relrowsecurity, relforcerowsecurity,
            array(select unnest(reloptions) order by 1), obj_description(c.oid)
        from pg_class c
        where relnamespace::regnamespace::text in {schemas} and relkind in ('r', 'p', 'v', 'm', 'S')
    """,
    "columns": """
        select attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull, attgenerated::text,
            attidentity::text, attstorage::text, attoptions, pg_get_expr(adbin, adrelid),
            col_description(attrelid, attnum)
        from pg_attribute
        join pg_class c on c.oid = attrelid
        left join pg_attrdef on adrelid = attrelid and adnum = attnum
        where relnamespace::regnamespace::text in {schemas} and relkind in ('r', 'p', 'v', 'm', 'c')
            and attnum > 0 and not attisdropped
    """,
    "constraints": """
        select conrelid::regclass::text, contype::text, pg_get_constraintdef(oid), convalidated
        from pg_constraint
        where connamespace::regnamespace::text in {schemas} and contype not in ('n', 't')
    """,
    "indexes": """
        select pg_get_indexdef(indexrelid), indisvalid
        from pg_index
        join pg_class c on c.oid = indrelid
        where relnamespace::regnamespace::text in {schemas}
    """,
    "policies": """
        select schemaname || '.' || tablename, policyname, permissive, roles::text[], cmd, qual, with_check
        from pg_policies
        where schemaname in {schemas}
    """,
    "triggers": """
        select tgrelid::regclass::text, pg_get_triggerdef(t.oid), tgenabled::text
        from pg_trigger t
        join pg_class c on c.oid = tgrelid
        where not tgisinternal and relnamespace::regnamespace::text in {schemas}
    """,
    "functions": """
        select p.oid::regprocedure::text, pg_get_functiondef(p.oid), obj_description(p.oid)
        from pg_proc p
        where pronamespace::regnamespace::text in {schemas} and {not_of_an_extension}
    """,
    "views": """
        select c.oid::regclass::text, relkind::text, pg_get_viewdef(c.oid)
        from pg_class c
        where relkind in ('v', 'm') and relnamespace::regnamespace::text in {schemas}
    """,
    "types": """
        select t.oid::regtype::text, typtype::text,
            array(select enumlabel::text from pg_enum where enumtypid = t.oid order by enumsortorder)
        from pg_type t
        left join pg_class c on c.oid = typrelid
        where typnamespace::regnamespace::text in {schemas}
            and typtype in ('c', 'd', 'e') and coalesce(relkind, 'c') = 'c'
    """,
    "grants on tables": """
        select c.oid::regclass::text, {grantee}, privilege_type
        from pg_class c
        cross join lateral aclexplode(relacl)
        where relnamespace::regnamespace::text in {schemas} and relkind in ('r', 'p', 'v', 'm', 'S')
            and grantee <> relowner
    """,
    "grants on columns": """
        select attrelid::regclass::text, attname, grantee::regrole::text, privilege_type
        from pg_attribute
        join pg_class c on c.oid = attrelid
        cross join lateral aclexplode(attacl)
        where relnamespace::regnamespace::text in {schemas}
    """,
    "grants on functions": """
        select p.oid::regprocedure::text, {grantee}, privilege_type
        from pg_proc p
        cross join lateral aclexplode(coalesce(proacl, acldefault('f', proowner)))
        where pronamespace::regnamespace::text in {schemas} and grantee <> proowner and {not_of_an_extension}
    """,
    "grants on schemas": """
        select nspname, {grantee}, privilege_type
        from pg_namespace
        cross join lateral aclexplode(nspacl)
        where nspname in {schemas} and grantee <> nspowner
    """,
    "extensions": "select extname, extversion, extnamespace::regnamespace::text from pg_extension",
    "kinds of entities": "select to_jsonb(k)::text from coach.entity_kinds k",
    "kinds of events": "select to_jsonb(k)::text from coach.event_kinds k",
}


def catalog(url: str) -> dict[str, set[str]]:
    """The rows of each kind, as text. Not compared: names of constraints and the order of columns; parentheses and
    names that PostgreSQL adds, since a dump brings others back."""
    with psycopg.connect(url) as connection:
        connection.execute("set search_path = ''")
        is_ours = connection.execute("select to_regclass('coach.entity_kinds') is not null").fetchone() == (True,)
        return {
            kind: {_row(row) for row in connection.execute(_query(query))}
            if is_ours or "from coach." not in query
            else set()
            for kind, query in QUERIES.items()
        }


def differences(one: dict[str, set[str]], other: dict[str, set[str]]) -> list[str]:
    """What either has and the other lacks; nothing where the schemas are the same."""
    lines = []
    for kind in QUERIES:
        lines += [f"{kind}: only the first has {row}" for row in sorted(one[kind] - other[kind])]
        lines += [f"{kind}: only the second has {row}" for row in sorted(other[kind] - one[kind])]
    return lines


def _query(query: str) -> bytes:
    extension = "not exists (select from pg_depend where objid = p.oid and deptype = 'e')"
    grantee = "coalesce(nullif(grantee, 0)::regrole::text, 'public')"
    return query.format(schemas=SCHEMAS, not_of_an_extension=extension, grantee=grantee).encode()


def _row(row: tuple[Any, ...]) -> str:
    return re.sub(r"[\s()]+", " ", repr(row).replace("::text AS text", "::text"))


if __name__ == "__main__":
    found = differences(catalog(sys.argv[1]), catalog(sys.argv[2]))
    print("\n".join(found) or "The schemas are the same.")
    sys.exit(bool(found))
