"""What must hold for every table there is and every one to come, read from the catalog."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from psycopg import AsyncConnection, sql

Owner = AsyncConnection[Any]

OWNED = """
    select c.oid::regclass::text as name, a.attname as owner
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid
    where c.relkind in ('r', 'p')
        and c.relnamespace in ('public'::regnamespace, 'coach'::regnamespace)
        and c.oid <> 'coach.accounts'::regclass -- to which the others belong
        and (a.attname = 'user_id' or (a.attname, c.relname) = ('id', 'user_profiles'))
"""


async def names(owner: Owner, query: str) -> list[str]:
    return [row[0] for row in await (await owner.execute(query.encode())).fetchall()]


async def test_the_rows_of_these_tests_cover_every_users_table(owner: Owner, tables: dict[str, sql.Identifier]) -> None:
    owned = await names(owner, OWNED)

    assert {name.removeprefix("coach.") for name in owned} == set(tables)


async def test_every_table_is_under_row_level_security_even_for_its_owner(owner: Owner) -> None:
    open_tables = await names(
        owner,
        """
        select oid::regclass::text from pg_class
        where relkind in ('r', 'p')
            and relnamespace in ('public'::regnamespace, 'coach'::regnamespace)
            and not (relrowsecurity and relforcerowsecurity)
        """,
    )

    # None holds anything of a user.
    assert sorted(open_tables) == [
        "coach.consents", "coach.entity_kinds", "coach.event_kinds", "coach.functions", "coach.migrations",
    ]  # fmt: skip


async def test_every_users_table_has_the_permissive_and_the_restrictive_policy(owner: Owner) -> None:
    lacking = await names(
        owner,
        f"""
        with owned as ({OWNED})
        select name from owned
        where (
            select array_agg(polpermissive order by polpermissive)
            from pg_policy
            where polrelid = name::regclass
                and polcmd = '*'
                and polroles = '{{0}}'
                and pg_get_expr(polqual, polrelid) ~ ('^\\(' || owner || ' = \\( SELECT auth.uid\\(\\) AS uid\\)\\)$')
                and pg_get_expr(polwithcheck, polrelid) = pg_get_expr(polqual, polrelid)
        ) is distinct from '{{f,t}}'
        """,
    )

    assert lacking == []


async def test_every_statement_on_a_users_table_locks_the_user_first(owner: Owner) -> None:
    lacking = await names(
        owner,
        f"""
        with owned as ({OWNED})
        select name from owned
        where not exists (
            select
            from pg_trigger
            where tgrelid = name::regclass
                and tgname = 'coach_lock_user'
                and tgtype & 1 = 0 -- for each statement
                and tgtype & 30 = 30 -- before insert, update and delete
                and pg_get_triggerdef(oid) like '%pg_trigger_depth() = 0%' -- cascades have been held for
        )
        """,
    )

    # Written for many people at once, and waits for none of them.
    assert lacking == ["turn_checkpoints"]


async def test_every_users_table_belongs_to_an_account_and_goes_with_it(owner: Owner) -> None:
    lacking = await names(
        owner,
        f"""
        with owned as ({OWNED})
        select name from owned
        where not exists (
            select from pg_constraint
            join pg_attribute on attrelid = conrelid and conkey = array[attnum]
            where conrelid = name::regclass
                and contype = 'f'
                and confrelid = 'coach.accounts'::regclass
                and confdeltype = 'c'
                and attname = owner
                and attnotnull
        )
        """,
    )

    assert lacking == []


async def test_no_key_sets_null_or_acts_on_update_and_all_between_users_tables_are_composite(owner: Owner) -> None:
    wrong = await names(
        owner,
        """
        select conname from pg_constraint c
        where contype = 'f'
            and connamespace in ('public'::regnamespace, 'coach'::regnamespace)
            and (
                confdeltype not in ('c', 'a')
                or confupdtype <> 'a'
                or not convalidated
                or (confrelid not in ('auth.users'::regclass, 'coach.accounts'::regclass) and 'user_id' <> (
                    select attname from pg_attribute where attrelid = conrelid and attnum = conkey[1]
                ))
            )
        """,
    )

    assert wrong == []


async def test_every_key_has_an_index_that_starts_with_its_columns(owner: Owner) -> None:
    unindexed = await names(
        owner,
        """
        select conname from pg_constraint c
        where contype = 'f'
            and connamespace in ('public'::regnamespace, 'coach'::regnamespace)
            and not exists (
                select from pg_index
                where indrelid = conrelid
                    and indpred is null
                    and (indkey::smallint[])[0:cardinality(conkey) - 1] = conkey
            )
        """,
    )

    assert unindexed == []


async def test_every_unique_index_of_a_users_table_begins_with_the_user(owner: Owner) -> None:
    wrong = await names(
        owner,
        f"""
        with owned as ({OWNED})
        select indexrelid::regclass::text
        from owned
        join pg_index on indrelid = name::regclass
        join pg_attribute on attrelid = indrelid and attnum = indkey[0]
        where indisunique and attname <> owner and name <> 'coach.usernames'
        """,
    )

    assert wrong == []


async def test_vectors_and_their_codes_stay_in_the_row(owner: Owner) -> None:
    rows = await (
        await owner.execute("""
            select attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attstorage, reloptions
            from pg_attribute
            join pg_class on pg_class.oid = attrelid
            join pg_type on pg_type.oid = atttypid
            where relkind = 'r' and typname in ('halfvec', 'bit', 'vector') and relnamespace = 'public'::regnamespace
        """)
    ).fetchall()

    assert len(rows) == 6
    for table, column, kind, storage, options in rows:
        assert (kind, storage) == ("bit(1536)" if column == "code" else "halfvec(1536)", "p"), (table, column)
        assert "toast_tuple_target=8160" in options
        assert "autovacuum_vacuum_insert_scale_factor=0.01" in options


async def test_no_role_may_select_from_materialized_views(owner: Owner) -> None:
    grants = await names(
        owner,
        """
        select oid::regclass::text from pg_class
        where relkind = 'm'
            and (relnamespace <> 'coach'::regnamespace or exists (
                select from aclexplode(relacl) where grantee <> relowner
            ))
        """,
    )

    assert grants == []


async def test_views_in_public_are_barriers(owner: Owner) -> None:
    views = await (
        await owner.execute("""
            select relname, reloptions from pg_class where relkind = 'v' and relnamespace = 'public'::regnamespace
        """)
    ).fetchall()

    assert {name for name, _ in views} == {
        "weekly_pillar_alignment", "area_habit_metrics", "daily_flow_metrics", "task_completion_patterns",
    }  # fmt: skip
    assert all("security_barrier=true" in options for _, options in views)


async def test_definer_functions_lie_in_coach_with_a_path_of_their_own(owner: Owner) -> None:
    wrong = await names(
        owner,
        """
        select oid::regprocedure::text from pg_proc
        where prosecdef
            and pronamespace in ('public'::regnamespace, 'coach'::regnamespace)
            and (
                pronamespace <> 'coach'::regnamespace
                or not (prosqlbody is not null or coalesce(array_to_string(proconfig, ' '), '') like '%search_path=%')
            )
        """,
    )

    assert wrong == []


async def test_triggers_never_notify(owner: Owner) -> None:
    bodies = await names(
        owner, "select prosrc from pg_proc where pronamespace in ('public'::regnamespace, 'coach'::regnamespace)"
    )

    assert not [body for body in bodies if "notify" in body.lower()]


def listed(grants: Iterable[tuple[str, str]]) -> dict[str, str]:
    table: dict[str, list[str]] = {}
    for name, privilege in grants:
        table.setdefault(name, []).append(privilege)
    return {name: " ".join(sorted(privileges)) for name, privileges in sorted(table.items())}


BROWSER = {
    "coach.ai_limits": "SELECT",
    "coach.consents": "SELECT",
    "coach.entity_kinds": "SELECT",
    "coach.event_kinds": "SELECT",
    "coach.migrations": "SELECT",
    "ai_conversation_memory": "SELECT",
    "ai_interactions": "SELECT",
    "ai_quota_months": "SELECT",
    "area_habit_metrics": "SELECT",
    "areas": "DELETE INSERT SELECT UPDATE",
    "coaching_sessions": "SELECT",
    "commitments": "SELECT",
    "conversations": "SELECT",
    "daily_flow_metrics": "SELECT",
    "exports": "SELECT",
    "journal_entries": "DELETE INSERT SELECT UPDATE",
    "memory_corrections": "SELECT",
    "nudges": "SELECT",
    "pillars": "DELETE INSERT SELECT UPDATE",
    "projects": "DELETE INSERT SELECT UPDATE",
    "recommendations": "SELECT",
    "task_completion_patterns": "SELECT",
    "tasks": "DELETE INSERT SELECT UPDATE",
    "user_analytics_preferences": "INSERT SELECT UPDATE",
    "user_behavior_events": "INSERT SELECT",
    "user_metadata_embeddings": "SELECT",
    "user_profiles": "SELECT",
    "webhook_logs": "SELECT",
    "weekly_pillar_alignment": "SELECT",
}

GRANTS = """
    select c.oid::regclass::text, privilege_type
    from pg_class c
    cross join lateral aclexplode(relacl)
    where relnamespace in ('public'::regnamespace, 'coach'::regnamespace, 'auth'::regnamespace)
        and grantee = {}
"""


async def granted(owner: Owner, grantee: str) -> dict[str, str]:
    query = sql.SQL(GRANTS).format(sql.SQL("0") if grantee == "public" else sql.Literal(grantee) + sql.SQL("::regrole"))
    return listed(await (await owner.execute(query)).fetchall())


async def test_what_a_browser_may_do_is_this_list(owner: Owner) -> None:
    assert await granted(owner, "authenticated") == dict(sorted(BROWSER.items()))


async def test_anon_and_public_have_no_rights(owner: Owner) -> None:
    extension = "select objid::regclass::text from pg_depend where deptype = 'e' and classid = 'pg_class'::regclass"
    theirs = set(await names(owner, extension))

    assert await granted(owner, "anon") == {}
    assert not set(await granted(owner, "public")) - theirs


async def test_the_login_roles_may_do_nothing_but_ask_for_the_migrations(owner: Owner) -> None:
    asks = {"coach.functions": "SELECT", "coach.migrations": "SELECT"}
    assert await granted(owner, "coach_server") == asks
    assert await granted(owner, "coach_worker") == asks


async def test_of_a_profile_a_browser_writes_these_columns_only(owner: Owner) -> None:
    rows = await (
        await owner.execute("""
            select privilege_type, array_agg(attname::text order by attname)
            from pg_attribute
            cross join lateral aclexplode(attacl)
            where attrelid = 'user_profiles'::regclass and grantee = 'authenticated'::regrole
            group by privilege_type
        """)
    ).fetchall()

    harmless = [
        "first_name", "last_name", "monthly_alignment_goal", "profile_picture", "timezone", "updated_at", "username",
    ]  # fmt: skip
    assert dict(rows) == {"INSERT": sorted({*harmless, "id"} - {"updated_at"}), "UPDATE": harmless}


async def test_anon_may_call_no_function_of_ours(owner: Owner) -> None:
    callable_functions = await names(
        owner,
        """
        select p.oid::regprocedure::text from pg_proc p
        where pronamespace in ('public'::regnamespace, 'coach'::regnamespace)
            and has_function_privilege('anon', p.oid, 'execute')
            and not exists (select from pg_depend where objid = p.oid and deptype = 'e')
        """,
    )

    assert callable_functions == []


async def test_no_login_role_is_more_than_it_should_be(owner: Owner) -> None:
    rows = await (
        await owner.execute("""
            select rolname, rolsuper, rolbypassrls, rolcreaterole, rolinherit, rolcanlogin,
                array(select roleid::regrole::text from pg_auth_members where member = r.oid order by 1)
            from pg_roles r
            where rolname in ('coach_server', 'coach_worker', 'coach_session')
            order by rolname
        """)
    ).fetchall()

    assert rows == [
        ("coach_server", False, False, False, False, True, ["coach_session"]),
        ("coach_session", False, False, False, True, False, ["authenticated"]),
        ("coach_worker", False, False, False, False, True, ["service_role"]),
    ]


async def test_no_login_role_owns_anything(owner: Owner) -> None:
    assert (
        await names(
            owner, "select objid::text from pg_shdepend where deptype = 'o' and refobjid::regrole::text like 'coach%'"
        )
        == []
    )
