"""What an app's backend, its triggers and its browsers did before the adoption, they still do after it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from coach.database.embedded import EmbeddedServer
from coach.database.migrations import migrate
from coach.resources import SQL
from tests.conftest import acting_as
from tests.migration.conftest import SUPABASE, Supabase, supabase_database

ANN = "a1000000-0000-4000-8000-000000000000"
TASK = "a1000000-0000-4000-8000-000000000031"

MORE = """
create function public.log_change(p_table text) returns void language sql as $$
    insert into public.webhook_logs (webhook_type, table_name, status) values ('task_changed', p_table, 'completed')
$$;
create function public.log_task() returns trigger language plpgsql as $$
begin
    perform public.log_change(tg_table_name);
    delete from user_metadata_embeddings where entity_id::text = new.id::text;
    delete from user_behavior_events where session_id = new.id::text;
    return new;
end
$$;
create trigger log_task after update on public.tasks for each row execute function public.log_task();
truncate public.user_behavior_events;
create function public.check_ai_quota_available(p_user_id uuid)
returns table (has_quota boolean, remaining bigint, plan text, resets_on date)
language sql stable security definer as $$
    select true, 7::bigint, 'free', date '2027-01-01' from auth.users where id = p_user_id
$$;
create function public.get_user_ai_usage_current_month(p_user_id uuid, p_plan text)
returns table (total_tokens bigint, calls bigint)
language sql stable as $$ select 1::bigint, 2::bigint $$;
create function public.search_metadata_embeddings(query_embedding vector(1536), p_user_id uuid, match_count integer)
returns table (id uuid, similarity real, age interval)
language sql stable as $$
    select e.id, (1 - (e.embedding <=> query_embedding))::real, interval '1 day'
    from user_metadata_embeddings e
    where e.user_id = p_user_id
    limit match_count
$$;
create function public.refresh_behavior_views() returns void language sql as $$ select $$;
create view public.area_habit_metrics as select user_id, id as area_id, importance + 1 as weight from public.areas;
create view public.daily_flow_metrics as select count(*) as events from public.user_behavior_events;
"""

Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def reported() -> list[str]:
    return []


@pytest.fixture(scope="module")
def adopted(cluster: EmbeddedServer, reported: list[str]) -> Iterator[Supabase]:
    app = (SUPABASE / "app.sql").read_text() + MORE
    with supabase_database(cluster, app=app) as database:
        asyncio.run(migrate(database.url, report=lambda line: reported.append(str(line))))
        yield database


class App:
    """``service_role`` through PostgREST, or the browser of a user."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def backend(self, statement: str, *values: Any) -> Rows:
        return self._as(acting_as("service_role"), statement, values)

    def browser(self, statement: str, *values: Any) -> Rows:
        return self._as(acting_as("authenticated", ANN), statement, values)

    def _as(self, acting: sql.Composed, statement: str, values: tuple[Any, ...]) -> Rows:
        connection = self.connection
        connection.execute(acting)
        cursor = connection.execute(statement.encode(), values)
        rows = cursor.fetchall() if cursor.description else []
        connection.execute("reset role")
        return rows


@pytest.fixture
def app(adopted: Supabase) -> Iterator[App]:
    """In a transaction that is rolled back."""
    with psycopg.connect(adopted.superuser_url) as connection:
        connection.execute("set session authorization authenticator")
        connection.execute("set search_path = public, extensions")
        yield App(connection)
        connection.rollback()


def looked_up(app: App, query: str, *values: Any) -> Rows:
    """Behind the scenes."""
    app.connection.execute("set local session authorization default")
    cursor = app.connection.execute(query.encode(), values)
    while cursor.nextset():
        pass
    rows = cursor.fetchall()
    app.connection.execute("set local session authorization authenticator")
    return rows


VECTOR = "array_fill(0.5::real, array[1536])::vector(1536)"


@pytest.mark.parametrize("tag", ["tasks", "task", "Tasks"])
def test_a_vector_without_a_model_is_the_apps(app: App, tag: str) -> None:
    app.backend("delete from user_metadata_embeddings")
    app.backend(
        "insert into user_metadata_embeddings (user_id, domain_tag, entity_id, text_snippet, embedding)"
        f" values (%s, %s, %s, 'Buy shoes', {VECTOR})",
        ANN, tag, TASK,
    )  # fmt: skip

    rows = app.backend("select domain_tag, embedding_model from user_metadata_embeddings")
    assert rows == [("task", "text-embedding-ada-002")]


def test_an_app_that_names_what_is_unique_still_upserts_its_vectors(app: App) -> None:
    app.backend("delete from user_metadata_embeddings")
    for text in ("Buy shoes", "Buy boots"):
        app.backend(
            "insert into user_metadata_embeddings (user_id, domain_tag, entity_id, text_snippet, embedding)"
            f" values (%s, 'tasks', %s, %s, {VECTOR})"
            " on conflict (user_id, domain_tag, entity_id, chunk, embedding_model)"
            " do update set text_snippet = excluded.text_snippet, embedding = excluded.embedding",
            ANN, TASK, text,
        )  # fmt: skip

    assert app.backend("select text_snippet from user_metadata_embeddings") == [("Buy boots",)]


def test_a_vector_that_takes_the_place_of_ours_is_the_apps(app: App) -> None:
    app.backend("update user_metadata_embeddings set embedding_model = 'ours', content_hash = 'x'")

    app.backend("update user_metadata_embeddings set embedding = (array_fill(0.1::real, array[1536])::vector(1536))")

    rows = app.backend("select distinct embedding_model, content_hash from user_metadata_embeddings")
    assert rows == [("text-embedding-ada-002", None)]


def test_messages_without_our_columns_are_taken_and_queued(app: App) -> None:
    app.backend(
        "insert into ai_conversation_memory (user_id, message_role, message_content, message_embedding, context_window)"
        f" values (%s, 'user', 'With a vector', {VECTOR}, null), (%s, 'assistant', 'Without', null, null)",
        ANN, ANN,
    )  # fmt: skip

    rows = app.backend(
        "select embedding_model, status, (select count(*) from embedding_queue q where q.entity_id = m.id)"
        " from ai_conversation_memory m where message_content like 'With%%' order by 1"
    )
    assert rows == [("text-embedding-ada-002", "complete", 0), (None, "complete", 1)]


def test_a_message_with_a_vector_of_another_model_than_the_serving_one_is_embedded_again(app: App) -> None:
    app.backend("insert into embedding_models (user_id, serving_model) values (%s, 'ours')"
                " on conflict (user_id) do update set serving_model = 'ours'", ANN)  # fmt: skip
    app.backend(
        "insert into ai_conversation_memory (user_id, message_role, message_content, message_embedding)"
        f" values (%s, 'user', 'With a vector', {VECTOR})",
        ANN,
    )

    query = "select count(*) from embedding_queue where entity_table = 'ai_conversation_memory' and entity_id ="
    message = "(select id from ai_conversation_memory where message_content = 'With a vector')"
    assert app.backend(f"{query} {message}") == [(1,)]


def test_a_vector_that_an_app_takes_away_takes_its_model_along(app: App) -> None:
    app.backend("update ai_conversation_memory set message_embedding = null")

    assert app.backend("select distinct embedding_model from ai_conversation_memory") == [(None,)]


def test_nulls_that_the_app_writes_become_our_defaults(app: App) -> None:
    rows = app.backend(
        "insert into pillars (user_id, name, vision_statement, sort_order, archived, behavior_metrics, created_at)"
        " values (%s, 'Mind', '', null, null, null, null)"
        " returning sort_order, archived, behavior_metrics, created_at is not null",
        ANN,
    )
    assert rows == [(0, False, [], True)]
    assert app.browser("update tasks set priority = null where id = %s returning priority", TASK) == [("medium",)]


def test_what_the_app_asks_of_a_model_counts(app: App) -> None:
    before = app.backend("select used from ai_quota_months where user_id = %s", ANN)

    app.backend(
        "insert into ai_interactions (user_id, feature_type, tokens_used, request_id)"
        " values (%s, 'goal_coaching', 9, 'r')",
        ANN,
    )

    assert app.backend("select used from ai_quota_months where user_id = %s", ANN) == [(before[0][0] + 1,)]
    assert app.browser("select used from check_ai_quota_available(%s)", ANN) == [(before[0][0] + 1,)]


def test_what_the_app_gave_back_does_not_count(app: App) -> None:
    before = app.backend("select used from ai_quota_months where user_id = %s", ANN)

    app.backend(
        "insert into ai_interactions (user_id, feature_type, tokens_used, request_id, status)"
        " values (%s, 'goal_coaching', 9, 'given back', 'refunded')",
        ANN,
    )

    assert app.backend("select used from ai_quota_months where user_id = %s", ANN) == before


def test_an_event_of_nobody_is_the_systems(app: App) -> None:
    app.backend("insert into webhook_logs (webhook_type, status, error_message) values ('nightly', 'broken', 'why')")

    assert app.backend("select from webhook_logs where webhook_type = 'nightly'") == []
    assert app.backend("select status, error_message from coach.system_log where webhook_type = 'nightly'") == [
        ("error", "why")
    ]


def test_a_trigger_that_runs_as_the_browser_writes_and_the_browser_does_not(app: App, reported: list[str]) -> None:
    app.browser("update tasks set name = 'Buy boots' where id = %s", TASK)

    rows = app.backend("select user_id::text from webhook_logs where webhook_type = 'task_changed'")
    assert rows == [(ANN,)]
    assert [line for line in reported if "log_change" in line and "webhook_logs" in line]
    for statement in (
        "insert into webhook_logs (user_id, webhook_type) values (auth.uid(), 'quota_limit_reached')",
        "delete from user_metadata_embeddings",
        "delete from user_behavior_events",
        "update webhook_logs set status = 'error'",
        "select log_change('tasks')",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), app.connection.transaction():
            app.browser(statement)


@pytest.mark.parametrize("kind", ["sun_tapped", "flow_exit"])
def test_kinds_that_an_empty_tables_check_allows_are_taken(app: App, kind: str, reported: list[str]) -> None:
    app.browser("insert into user_behavior_events (user_id, action_type) values (auth.uid(), %s)", kind)

    assert [line for line in reported if "kinds kept: sun_tapped" in line and "event_kinds" in line]


@pytest.mark.parametrize(
    "view", ["weekly_pillar_alignment", "area_habit_metrics", "daily_flow_metrics", "task_completion_patterns"]
)
def test_the_backend_sees_everybodys_rows_in_the_views(app: App, view: str) -> None:
    looked_up(app, "select refresh_behavior_views()")
    [(seen,)] = app.backend(f"select count(*) from {view}")

    assert [(seen,)] == looked_up(app, f"select count(*) from coach.{view}")


def test_result_columns_of_the_apps_functions_are_still_there(app: App, reported: list[str]) -> None:
    rows = app.browser("select used, limit_reached, plan, resets_on::text from check_ai_quota_available(%s)", ANN)
    assert rows == [(1, False, "free", "2027-01-01")]
    assert [line for line in reported if "still returns plan, resets_on" in line]


def test_they_are_null_where_the_app_cannot_be_asked(app: App, reported: list[str]) -> None:
    rows = app.browser("select total_interactions, calls from get_user_ai_usage_current_month(%s)", ANN)

    assert rows == [(1, None)]
    assert [line for line in reported if "still returns calls" in line and "but null" in line and "p_plan" in line]


def test_they_are_those_of_the_same_row(app: App) -> None:
    app.backend("update user_metadata_embeddings set embedding_model = 'ours'")

    rows = app.browser(
        f"select text_snippet <> '', age is not null from search_metadata_embeddings({VECTOR}, %s, match_count => 2)",
        ANN,
    )

    assert rows == [(True, True)] * 2


def test_they_tell_nobody_of_another(app: App) -> None:
    assert app.browser("select plan from check_ai_quota_available(%s)", ANN.replace("a1", "b2")) == []


def test_columns_of_the_apps_views_are_still_there(app: App, reported: list[str]) -> None:
    point = '[{"timestamp": "now", "alignment_score": 0.7, "habit_strength": 0.4}]'
    today = looked_up(app, "select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")[0][0]
    for table in ("pillars", "areas"):
        app.browser(f"update {table} set behavior_metrics = %s", point.replace("now", today))
    looked_up(app, "select refresh_behavior_views()")

    [(first,)] = app.browser("select first from weekly_pillar_alignment")
    assert json.loads(first)["alignment_score"] == 0.7
    assert app.browser("select avg_habit_strength::float8, weight from area_habit_metrics") == [(0.4, 4)]
    assert app.browser("select events from daily_flow_metrics") == []
    assert [line for line in reported if "daily_flow_metrics: still has events" in line and "but null" in line]


def test_what_a_browser_can_no_longer_write_is_named_with_the_remedy(reported: list[str], app: App) -> None:
    named = {line.split(":")[0]: line for line in reported if "which it may not any more" in line}

    assert {"public.ai_conversation_memory", "public.ai_interactions"} <= named.keys()
    assert "public.tasks" not in named
    assert all("service key" in line for line in named.values())


async def test_a_newer_versions_files_keep_it_all(cluster: EmbeddedServer, tmp_path: Path) -> None:
    folder = tmp_path / "sql"
    shutil.copytree(SQL, folder)
    with supabase_database(cluster, app=(SUPABASE / "app.sql").read_text() + MORE) as database:
        await migrate(database.url, folder=folder)
        for name in ("access", "behavior", "quota", "reporting"):
            file = folder / "functions" / f"{name}.sql"
            file.write_text(file.read_text() + "-- Newer.\n")
        await migrate(database.url, folder=folder)

        with psycopg.connect(database.superuser_url) as connection:
            plan = "select plan from check_ai_quota_available(%s)"
            assert connection.execute(plan, (ANN,)).fetchall() == [("free",)]
            assert connection.execute("select weight from area_habit_metrics").fetchall() == []
            assert connection.execute("select what from coach.set_aside").fetchall() == []
            guarded = "select tgrelid::regclass::text, tgname from pg_trigger where tgname ~ '^A_req'"
            assert set(connection.execute(guarded).fetchall()) == {
                ("user_behavior_events", "A_require_trigger_delete"),
                ("user_metadata_embeddings", "A_require_trigger_delete"),
                ("webhook_logs", "A_require_trigger_insert"),
            }


@pytest.mark.parametrize(
    "column",
    [
        "kind event_kind not null",
        "kind kind_of_event",
        "kind text references event_names (name)",
        "kind text check (kind = any (array['sun_tapped']))",
    ],
)
def test_kinds_are_found_wherever_the_app_lists_them(app: App, column: str) -> None:
    found = looked_up(
        app,
        f"""
        create type event_kind as enum ('sun_tapped');
        create domain kind_of_event as text check (value = 'sun_tapped');
        create table event_names (name text primary key);
        insert into event_names values ('sun_tapped');
        create table taps ({column});
        select coach.allowed_kinds('taps', 'kind')
        """,
    )

    assert found == [(["sun_tapped"],)]


def test_an_app_names_its_own_model(app: App) -> None:
    app.connection.execute("set local coach.app_embedding_model = 'of-the-app'")

    app.backend("update user_metadata_embeddings set embedding = array_fill(0.1::real, array[1536])::vector(1536)")

    assert app.backend("select distinct embedding_model from user_metadata_embeddings") == [("of-the-app",)]


async def test_where_no_trigger_may_be_made_an_account_is_known_from_its_first_write(cluster: EmbeddedServer) -> None:
    reported: list[str] = []
    with supabase_database(cluster, app="select 1") as database:
        with psycopg.connect(database.login("supabase_auth_admin"), autocommit=True) as auth:
            auth.execute("revoke trigger on auth.users from app_postgres")
            await migrate(database.url, report=lambda line: reported.append(str(line)))
            auth.execute("insert into auth.users (id) values (%s)", (ANN,))
        with psycopg.connect(database.superuser_url) as connection:
            connection.execute("set session authorization authenticator")
            App(connection).browser("insert into pillars (user_id, name) values (auth.uid(), 'Health')")
            assert App(connection).backend("select user_id::text from pillars") == [(ANN,)]

    assert [line for line in reported if "known from its first request" in line]
