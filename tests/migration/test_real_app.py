"""The real app's database, on Supabase: what is of another type, null, narrower or in the way is adopted, and told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from coach.database.embedded import EmbeddedServer
from coach.database.lines import Line
from coach.database.migrations import migrate
from tests.migration.catalog import catalog, differences
from tests.migration.conftest import Supabase, supabase_database

ANN = "a1000000-0000-4000-8000-000000000000"
Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class RealApp:
    database: Supabase
    rehearsed: list[Line]
    told: list[Line]
    changed_by_rehearsal: list[str]


@pytest.fixture(scope="module")
def real_app(cluster: EmbeddedServer) -> Iterator[RealApp]:
    with supabase_database(cluster) as database:
        rehearsed: list[Line] = []
        told: list[Line] = []
        before = catalog(database.superuser_url), contents(database.superuser_url)
        asyncio.run(migrate(database.url, report=rehearsed.append, is_rehearsal=True))
        after = catalog(database.superuser_url), contents(database.superuser_url)
        changed = differences(before[0], after[0]) + ([] if before[1] == after[1] else ["rows"])
        asyncio.run(migrate(database.url, report=told.append))
        yield RealApp(database, rehearsed, told, changed)


@pytest.fixture
def app(real_app: RealApp) -> Iterator[Connection]:
    with psycopg.connect(real_app.database.url) as connection:
        connection.execute("set search_path = public, extensions")
        yield connection
        connection.rollback()


def contents(url: str) -> dict[str, str]:
    """A digest of the rows of each table in ``public``."""
    with psycopg.connect(url) as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        return {
            table: str(connection.execute(
                f"select md5(string_agg(to_jsonb(t)::text, '|' order by to_jsonb(t)::text)) from public.{table} t"
                .encode()
            ).fetchone())
            for (table,) in tables
        }  # fmt: skip


def told(real_app: RealApp, kind: str) -> list[Line]:
    return [line for line in real_app.told if line.kind == kind]


def test_a_rehearsal_says_all_that_the_run_does_and_changes_nothing(real_app: RealApp) -> None:
    assert real_app.rehearsed == real_app.told
    assert [line.kind for line in real_app.rehearsed] == [line.kind for line in real_app.told]
    assert real_app.changed_by_rehearsal == []


@pytest.mark.parametrize(
    "line",
    [
        "public.ai_conversation_memory: conversation_date was date, is timestamp with time zone now",
        "public.tasks: due_time was text, is time without time zone now; 1 values do not fit and are kept in "
        "coach.repaired_values",
        "public.tasks: due_date was timestamp with time zone, is date now; 1 values do not fit and are kept in "
        "coach.repaired_values",
        "public.projects: status was project_status, is text now",
        "public.areas: name was short_name, is text now",
        "public.user_metadata_embeddings: 1 rows tagged 'tasks' are tagged 'task' now",
        "public.tasks: kanban_column was not null without a default; it may be null now",
        "public.ai_interactions: ai_interactions_tokens_used_check dropped, which could refuse what the coach writes: "
        "CHECK ((tokens_used < 4000))",
        "public.ai_interactions: ai_interactions_feature_type_fkey dropped, which could refuse what the coach writes: "
        "FOREIGN KEY (feature_type) REFERENCES ai_features(name)",
        "public.ai_conversation_memory: search is app_search now, since ours is generated",
    ],
)
def test_what_is_converted_dropped_or_relaxed_is_told(real_app: RealApp, line: str) -> None:
    assert line in told(real_app, "converted")


def test_times_and_days_keep_what_they_said(app: Connection) -> None:
    assert app.execute("select due_date::text, due_time::text from tasks order by id").fetchall() == [
        ("2026-03-01", "09:30:00"),
        ("2026-03-02", "12:00:00"),
        (None, None),
    ]
    assert (
        app.execute("select conversation_date::text from ai_conversation_memory").fetchall()
        == [("2026-02-03 00:00:00+00",)] * 2
    )


def test_what_does_not_fit_is_kept_with_its_user(app: Connection) -> None:
    kept = app.execute("""
        select table_name, old_value, user_id::text from coach.repaired_values
        where table_name = 'tasks' and column_name = 'due_time'
    """).fetchall()
    assert kept == [("tasks", "after lunch", ANN)]

    app.execute("delete from auth.users where id = %s", (ANN,))
    assert app.execute("select count(*) from coach.repaired_values where user_id = %s", (ANN,)).fetchone() == (0,)


def test_lists_numbers_and_json_are_read_as_they_are_meant(app: Connection) -> None:
    task = app.execute("""
        select dependency_task_ids::text[], estimated_duration, recurrence_pattern from tasks where name = 'Buy shoes'
    """).fetchone()
    assert task == (["a1000000-0000-4000-8000-000000000032"], 45, {"every": 2})
    assert app.execute("select tags, mood, energy_level from journal_entries where mood = 'bad'").fetchone() == (
        ["knee", "running"], "bad", "2",
    )  # fmt: skip
    assert app.execute("select importance from projects order by id").fetchall() == [(5,), (3,)]
    assert app.execute("select success, processing_time_ms from ai_interactions").fetchall() == [(True, 813)]


def test_a_column_that_was_generated_from_a_converted_one_still_is(app: Connection) -> None:
    assert app.execute("select distinct month::text from ai_conversation_memory").fetchall() == [("2026-02-01",)]
    assert app.execute("select due_day::text from tasks where name = 'Buy shoes'").fetchone() == ("2026-03-01",)
    generated = app.execute("""
        select attname from pg_attribute
        where attrelid in ('tasks'::regclass, 'ai_conversation_memory'::regclass) and attgenerated <> ''
            and attname in ('month', 'due_day')
        order by 1
    """).fetchall()
    assert generated == [("due_day",), ("month",)]


def test_indexes_policies_triggers_and_views_over_converted_columns_are_back(app: Connection) -> None:
    found = app.execute("""
        select to_regclass('memory_by_day') is not null, to_regclass('pillars_lower_name') is not null,
            to_regclass('task_board') is not null, to_regclass('projects_active') is not null,
            exists (select from pg_policy where polname = 'Active projects'),
            exists (select from pg_trigger where tgname = 'status_moved' and tgenabled = 'O'),
            (select count(*) from coach.set_aside)
    """).fetchone()
    assert found == (True, True, True, True, True, True, 0)


def test_names_that_ours_need_are_cleared_and_unique_keys_that_refuse_us_are_gone(app: Connection) -> None:
    found = app.execute("""
        select pg_get_indexdef('ai_conversation_memory_said_idx'::regclass) like '%(user_id, conversation_date, id)%',
            to_regclass('app_ai_conversation_memory_said_idx') is not null,
            to_regclass('one_a_day') is null,
            exists (select from pg_constraint where conname = 'app_ai_interactions_status_check')
    """).fetchone()
    assert found == (True, True, True, True)


def test_a_restrictive_policy_of_the_apps_is_named(real_app: RealApp) -> None:
    assert any('policy "Short messages" on ai_conversation_memory' in line for line in told(real_app, "warning"))


def test_an_index_that_does_not_go_with_the_new_type_is_named(real_app: RealApp) -> None:
    assert any("index tasks_due_time does not go with the new type" in line for line in told(real_app, "warning"))


def test_the_apps_triggers_did_not_run_for_repairs_and_run_again(app: Connection) -> None:
    assert app.execute("select count(*) from tasks where updated_at > created_at").fetchone() == (0,)
    app.execute("update tasks set updated_at = 'epoch' where name = 'Buy shoes'")
    assert app.execute("select updated_at = now() from tasks where name = 'Buy shoes'").fetchone() == (True,)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into user_analytics_preferences (user_id) values (:ben)",
        "insert into pillars (user_id, name, color) values (:ben, 'Work', 'blue')",
        "insert into areas (user_id, name, importance) values (:ben, 'Sleep', 4)",
        "insert into projects (user_id, name, status) values (:ben, 'Loft', 'On Hold')",
        "insert into tasks (user_id, name, status, completed) values (:ben, 'Paint', 'review', true)",
        "insert into journal_entries (user_id, content) values (:ben, 'Tired.')",
        "insert into ai_interactions (user_id, feature_type, tokens_used) values (:ben, 'hrm_analysis', 9000)",
        "insert into user_behavior_events (user_id, action_type) values (:ben, 'context_switch')",
        "insert into webhook_logs (user_id, webhook_type, status) values (:ben, 'quota_warning_80', 'processing')",
        """
        insert into ai_conversation_memory (user_id, message_role, message_content)
        values (:ben, 'system', repeat('x', 9000))
        """,
        """
        insert into user_metadata_embeddings
            (user_id, domain_tag, entity_id, chunk, text_snippet, embedding, embedding_model)
        select :ben, 'task', :ben, chunk, repeat('x', 3000), array_fill(0.5, array[1536])::vector(1536), 'm'
        from generate_series(0, 1) chunk
        """,
    ],
    ids=lambda statement: statement.split()[2],
)
def test_what_the_coach_writes_is_taken(app: Connection, statement: str) -> None:
    ben = "'b2000000-0000-4000-8000-000000000000'::uuid"
    app.execute(statement.replace(":ben", ben).encode())


def test_rows_of_nobody_are_moved_whole_though_an_empty_table_refers_to_theirs(app: Connection) -> None:
    moved = app.execute("select table_name, content ? 'vision_statement' from coach.rows_without_user order by 1")
    assert moved.fetchall() == [("ai_interactions", False), ("pillars", True)]
    event = app.execute("""
        select old_value -> 'payload', row_id is not null, status from coach.system_log
        where webhook_type = 'view_refresh'
    """)
    assert event.fetchone() == ({"view": "weekly"}, True, "error")


def test_definers_that_lead_past_row_level_security_are_named(real_app: RealApp) -> None:
    named = {line.split()[1] for line in told(real_app, "warning") if line.startswith("function")} - {"is_busy(uuid)"}
    assert named == {
        "recent_entries(uuid)", "log_event(text)", "moods()", "rows_of(text)", "all_entries()", "count_tasks(uuid)",
        "coaching.overdue()",
    }  # fmt: skip


def test_hardening_revokes_them_from_browsers_alone(real_app: RealApp) -> None:
    database = real_app.database
    again: list[Line] = []

    asyncio.run(migrate(database.url, harden=True))
    asyncio.run(migrate(database.url, report=again.append))

    assert [line.split(" past")[0] for line in again if line.startswith("function")] == [
        "function is_busy(uuid) reads or writes tasks"
    ], "a policy calls it"
    with psycopg.connect(database.url) as connection:
        rights = connection.execute("""
            select has_function_privilege('anon', f, 'execute'), has_function_privilege('authenticated', f, 'execute'),
                has_function_privilege('service_role', f, 'execute')
            from unnest(array['recent_entries(uuid)', 'moods()', 'feature_names()']::regprocedure[]) f
        """).fetchall()
    assert rights == [(False, False, True), (False, False, True), (True, True, True)]
