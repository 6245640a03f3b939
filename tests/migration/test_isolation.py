"""Nobody sees or touches another's rows: every table, every command, as every role that a user's request runs under."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.errors import InsufficientPrivilege

Owner = AsyncConnection[Any]
Tables = dict[str, sql.Identifier]
RowOf = Callable[[str, UUID, UUID], sql.Composed]
Furnish = Callable[[], Awaitable[UUID]]

SERVER_ONLY = {"usernames", "ai_limits", "repaired_values"}


@asynccontextmanager
async def acting(url: str, role: str, claims: str | None) -> AsyncIterator[AsyncConnection[Any]]:
    """One transaction as ``role``, rolled back at the end."""
    async with await AsyncConnection.connect(url) as connection:
        await connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
        if claims is not None:
            await connection.execute(sql.SQL('set local "request.jwt.claims" = {}').format(sql.Literal(claims)))
        yield connection
        await connection.rollback()


def claims_of(user: UUID) -> str:
    return f'{{"sub": "{user}", "role": "authenticated"}}'


async def rows_or_refused(connection: AsyncConnection[Any], statement: sql.Composable) -> int | None:
    """How many rows the statement saw or touched; none where it is not allowed at all."""
    try:
        async with connection.transaction():
            cursor = await connection.execute(statement)
            return len(await cursor.fetchall()) if cursor.description else cursor.rowcount
    except InsufficientPrivilege:
        return None


def select(table: sql.Identifier) -> sql.Composed:
    return sql.SQL("select 1 from {}").format(table)


def delete(table: sql.Identifier) -> sql.Composed:
    return sql.SQL("delete from {}").format(table)


def update(table: sql.Identifier, name: str) -> sql.Composed:
    column = {"user_profiles": "first_name", "user_analytics_preferences": "updated_at"}.get(name, "user_id")
    return sql.SQL("update {} set {} = {}").format(table, sql.Identifier(column), sql.Identifier(column))


NOBODY = [None, "", "{}", '{"sub": ""}', '{"sub": null}', '{"sub": "not a uuid"}', '{"sub": 7}', "[]", '"text"', "null"]
MINE = "8c33fa8f-13d5-4e48-a7b2-459281869abb"


@pytest.mark.parametrize("claims", NOBODY)
@pytest.mark.parametrize("role", ["anon", "authenticated", "coach_session"])
async def test_without_a_user_no_table_shows_a_row(
    owner_url: str, furnished: Furnish, tables: Tables, role: str, claims: str | None
) -> None:
    await furnished()

    async with acting(owner_url, role, claims) as connection:
        seen = {name: await rows_or_refused(connection, select(table)) for name, table in tables.items()}

    assert not any(seen.values()), seen


@pytest.mark.parametrize(
    ("written", "is_one"), [(MINE, True), (MINE.upper(), True), (MINE.replace("-", ""), False), (f"{{{MINE}}}", False)]
)
async def test_claims_need_a_uuid_in_canonical_form(owner_url: str, written: str, is_one: bool) -> None:
    async with acting(owner_url, "authenticated", json.dumps({"sub": written})) as connection:
        row = await (await connection.execute("select auth.uid()::text")).fetchone()

    assert row == (MINE if is_one else None,)


async def test_after_a_users_transaction_its_setting_shows_nothing(
    database_url: str, furnished: Furnish, tables: Tables
) -> None:
    ann = await furnished()

    async with await AsyncConnection.connect(database_url) as connection:
        await connection.execute("set local role coach_session")
        await connection.execute(sql.SQL('set local "request.jwt.claims" = {}').format(sql.Literal(claims_of(ann))))
        assert await rows_or_refused(connection, select(tables["tasks"])) == 1
        await connection.commit()
        await connection.execute("set local role coach_session")
        assert await rows_or_refused(connection, select(tables["tasks"])) == 0


async def test_the_login_role_itself_reads_no_table(database_url: str, furnished: Furnish, tables: Tables) -> None:
    ann = await furnished()

    for role in ("none", "coach_session"):
        async with await AsyncConnection.connect(database_url) as connection:
            await connection.execute(f"set local role {role}".encode())
            if role == "none":
                await connection.execute(
                    sql.SQL('set local "request.jwt.claims" = {}').format(sql.Literal(claims_of(ann)))
                )
            for table in tables.values():
                assert not await rows_or_refused(connection, select(table))


@pytest.mark.parametrize("role", ["service_role", "postgres", "coach_worker"])
async def test_the_server_cannot_become_more_than_a_users_session(database_url: str, role: str) -> None:
    async with await AsyncConnection.connect(database_url) as connection:
        with pytest.raises(InsufficientPrivilege):
            await connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))


@pytest.mark.parametrize("role", ["authenticated", "coach_session"])
async def test_ann_reaches_her_rows_and_none_of_bens(
    owner: Owner, owner_url: str, furnished: Furnish, tables: Tables, row_of: RowOf, role: str
) -> None:
    ann, ben = await furnished(), await furnished()

    async with acting(owner_url, role, claims_of(ann)) as connection:
        for name, table in tables.items():
            assert await rows_or_refused(connection, select(table)) in (1, None), name
            assert await rows_or_refused(connection, update(table, name)) in (1, None), name
            key = "id" if name == "user_profiles" else "user_id"
            stolen = sql.SQL("update {} set {} = {}").format(table, sql.Identifier(key), sql.Literal(ben))
            assert await rows_or_refused(connection, stolen) is None, name
            assert await rows_or_refused(connection, row_of(name, ben, uuid4())) is None, name
        for name, table in reversed(tables.items()):
            assert await rows_or_refused(connection, delete(table)) in (0, 1, None), name
        await connection.execute("reset role")
        for name, table in tables.items():
            key = "id" if name == "user_profiles" else "user_id"
            left = await rows_or_refused(
                connection,
                sql.SQL("select 1 from {} where {} = {}").format(table, sql.Identifier(key), sql.Literal(ben)),
            )
            assert left == 1, name


@pytest.mark.parametrize("role", ["anon", "authenticated", "coach_session"])
async def test_truncate_is_refused_everywhere(owner_url: str, furnished: Furnish, tables: Tables, role: str) -> None:
    ann = await furnished()

    async with acting(owner_url, role, claims_of(ann)) as connection:
        for name, table in tables.items():
            refused = await rows_or_refused(connection, sql.SQL("truncate {} cascade").format(table))
            assert refused is None, name


async def test_an_apps_lax_policy_opens_nothing(
    owner: Owner, owner_url: str, furnished: Furnish, tables: Tables
) -> None:
    ann, _ = await furnished(), await furnished()
    await owner.execute("create policy lax on pillars using (true) with check (true)")
    try:
        async with acting(owner_url, "authenticated", claims_of(ann)) as connection:
            assert await rows_or_refused(connection, select(tables["pillars"])) == 1
            assert await rows_or_refused(connection, delete(tables["pillars"])) == 1
    finally:
        await owner.execute("drop policy lax on pillars")


@pytest.mark.parametrize(
    ("table", "column"),
    [("areas", "pillar_id"), ("projects", "area_id"), ("tasks", "project_id"), ("tasks", "parent_task_id")],
)
async def test_no_row_can_refer_to_another_users_row(
    owner_url: str, furnished: Furnish, table: str, column: str
) -> None:
    ann, ben = await furnished(), await furnished()

    async with acting(owner_url, "authenticated", claims_of(ann)) as connection:
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            await connection.execute(
                sql.SQL("update {} set {} = {} where user_id = {}").format(
                    sql.Identifier(table), sql.Identifier(column), sql.Literal(ben), sql.Literal(ann)
                )
            )


FORBIDDEN = [
    "update ai_quota_months set used = 0",
    "insert into ai_quota_months (user_id, month) values (auth.uid(), '2030-01-01')",
    "update coach.ai_limits set monthly_limit = 1000000",
    "delete from ai_interactions",
    "update ai_interactions set status = 'refunded'",
    "insert into ai_conversation_memory (user_id, message_role, message_content) values (auth.uid(), 'assistant', 'x')",
    "update ai_conversation_memory set message_content = 'forged'",
    "delete from webhook_logs",
    "update webhook_logs set status = 'completed'",
    "insert into webhook_logs (user_id, webhook_type) values (auth.uid(), 'quota_warning_80')",
    "update user_profiles set total_points = 9999",
    "update user_profiles set level = 2",
    "update user_profiles set daily_streak = 365",
    "update user_profiles set last_username_change = null",
    "insert into user_profiles (id, total_points) values (auth.uid(), 5)",
    "delete from user_profiles",
    "delete from user_analytics_preferences",
    "update user_behavior_events set duration_ms = 1",
    "delete from user_behavior_events",
    "update recommendations set score = 1",
    "insert into conversations (user_id, client_id) values (auth.uid(), 'x')",
    "select * from turn_checkpoints",
    "select * from idempotency_keys",
    "select * from embedding_queue",
    "select * from message_embeddings",
    "select * from coach.usernames",
    "select * from coach.system_log",
    "select * from coach.rows_without_user",
    "select * from coach.set_aside",
    "select * from coach.erasure_receipts",
    "select * from coach.weekly_pillar_alignment",
    "select * from auth.users",
    "select coach.refresh_behavior_views()",
    "select public.refresh_behavior_views()",
    "select coach.protect('tasks')",
    "alter table tasks disable row level security",
    "create table coach.mine ()",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_a_browser_cannot(owner_url: str, furnished: Furnish, statement: str) -> None:
    ann = await furnished()

    async with acting(owner_url, "authenticated", claims_of(ann)) as connection:
        with pytest.raises(InsufficientPrivilege):
            await connection.execute(statement.encode())


async def test_functions_answer_nothing_about_another_user(owner_url: str, furnished: Furnish) -> None:
    ann, ben = await furnished(), await furnished()

    async with acting(owner_url, "coach_session", claims_of(ann)) as connection:
        for call in (
            "select * from check_ai_quota_available({})",
            "select * from get_user_ai_usage_current_month({})",
            "select 1 where user_has_consented({}, 'record_rag_snippets') is not null",
        ):
            about_ben = await connection.execute(sql.SQL(call).format(sql.Literal(ben)))
            assert await about_ben.fetchall() == [], call
            about_ann = await connection.execute(sql.SQL(call).format(sql.Literal(ann)))
            assert len(await about_ann.fetchall()) == 1, call


async def test_the_worker_may_ask_for_anyone(worker_url: str, furnished: Furnish) -> None:
    ann = await furnished()

    async with await AsyncConnection.connect(worker_url) as connection:
        await connection.execute("set local role service_role")
        quota = await connection.execute("select used from check_ai_quota_available(%s)", (ann,))
        assert await quota.fetchall() == [(1,)]


async def test_views_show_the_users_own_rows(owner: Owner, owner_url: str, furnished: Furnish) -> None:
    ann, ben = await furnished(), await furnished()
    for user in (ann, ben):
        await owner.execute(
            """
            update pillars
            set behavior_metrics = jsonb_build_array(jsonb_build_object('timestamp', now(), 'alignment_score', 1))
            where user_id = %s
            """,
            (user,),
        )
    await owner.execute("select refresh_behavior_views()")

    for role in ("authenticated", "coach_session"):
        async with acting(owner_url, role, claims_of(ann)) as connection:
            rows = await connection.execute("select user_id from weekly_pillar_alignment")
            assert await rows.fetchall() == [(ann,)]
            rows = await connection.execute("select user_id from daily_flow_metrics")
            assert await rows.fetchall() == [(ann,)]
    async with acting(owner_url, "coach_session", None) as connection:
        rows = await connection.execute("select user_id from daily_flow_metrics")
        assert await rows.fetchall() == []
