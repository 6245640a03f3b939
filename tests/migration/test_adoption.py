"""An app's own database, taken over as it is: nothing lost, repairs told, and afterwards as good as a fresh one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from coach.database.pool import Database
from tests.conftest import acting_as

ANN = "a1000000-0000-4000-8000-000000000000"
BEN = "b2000000-0000-4000-8000-000000000000"
Connection = psycopg.Connection[Any]


def count(connection: Connection, table: str) -> int:
    row = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(*table.split(".")))).fetchone()
    assert row
    return int(row[0])


def only(connection: Connection, query: str) -> Any:
    rows = connection.execute(query.encode()).fetchall()
    assert len(rows) == 1
    return rows[0][0] if len(rows[0]) == 1 else rows[0]


def browse(connection: Connection, user: str, role: str = "authenticated") -> None:
    connection.execute(acting_as(role, user))


def test_twice_is_a_no_op(adopted: Any) -> None:
    assert adopted.again.names == ()
    assert {line.kind for line in adopted.report_again} == {"warning"}, "what is left to do is said again"


def test_every_row_is_still_there(adopted: Any, app: Connection) -> None:
    moved = dict(app.execute("select table_name, count(*) from coach.rows_without_user group by 1").fetchall())
    logged = app.execute("select count(*) from coach.system_log where webhook_type = 'view_refresh'").fetchone()

    assert moved == {"pillars": 1, "user_behavior_events": 1}
    assert logged == (1,)
    for table, rows in adopted.before.items():
        gone = moved.get(table, 0) + (1 if table == "webhook_logs" else 0)
        assert count(app, table) == rows - gone, table


def test_what_was_done_is_reported(adopted: Any) -> None:
    for line in (
        "public.pillars: was there, 4 rows",
        "public.pillars: 1 rows without an owner moved to coach.rows_without_user",
        "public.areas: 2 rows named a pillar_id that is not their owner's; set to null",
        "public.tasks: 1 rows named a project_id that is not their owner's; set to null",
        "public.tasks: 1 rows named a parent_task_id that is not their owner's; set to null",
        "public.pillars: bad metric points removed from 2 rows",
        "public.user_profiles: 1 rows with an unknown time zone; set to UTC",
        "public.user_metadata_embeddings: index idx_metadata_embeddings_hnsw dropped",
        "public.user_metadata_embeddings: embedding is halfvec(1536) now",
        "public.ai_conversation_memory: message_embedding is halfvec(1536) now",
        "public.weekly_pillar_alignment: replaced by a view of coach.weekly_pillar_alignment",
        "public.webhook_logs: 1 events of no user moved to coach.system_log",
        "public.ai_interactions: this month's use counted for 1 users",
        "view snippet_vectors reads user_metadata_embeddings past row level security, for everybody; "
        "consider: alter view snippet_vectors set (security_invoker = true)",
    ):
        assert line in adopted.report


def test_a_foreign_parent_is_let_go_of_and_remembered(app: Connection) -> None:
    assert only(app, f"select pillar_id from areas where user_id = '{BEN}'") is None
    assert only(app, f"select project_id, parent_task_id from tasks where user_id = '{BEN}'") == (None, None)
    log = app.execute("""
        select table_name, row_id, jsonb_build_object(column_name, old_value) from coach.repaired_values
        where column_name in ('pillar_id', 'project_id', 'parent_task_id')
        order by table_name, row_id, column_name
    """).fetchall()
    assert log == [
        ("areas", "a1000000-0000-4000-8000-000000000012", {"pillar_id": "00000000-0000-4000-8000-000000000001"}),
        ("areas", "b2000000-0000-4000-8000-000000000011", {"pillar_id": "a1000000-0000-4000-8000-000000000001"}),
        ("tasks", "b2000000-0000-4000-8000-000000000031", {"parent_task_id": "a1000000-0000-4000-8000-000000000031"}),
        ("tasks", "b2000000-0000-4000-8000-000000000031", {"project_id": "a1000000-0000-4000-8000-000000000021"}),
    ]


def test_good_parents_are_kept(app: Connection) -> None:
    assert only(app, "select count(*) from tasks where project_id is not null") == 2
    assert only(app, "select count(*) from areas where pillar_id is not null") == 1


def test_a_row_without_a_user_is_moved_whole(app: Connection) -> None:
    assert (
        only(app, "select content ->> 'name' from coach.rows_without_user where table_name = 'pillars'") == "Nobody's"
    )


def test_bad_metric_points_go_and_good_ones_stay_in_order(app: Connection) -> None:
    points = only(app, "select behavior_metrics from pillars where name = 'Health'")

    assert [point["timestamp"][:10] for point in points] == ["2025-09-15", "2025-09-16"]
    assert only(app, "select behavior_metrics from pillars where name = 'Work'") == []
    old = only(
        app,
        "select old_value from coach.repaired_values where column_name = 'behavior_metrics' and row_id like '%0002'",
    )
    assert old == {"not": "a list"}


def test_a_bad_time_zone_becomes_utc_and_is_remembered(app: Connection) -> None:
    assert only(app, f"select timezone from user_profiles where id = '{BEN}'") == "UTC"
    assert only(app, f"select timezone from user_profiles where id = '{ANN}'") == "Europe/Berlin"
    assert only(app, "select old_value from coach.repaired_values where column_name = 'timezone'") == "Mars/Olympus"


def test_the_older_of_two_like_usernames_is_registered_and_both_are_kept(app: Connection) -> None:
    assert only(app, "select username, user_id::text from coach.usernames") == ("ann", ANN)
    assert only(app, "select count(*) from user_profiles where username is not null") == 2


def test_vectors_become_halfvec_in_the_row_with_a_code_and_keep_their_values(app: Connection) -> None:
    kinds = app.execute("""
        select attname, format_type(atttypid, atttypmod), attstorage
        from pg_attribute
        where attrelid = 'user_metadata_embeddings'::regclass and attname in ('embedding', 'code')
        order by attname
    """).fetchall()
    assert kinds == [("code", "bit(1536)", "p"), ("embedding", "halfvec(1536)", "p")]
    assert only(app, "select count(*) from user_metadata_embeddings where code is null") == 0
    first = "select (embedding::vector::real[])[1] from user_metadata_embeddings where text_snippet = 'snippet 7'"
    assert only(app, first) == 7.0
    toast = "select pg_relation_size(reltoastrelid) from pg_class where relname = 'user_metadata_embeddings'"
    assert only(app, toast) == 0


def test_adopted_vectors_say_which_model_they_are_of_and_snippets_of_one_entity_are_chunks(app: Connection) -> None:
    rows = app.execute("select embedding_model, chunk from user_metadata_embeddings order by created_at").fetchall()

    assert rows == [("text-embedding-ada-002", n) for n in range(30)]
    memory = app.execute("select embedding_model from ai_conversation_memory order by message_role").fetchall()
    assert memory == [(None,), ("text-embedding-ada-002",)]


def test_the_apps_own_queries_and_inserts_go_on_working(app: Connection) -> None:
    app.execute(
        """
        insert into user_metadata_embeddings (user_id, domain_tag, entity_id, text_snippet, embedding, embedding_model)
        values (%s, 'task', gen_random_uuid(), 'new', array_fill(0.5::real, array[1536])::vector(1536), 'x')
        """,
        (ANN,),
    )
    nearest = """
        select text_snippet from user_metadata_embeddings
        order by embedding <=> array_prepend(30::real, array_fill(0.5::real, array[1535]))::vector(1536)
        limit 1
    """
    assert only(app, nearest) == "snippet 30"


def test_views_functions_and_triggers_that_stood_on_the_vectors_are_back(app: Connection) -> None:
    assert only(app, "select snippets, width from snippet_sizes") == (30, 1536)
    assert only(app, "select obj_description('snippet_sizes'::regclass)") == "asked by the dashboard"
    assert only(app, f"select nearest_snippet('{ANN}')").startswith("snippet")
    assert only(app, "select tgrelid::regclass::text from pg_trigger where tgname = 'trg_embedding'")
    assert only(app, "select count(*) from best_week") == 1, "their owner sees everybody's rows"
    assert count(app, "coach.set_aside") == 0


def test_the_apps_search_is_replaced_under_those_who_call_it(app: Connection) -> None:
    browse(app, ANN)

    found = app.execute(
        "select similar_tasks(%s, array_prepend(30::real, array_fill(0.5::real, array[1535]))::vector(1536))", (ANN,)
    )

    assert [snippet for (snippet,) in found] == ["snippet 30", "snippet 29", "snippet 28"]


def test_the_public_materialized_view_is_a_barrier_view_of_ones_own_rows(app: Connection) -> None:
    assert only(app, "select relkind::text from pg_class where oid = 'public.weekly_pillar_alignment'::regclass") == "v"
    assert only(app, "select count(*) from coach.weekly_pillar_alignment") == 1
    browse(app, ANN)
    assert only(app, "select avg_alignment::float, data_points from weekly_pillar_alignment") == (0.6, 2)
    browse(app, BEN)
    assert app.execute("select 1 from weekly_pillar_alignment").fetchall() == []


def test_this_months_use_is_counted(app: Connection) -> None:
    assert only(app, "select user_id::text, used from ai_quota_months") == (ANN, 2)
    browse(app, ANN)
    assert only(app, f"select used, remaining from check_ai_quota_available('{ANN}')") == (2, 248)


def test_lax_grants_and_policies_are_closed(app: Connection, adopted: Any) -> None:
    excess = app.execute("""
        select oid::regclass::text, grantee::regrole::text, privilege_type
        from pg_class
        cross join lateral aclexplode(relacl)
        where relnamespace = 'public'::regnamespace
            and relkind = 'r'
            and (grantee = to_regrole('anon') or privilege_type in ('TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN'))
            and grantee <> relowner
            and grantee <> to_regrole('service_role')
    """).fetchall()
    assert excess == []
    browse(app, BEN)
    assert only(app, "select name from pillars") == "Family"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute("truncate pillars cascade")


def test_kinds_of_events_the_app_writes_are_still_taken_from_a_browser(app: Connection) -> None:
    browse(app, ANN)

    app.execute("insert into user_behavior_events (user_id, action_type) values (%s, 'tapped_sun')", (ANN,))


def test_no_single_column_key_between_users_tables_is_left(app: Connection) -> None:
    left = app.execute("""
        select conname from pg_constraint
        where contype = 'f'
            and connamespace = 'public'::regnamespace
            and cardinality(conkey) = 1
            and (confrelid <> 'coach.accounts'::regclass or confdeltype <> 'c')
    """).fetchall()

    assert left == []


def test_an_adopted_row_can_be_deleted_through(app: Connection) -> None:
    app.execute("delete from auth.users where id = %s", (ANN,))

    assert only(app, f"select count(*) from tasks where user_id = '{ANN}'") == 0
    assert count(app, "pillars") == 1


async def test_the_server_finds_its_types_where_the_extension_lies_elsewhere(adopted: Any) -> None:
    database = Database(adopted.server_url)
    await database.open()
    async with database.as_user(UUID(ANN)) as tx:
        found = await tx.execute("select embedding <=> embedding from user_metadata_embeddings limit 1")
        assert await found.fetchone() == (0.0,)
    await database.close()
