"""After adoption an app's database has all that a fresh one has."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

from coach.database.embedded import EmbeddedServer

Connection = psycopg.Connection[Any]

COLUMNS = """
    select
        c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated::text,
        a.attstorage::text
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid
    where c.relkind = 'r'
        and c.relnamespace in ('public'::regnamespace, 'coach'::regnamespace)
        and a.attnum > 0
        and not a.attisdropped
"""
CONSTRAINTS = """
    select conrelid::regclass::text, contype::text, pg_get_constraintdef(oid)
    from pg_constraint
    where connamespace in ('public'::regnamespace, 'coach'::regnamespace) and contype in ('f', 'c') and convalidated
"""
POLICIES = """
    select tablename, policyname, permissive, roles, cmd, qual, with_check
    from pg_policies
    where policyname like 'coach%'
"""
TRIGGERS = "select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal"
INDEXES = """
    select indexdef from pg_indexes
    where schemaname in ('public', 'coach') and indexname not like '%key' and indexname not like '%key1'
"""
GRANTS = """
    select c.oid::regclass::text, grantee::regrole::text, privilege_type
    from pg_class c
    cross join lateral aclexplode(relacl)
    where relnamespace in ('public'::regnamespace, 'coach'::regnamespace)
        and grantee in ('authenticated'::regrole, 'coach_session'::regrole, 'anon'::regrole)
"""
FUNCTIONS = """
    select
        p.oid::regprocedure::text,
        pg_get_function_result(p.oid),
        array(
            select role
            from unnest(array['anon', 'authenticated', 'coach_session', 'service_role']) role
            where has_function_privilege(role, p.oid, 'execute')
        )
    from pg_proc p
    where pronamespace in ('public'::regnamespace, 'coach'::regnamespace)
        and not exists (select from pg_depend where objid = p.oid and deptype = 'e')
"""


@pytest.mark.parametrize(
    ("query", "tolerated"),
    [
        # An app's own type stays where it holds as much as we need.
        (COLUMNS, {("pillars", "name"), ("user_behavior_events", "duration_ms")}),
        (CONSTRAINTS, set()),
        (POLICIES, set()),
        (TRIGGERS, set()),
        (INDEXES, set()),
        (GRANTS, set()),
        (FUNCTIONS, set()),
    ],
    ids=["columns", "constraints", "policies", "triggers", "indexes", "grants", "functions"],
)
def test_afterwards_all_that_a_fresh_database_has_is_there(
    app: Connection, cluster: EmbeddedServer, template: str, query: str, tolerated: set[tuple[str, str]]
) -> None:
    with psycopg.connect(cluster.url(template)) as fresh:
        fresh.execute("set search_path = public, extensions")
        wanted = {_plain(row) for row in fresh.execute(query.encode()) if row[:2] not in tolerated}
    found = {_plain(row) for row in app.execute(query.encode())}

    # Where the extension lies is part of a function's printed signature, and of nothing else.
    missing = {row for row in wanted - found if row.replace("halfvec", "extensions.halfvec") not in found}

    assert not missing


def _plain(row: object) -> str:
    """A column of the app's may be varchar where ours is text, which shows as a cast in a condition."""
    return re.sub(r"\(([\w.]+)\)::text", r"\1", repr(row))
