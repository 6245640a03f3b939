"""Rows in every table of a user's, for tests of what holds for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import AsyncConnection, sql

from coach.database.embedded import EmbeddedServer
from coach.database.migrations import Applied, migrate
from tests.conftest import acting_as, own_database

APP = Path(__file__).with_name("app_database.sql")
SUPABASE = Path(__file__).with_name("supabase")

Furnish = Callable[[], Awaitable[UUID]]

VECTOR = "(select array_agg(random() - 0.5)::real[]::vector(1536)::halfvec(1536) from generate_series(1, 1536))"

# One row each, parents first; :id is the same in every table, so that children find them.
ROWS: dict[str, LiteralString] = {
    "user_profiles": "insert into user_profiles (id) values (:user)",
    "user_analytics_preferences": "insert into user_analytics_preferences (user_id) values (:user)",
    "ai_limits": "insert into coach.ai_limits (user_id, monthly_limit) values (:user, 250)",
    "usernames": "insert into coach.usernames (user_id, username) values (:user, :user::text)",
    "repaired_values": """
        insert into coach.repaired_values (user_id, id, table_name, row_id, column_name, old_value)
        values (:user, :id, 'tasks', :id::text, 'name', '"Buy shoes"')
    """,
    "pillars": "insert into pillars (user_id, id, name) values (:user, :id, 'Health')",
    "areas": "insert into areas (user_id, id, pillar_id, name) values (:user, :id, :id, 'Running')",
    "projects": "insert into projects (user_id, id, area_id, name) values (:user, :id, :id, 'Half marathon')",
    "tasks": "insert into tasks (user_id, id, project_id, name) values (:user, :id, :id, 'Buy shoes')",
    "journal_entries": "insert into journal_entries (user_id, id, content) values (:user, :id, 'Tired.')",
    "conversations": "insert into conversations (user_id, id, client_id) values (:user, :id, 'knee')",
    "ai_conversation_memory": """
        insert into ai_conversation_memory
            (user_id, id, conversation_id, client_id, message_role, message_content, status)
        values (:user, :id, :id, 'm1', 'assistant', 'Rest', 'streaming')
    """,
    "user_metadata_embeddings": f"""
        insert into user_metadata_embeddings
            (user_id, id, domain_tag, entity_id, text_snippet, embedding, embedding_model)
        values (:user, :id, 'task', :id, 'Buy shoes', {VECTOR}, 'test')
    """,
    "message_embeddings": f"""
        insert into message_embeddings (user_id, message_id, embedding_model, embedding)
        values (:user, :id, 'test', {VECTOR})
    """,
    "memory_corrections": """
        insert into memory_corrections (user_id, domain_tag, entity_id, content)
        values (:user, 'task', :id, 'Buy shoes')
    """,
    "socket_tickets": """
        insert into socket_tickets (user_id, digest, token_expires_at, expires_at)
        values (:user, decode(md5(:id::text), 'hex'), now(), now())
    """,
    "pushes": """
        insert into pushes (user_id, id, origin, frame) values (:user, :id, '', jsonb_build_object('type', 'ping'))
    """,
    "turn_checkpoints": "insert into turn_checkpoints (user_id, message_id) values (:user, :id)",
    "ai_interactions": """
        insert into ai_interactions (user_id, id, feature_type, status, quota_month)
        values (:user, :id, 'goal_coaching', 'reserved', date_trunc('month', now()))
    """,
    "ai_quota_months": """
        insert into ai_quota_months (user_id, month, reserved) values (:user, date_trunc('month', now()), 1)
    """,
    "coaching_sessions": """
        insert into coaching_sessions (user_id, id, conversation_id, kind) values (:user, :id, :id, 'grow')
    """,
    "commitments": "insert into commitments (user_id, id, session_id, title) values (:user, :id, :id, 'Run')",
    "nudges": "insert into nudges (user_id, id, kind, body) values (:user, :id, 'overdue', 'The MRI')",
    "recommendations": "insert into recommendations (user_id, id, kind) values (:user, :id, 'focus')",
    "user_behavior_events": """
        insert into user_behavior_events (user_id, id, action_type) values (:user, :id, 'flow_entry')
    """,
    "webhook_logs": "insert into webhook_logs (user_id, id, webhook_type) values (:user, :id, 'quota_warning_80')",
    "embedding_queue": """
        insert into embedding_queue (user_id, entity_table, entity_id) values (:user, 'user_profiles', :id)
    """,
    "embedding_models": "insert into embedding_models (user_id, serving_model) values (:user, 'test')",
    "idempotency_keys": "insert into idempotency_keys (user_id, key, request_hash) values (:user, 'k', 'h')",
    "exports": "insert into exports (user_id, id) values (:user, :id)",
}

IN_COACH = ("ai_limits", "usernames", "repaired_values")


def insert_row(table: str, user: UUID, row: UUID) -> sql.Composed:
    """The insert of ``table``'s row for ``user``."""
    text = ROWS[table]
    for name, value in ((":user", user), (":id", row)):
        text = text.replace(name, f"'{value}'::uuid")
    return sql.SQL(text).format()


def qualified(table: str) -> sql.Identifier:
    return sql.Identifier("coach" if table in IN_COACH else "public", table)


@pytest.fixture
def empty(cluster: EmbeddedServer) -> Iterator[str]:
    """The URL of an empty database, as its superuser."""
    with own_database(cluster) as name:
        yield cluster.url(name)


@pytest.fixture(scope="session")
def tables() -> dict[str, sql.Identifier]:
    """Every table that holds rows of users, by name."""
    return {table: qualified(table) for table in ROWS}


@pytest.fixture(scope="session")
def row_of() -> Callable[[str, UUID, UUID], sql.Composed]:
    return insert_row


@pytest.fixture
def furnished(owner: AsyncConnection[Any]) -> Furnish:
    """``await furnished()``: a user with a row in every table."""

    async def make() -> UUID:
        user = uuid4()
        await owner.execute("insert into auth.users (id, email) values (%s, %s)", (user, f"{user}@example.test"))
        for table in ROWS:
            await owner.execute(insert_row(table, user, user))
        # One row of each table: what the triggers have queued of the others would be more.
        await owner.execute(
            "delete from embedding_queue where user_id = %s and entity_table <> 'user_profiles'", (user,)
        )
        return user

    return make


@pytest.fixture(scope="session")
def value() -> Callable[..., Awaitable[Any]]:
    """``await value(connection, query, *values)``: the one value that a query answers."""

    async def ask(connection: AsyncConnection[Any], query: str, *values: object) -> Any:
        row = await (await connection.execute(query.encode(), values)).fetchone()
        return row and row[0]

    return ask


@pytest.fixture
def browser(owner_url: str) -> Callable[[UUID], Any]:
    """``async with browser(user) as connection``: what a browser does, committed."""

    @asynccontextmanager
    async def act(user: UUID) -> AsyncIterator[AsyncConnection[Any]]:
        async with await AsyncConnection.connect(owner_url) as connection:
            await connection.execute(acting_as("authenticated", user))
            yield connection

    return act


@dataclass(frozen=True)
class Adopted:
    url: str
    server_url: str
    before: dict[str, int]
    report: list[str]
    again: Applied
    report_again: list[str]


@pytest.fixture(scope="module")
def adopted(cluster: EmbeddedServer) -> Iterator[Adopted]:
    with own_database(cluster) as name:
        url = cluster.url(name)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(APP.read_bytes())
            before = _counts(connection)
        report: list[str] = []
        report_again: list[str] = []
        asyncio.run(migrate(url, report=report.append))
        again = asyncio.run(migrate(url, report=report_again.append))
        yield Adopted(url, cluster.url(name, role="coach_server"), before, report, again, report_again)


@pytest.fixture
def app(adopted: Adopted) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(adopted.url) as connection:
        connection.execute("set search_path = public, extensions")
        yield connection
        connection.rollback()


def _counts(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """The rows of every table in public."""
    tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    counting = sql.SQL("select count(*) from {}")
    return {
        name: row[0]
        for (name,) in tables
        for row in connection.execute(counting.format(sql.Identifier(name))).fetchall()
    }


@dataclass(frozen=True)
class Supabase:
    """A database like Supabase's with the real app in it. ``url`` is its ``postgres``, which is no superuser;
    ``superuser_url`` looks behind the scenes; ``login`` gives the URL of another role."""

    url: str
    superuser_url: str
    login: Callable[[str], str]


@contextmanager
def supabase_database(cluster: EmbeddedServer, *, app: str | None = None) -> Iterator[Supabase]:
    """One of its own; ``app`` is the SQL of another app."""
    with own_database(cluster) as name:
        with psycopg.connect(cluster.url(name), autocommit=True) as connection:
            connection.execute((SUPABASE / "platform.sql").read_bytes())
        url = cluster.url(name, role="app_postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(app.encode() if app is not None else (SUPABASE / "app.sql").read_bytes())
        yield Supabase(url, cluster.url(name), lambda role: cluster.url(name, role=role))


@pytest.fixture
def supabase(cluster: EmbeddedServer) -> Iterator[Supabase]:
    with supabase_database(cluster) as database:
        yield database
