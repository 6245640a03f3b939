"""Apps whose tables are odd in other ways: what can be read is; what the operator must decide is refused at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from coach.database.embedded import EmbeddedServer
from coach.database.lines import Line
from coach.database.migrations import migrate
from coach.errors import Misconfigured
from tests.integration.test_cli import alone
from tests.live.processes import run_coach
from tests.migration.catalog import catalog, differences
from tests.migration.conftest import SUPABASE, supabase_database

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def odd(cluster: EmbeddedServer) -> Iterator[tuple[str, list[Line]]]:
    with supabase_database(cluster, app=(SUPABASE / "odd_app.sql").read_text()) as database:
        lines: list[Line] = []
        asyncio.run(migrate(database.url, report=lines.append))
        yield database.url, lines


@pytest.fixture
def app(odd: tuple[str, list[Line]]) -> Iterator[Connection]:
    with psycopg.connect(odd[0]) as connection:
        connection.execute("set search_path = public, extensions")
        yield connection
        connection.rollback()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select is_active, level, created_at::text from user_profiles", (True, 1, "2025-11-24 16:00:00+00")),
        (
            "select p.archived, p.time_allocation_percentage::text, a.name, a.behavior_metrics -> 0 ->> 'sentiment' "
            "from pillars p join areas a on a.pillar_id = p.id",
            (False, "25.50", "Running", "0.5"),
        ),
        ("select name, deadline::text from projects", ("Half", "2026-04-12 00:00:00+00")),
        (
            "select due_date::text, due_time::text, completed, completed_at::date::text, "
            "reminder_date::date::text from tasks",
            ("2026-03-01", "09:30:00", True, "2026-03-02", "2025-11-24"),
        ),
        ("select tags, deleted from journal_entries", (["home"], False)),
        ("select message_role, embedding_model from ai_conversation_memory", ("user", "text-embedding-ada-002")),
        ("select action_type, event_data from user_behavior_events", ("mon", {"a": 1})),
        ("select cost_usd::text, success from ai_interactions", ("1.500000", True)),
        ("select count(*) from pg_publication_tables where pubname = 'some_tasks'", (1,)),
        ("select count(*) from pg_rules where rulename = 'tasks_log'", (1,)),
        ("select project, due_date::text from due_tasks", ("Half", "2026-03-01")),
        ("select count(*) from pg_trigger where tgname = 'due_ins'", (1,)),
        ("select tgenabled::text from pg_trigger where tgname = 'guard_off'", ("D",)),
        ("select tgenabled::text from pg_trigger where tgname = 'guard'", ("O",)),
        ("select count(*) from coach.set_aside", (0,)),
    ],
    ids=lambda value: value.split("from ")[-1].split()[0] if isinstance(value, str) else "",
)
def test_what_can_be_read_is_read(app: Connection, query: str, expected: tuple[object, ...]) -> None:
    assert app.execute(query.encode()).fetchone() == expected


def test_vectors_of_another_model_are_made_anew_and_their_snippets_kept(app: Connection) -> None:
    assert app.execute("select count(*) from user_metadata_embeddings").fetchone() == (0,)
    kept = app.execute("select old_value ->> 'text_snippet' from coach.repaired_values where column_name = ''")
    assert kept.fetchone() == ("s",)


def test_whatever_characters_a_name_is_of_what_reads_it_is_named(odd: tuple[str, list[Line]]) -> None:
    named = {line.split(" past")[0] for line in odd[1] if line.startswith("function") and line.kind == "warning"}
    assert named == {
        'function "mine?"() reads or writes own (open',
        "function all_mine() reads or writes mine?()",
    }


@pytest.mark.parametrize(
    "statement",
    [
        "insert into pillars (user_id, name) values (:ann, 'Health')",
        "insert into user_metadata_embeddings (user_id, domain_tag, entity_id, chunk, text_snippet, embedding, "
        "embedding_model) select :ann, 'task', :ann, n, 's', array_fill(0.5, array[1536])::vector(1536), 'm' "
        "from generate_series(0, 1) n",
        "insert into tasks (user_id, name, completed) values (:ann, 'x', true)",
    ],
    ids=["own not null, domain and check", "one vector an entity", "generated"],
)
def test_what_the_coach_writes_is_taken(app: Connection, statement: str) -> None:
    ann = "'a1000000-0000-4000-8000-000000000000'"
    app.execute('set local "request.jwt.claims" = \'{"sub": "a1000000-0000-4000-8000-000000000000"}\'')
    app.execute(statement.replace(":ann", f"{ann}::uuid").encode())


REFUSED = """
create table public.pillars (id bigint generated always as identity primary key, user_id uuid, name text);
insert into public.pillars (user_id, name) select id, 'x' from auth.users;
create view public.projects as select 1 as id;
create table public.tasks (id uuid, user_id uuid, name text) partition by hash (user_id);
create table public.nudges (id uuid primary key, user_id uuid, amount integer);
insert into public.nudges select gen_random_uuid(), id, 1 from auth.users;
create table public.journal_entries (id uuid primary key default gen_random_uuid(), user_id uuid, content text);
insert into public.journal_entries (content) values ('Nobody''s');
create table public.journal_pictures (entry uuid references public.journal_entries (id) on delete cascade);
insert into public.journal_pictures select id from public.journal_entries;
create table public.ai_interactions (request bigint primary key, user_id uuid, feature_type text);
create table public.webhook_logs (id uuid primary key, user_id text, webhook_type text);
insert into public.webhook_logs values (gen_random_uuid(), 'ann', 'x');
create view public.weekly_pillar_alignment as select 1 as one;
create table public.daily_flow_metrics (day date);
create table public.areas (id uuid primary key, user_id uuid, name text);
create view public.area_names as select name from public.areas;
grant select on public.area_names to anon;
"""
"""Each in another way no table of ours, and the operator's to decide about."""


@pytest.fixture
def refused(cluster: EmbeddedServer) -> Iterator[str]:
    user = f"insert into auth.users (id, email) values ('{uuid4()}', 'ann@example.test');"
    with supabase_database(cluster, app=user + REFUSED) as database:
        yield database.url


def test_what_cannot_be_adopted_is_told_at_once_with_the_remedy_and_nothing_changes(
    refused: str, tmp_path: Path
) -> None:
    before = catalog(refused)

    with pytest.raises(Misconfigured) as failure:
        asyncio.run(migrate(refused))

    said = str(failure.value)
    for reason in (
        "public.pillars cannot be adopted: public.pillars: id is bigint, and 1 of its values are no uuid",
        "public.projects cannot be adopted: public.projects is no plain table",
        "public.tasks cannot be adopted: public.tasks is no plain table",
        "public.nudges cannot be adopted: public.nudges has rows, but no kind: is it another table of that "
        "name? Rename it",
        "public.journal_entries cannot be adopted: public.journal_entries has rows without an owner, and 1 rows of "
        "journal_pictures refer to them: give them one, or delete them",
        "public.ai_interactions cannot be adopted: public.ai_interactions: request is of the primary key",
        "public.webhook_logs cannot be adopted: public.webhook_logs: user_id is text, and 1 of its values are no uuid",
        "public.daily_flow_metrics is a table, and the coach needs a view of that name: rename it",
    ):
        assert reason in said, said
    assert differences(before, catalog(refused)) == []

    plan = run_coach(["migrate", "--plan"], alone(tmp_path) | {"COACH_DATABASE_URL": refused})
    assert plan.returncode == 1
    assert "Refused: as long as this is so, nothing can be done:\n- public.pillars cannot be adopted" in plan.stdout
    assert "Created:\n- public.ai_conversation_memory\n" in plan.stdout
    assert plan.stdout.count("view area_names reads areas past row level security") == 1
    assert differences(before, catalog(refused)) == []


def test_a_run_that_fails_late_leaves_the_database_as_it_was(cluster: EmbeddedServer) -> None:
    """Whatever comes up after everything has been converted: here a name that one of our functions needs."""
    app = (SUPABASE / "app.sql").read_text() + "\ncreate table public.task_completion_patterns (n integer);"
    with supabase_database(cluster, app=app) as database:
        before = catalog(database.superuser_url)

        with pytest.raises(Misconfigured, match="task_completion_patterns is a table"):
            asyncio.run(migrate(database.url))

        assert differences(before, catalog(database.superuser_url)) == []
