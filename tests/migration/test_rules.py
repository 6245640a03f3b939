"""What the database holds by itself, whoever writes: keys, deletes, metric points, zones, names, consents."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.errors import InvalidParameterValue

Owner = AsyncConnection[Any]
Tables = dict[str, sql.Identifier]
Furnish = Callable[[], Awaitable[UUID]]


async def value(connection: AsyncConnection[Any], query: str, *values: object) -> Any:
    row = await (await connection.execute(query.encode(), values)).fetchone()
    return row and row[0]


@pytest.fixture
def browser(owner_url: str) -> Any:
    """``async with browser(user) as connection``: what a browser does, committed."""

    @asynccontextmanager
    async def act(user: UUID) -> Any:
        async with await AsyncConnection.connect(owner_url) as connection:
            await connection.execute("set local role authenticated")
            claims = json.dumps({"sub": str(user), "role": "authenticated"})
            await connection.execute(sql.SQL('set local "request.jwt.claims" = {}').format(sql.Literal(claims)))
            yield connection

    return act


async def test_an_account_goes_with_everything_of_it_and_nothing_of_others(
    owner: Owner, furnished: Furnish, tables: Tables
) -> None:
    ann, ben = await furnished(), await furnished()
    await owner.execute("insert into tasks (user_id, parent_task_id, name) values (%s, %s, 'sub')", (ann, ann))
    await owner.execute("insert into areas (user_id, pillar_id, name) values (%s, %s, 'Sleep')", (ann, ann))
    await owner.execute(
        """
        insert into ai_conversation_memory (user_id, conversation_id, parent_id, message_role, message_content)
        values (%s, %s, %s, 'user', 'and then?')
        """,
        (ann, ann, ann),
    )

    await owner.execute("delete from auth.users where id = %s", (ann,))

    for name, table in tables.items():
        key = sql.Identifier("id" if name == "user_profiles" else "user_id")
        count = sql.SQL(
            "select count(*) filter (where {key} = {ann}), count(*) filter (where {key} = {ben}) from {table}"
        )
        found = await owner.execute(count.format(key=key, ann=sql.Literal(ann), ben=sql.Literal(ben), table=table))
        assert await found.fetchone() == (0, 1), name


async def test_the_areas_of_a_deleted_pillar_stay(owner: Owner, furnished: Furnish, browser: Any) -> None:
    ann = await furnished()

    async with browser(ann) as connection:
        await connection.execute("delete from pillars where user_id = %s", (ann,))

    row = await owner.execute("select pillar_id, name from areas where user_id = %s", (ann,))
    assert await row.fetchone() == (None, "Running")


async def test_an_area_takes_projects_tasks_sub_tasks_and_their_vectors_along(
    owner: Owner, furnished: Furnish, browser: Any
) -> None:
    ann, ben = await furnished(), await furnished()
    await owner.execute("insert into tasks (user_id, parent_task_id, name) values (%s, %s, 'sub')", (ann, ann))

    async with browser(ann) as connection:
        await connection.execute("delete from areas where user_id = %s", (ann,))

    assert await value(owner, "select count(*) from tasks where user_id = %s", ann) == 0
    assert await value(owner, "select count(*) from user_metadata_embeddings where user_id = %s", ann) == 0
    assert await value(owner, "select count(*) from user_metadata_embeddings where user_id = %s", ben) == 1


async def test_deleting_ten_thousand_tasks_with_vectors_is_quick(owner: Owner, furnished: Furnish) -> None:
    ann = await furnished()
    await owner.execute(
        "insert into tasks (user_id, project_id, name) select %s, %s, n::text from generate_series(1, 10000) n",
        (ann, ann),
    )
    await owner.execute(
        """
        insert into user_metadata_embeddings (user_id, domain_tag, entity_id, text_snippet, embedding, embedding_model)
        select user_id, 'task', id, name, array_fill(0.1::real, array[1536])::vector(1536)::halfvec(1536), 'other'
        from tasks
        where user_id = %s
        """,
        (ann,),
    )
    await owner.execute("analyze tasks, user_metadata_embeddings")

    started = datetime.now(UTC)
    await owner.execute("delete from projects where user_id = %s", (ann,))

    # 0.1 s with the indexes, minutes without.
    assert datetime.now(UTC) - started < timedelta(seconds=5)
    assert await value(owner, "select count(*) from user_metadata_embeddings where user_id = %s", ann) == 0


async def test_a_conversation_takes_its_messages_and_their_answers_along(owner: Owner, furnished: Furnish) -> None:
    ann = await furnished()

    await owner.execute("delete from conversations where user_id = %s", (ann,))

    for table in (
        "ai_conversation_memory",
        "message_embeddings",
        "turn_checkpoints",
        "coaching_sessions",
        "commitments",
    ):
        assert await value(owner, f"select count(*) from {table} where user_id = %s", ann) == 0
    assert await value(owner, "select count(*) from ai_interactions where user_id = %s", ann) == 1


async def test_a_deleted_journal_entry_is_forgotten_at_once(owner: Owner, furnished: Furnish) -> None:
    ann = await furnished()
    await owner.execute(
        "update user_metadata_embeddings set domain_tag = 'journal_entry', entity_id = %s where user_id = %s",
        (ann, ann),
    )

    await owner.execute("update journal_entries set deleted = true where user_id = %s", (ann,))

    assert await value(owner, "select count(*) from user_metadata_embeddings where user_id = %s", ann) == 0


NOW = datetime.now(UTC)
GOOD = {"timestamp": NOW.isoformat(), "alignment_score": 0.78, "sentiment": -0.65, "focus_time_minutes": 120}
BAD: list[Any] = [
    {},
    {"nothing": 1},
    "text",
    None,
    [7],
    ["x"],
    [[]],
    [{"alignment_score": 0.5}],
    [{**GOOD, "timestamp": "yesterday"}],
    [{**GOOD, "timestamp": "now"}],
    [{**GOOD, "timestamp": "infinity"}],
    [{**GOOD, "timestamp": "2026-02-30T00:00:00Z"}],
    [{**GOOD, "timestamp": 1758000000}],
    [{**GOOD, "alignment_score": 1.01}],
    [{**GOOD, "alignment_score": "0.5"}],
    [{**GOOD, "sentiment": -1.5}],
    [{**GOOD, "habit_strength": -0.1}],
    [{**GOOD, "energy_level": True}],
    [{**GOOD, "focus_time_minutes": -1}],
    [GOOD, {**GOOD, "focus_time_minutes": 1e300}],
]


@pytest.mark.parametrize("metrics", BAD, ids=json.dumps)
@pytest.mark.parametrize("table", ["pillars", "areas"])
async def test_bad_metric_points_are_refused(furnished: Furnish, browser: Any, table: str, metrics: Any) -> None:
    ann = await furnished()

    with pytest.raises((InvalidParameterValue, psycopg.errors.NotNullViolation), match="behavior_metrics"):
        async with browser(ann) as connection:
            await connection.execute(
                f"update {table} set behavior_metrics = %s::jsonb".encode(), (json.dumps(metrics),)
            )


async def test_metric_points_are_kept_in_order_and_only_as_long_as_the_user_wants(
    owner: Owner, furnished: Furnish, browser: Any
) -> None:
    ann = await furnished()
    await owner.execute("update user_analytics_preferences set data_retention_days = 90 where user_id = %s", (ann,))
    points = [{"timestamp": (NOW - timedelta(days=age)).isoformat()} for age in (1, 100, 0, 89)]

    async with browser(ann) as connection:
        await connection.execute("update pillars set behavior_metrics = %s::jsonb", (json.dumps(points),))

    kept = await value(owner, "select behavior_metrics from pillars where user_id = %s", ann)
    assert kept == [points[3], points[0], points[2]]


async def test_without_consent_metrics_are_refused_but_may_be_taken_away(furnished: Furnish, browser: Any) -> None:
    ann = await furnished()
    async with browser(ann) as connection:
        await connection.execute("update pillars set behavior_metrics = %s::jsonb", (json.dumps([GOOD]),))
        await connection.execute("update user_analytics_preferences set track_pillar_metrics = false")

    with pytest.raises(psycopg.Error, match="track_pillar_metrics") as refusal:
        async with browser(ann) as connection:
            await connection.execute(
                "update pillars set behavior_metrics = %s::jsonb", (json.dumps([GOOD, {**GOOD, "sentiment": 0}]),)
            )
    assert refusal.value.sqlstate == "CA002"
    async with browser(ann) as connection:
        await connection.execute("update pillars set behavior_metrics = '[]', name = 'Body'")


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "", "A/B3", "EST5", "posix/UTC", "localtime", "+02:00", "europe/berlin"]
)
async def test_a_time_zone_that_is_none_is_refused(furnished: Furnish, browser: Any, zone: str) -> None:
    ann = await furnished()

    with pytest.raises(InvalidParameterValue, match="timezone"):
        async with browser(ann) as connection:
            await connection.execute("update user_profiles set timezone = %s", (zone,))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+3"])
async def test_iana_time_zones_are_taken(furnished: Furnish, browser: Any, zone: str) -> None:
    ann = await furnished()

    async with browser(ann) as connection:
        await connection.execute("update user_profiles set timezone = %s", (zone,))


async def test_a_username_changes_once_in_seven_days(owner: Owner, furnished: Furnish, browser: Any) -> None:
    ann = await furnished()
    names = [f"{name}{ann.hex[:8]}" for name in ("ann", "anna", "annie")]
    async with browser(ann) as connection:
        await connection.execute("update user_profiles set username = %s", (names[0],))
        await connection.execute("update user_profiles set username = %s", (names[1],))

    for wish in (names[2], None):
        with pytest.raises(psycopg.Error, match="every 7 days") as refusal:
            async with browser(ann) as connection:
                await connection.execute("update user_profiles set username = %s", (wish,))
        assert refusal.value.sqlstate == "CA001"
        assert datetime.fromisoformat(refusal.value.diag.message_detail or "") > NOW + timedelta(days=6)

    await owner.execute(
        "update user_profiles set last_username_change = now() - interval '7 days 1 s' where id = %s", (ann,)
    )
    async with browser(ann) as connection:
        await connection.execute("update user_profiles set username = %s", (names[2],))
    assert await value(owner, "select username from coach.usernames where user_id = %s", ann) == names[2]


async def test_a_username_is_unique_whatever_its_case_and_free_again_after_its_user(
    owner: Owner, furnished: Furnish, browser: Any
) -> None:
    ann, ben = await furnished(), await furnished()
    name = f"Ann{ann.hex[:8]}"
    async with browser(ann) as connection:
        await connection.execute("update user_profiles set username = %s", (name,))

    with pytest.raises(psycopg.errors.UniqueViolation):
        async with browser(ben) as connection:
            await connection.execute("update user_profiles set username = %s", (name.upper(),))
    await owner.execute("delete from auth.users where id = %s", (ann,))
    async with browser(ben) as connection:
        await connection.execute("update user_profiles set username = %s", (name.upper(),))


KINDS = {
    "flow_entry": "track_flow_states",
    "flow_exit": "track_flow_states",
    "flow_session": "track_flow_states",
    "procrastination_trigger": "track_flow_states",
    "context_switch": "track_flow_states",
    "search": "track_search_queries",
    "navigation": "track_navigation_patterns",
    "ai_insight": "track_ai_insights_usage",
    "ai_action": "track_ai_actions_usage",
    "goal_planner": "track_goal_planner_usage",
}
EVENT = "insert into user_behavior_events (user_id, action_type) values (%s, %s)"


@pytest.mark.parametrize(("kind", "consent"), KINDS.items())
async def test_an_event_is_stored_with_its_consent_only(
    owner: Owner, furnished: Furnish, browser: Any, kind: str, consent: str
) -> None:
    ann = await furnished()
    consented = sql.SQL("update user_analytics_preferences set {} = %s").format(sql.Identifier(consent))
    async with browser(ann) as connection:
        await connection.execute(consented, (True,))
        await connection.execute(EVENT, (ann, kind))
        await connection.execute(consented, (False,))

    with pytest.raises(psycopg.Error, match=consent) as refusal:
        async with browser(ann) as connection:
            await connection.execute(EVENT, (ann, kind))

    assert refusal.value.sqlstate == "CA002"


async def test_searches_are_not_stored_by_default_and_flow_is(owner: Owner, browser: Any, new_user: Any) -> None:
    ann = await new_user()

    async with browser(ann) as connection:
        await connection.execute(EVENT, (ann, "flow_entry"))
    with pytest.raises(psycopg.Error, match="track_search_queries"):
        async with browser(ann) as connection:
            await connection.execute(EVENT, (ann, "search"))


@pytest.mark.parametrize("kind", ["", "flow_entry ", "FLOW_ENTRY", "anything", "flow_nonsense"])
async def test_an_unknown_kind_of_event_is_refused(furnished: Furnish, browser: Any, kind: str) -> None:
    ann = await furnished()

    with pytest.raises(InvalidParameterValue, match="action_type"):
        async with browser(ann) as connection:
            await connection.execute(EVENT, (ann, kind))


@pytest.mark.parametrize(
    ("consent", "ai_feature"), [("analytics_consent", None), ("ai_behavior_tracking", "goal_coaching")]
)
async def test_general_consents_stop_events(furnished: Furnish, browser: Any, consent: str, ai_feature: Any) -> None:
    ann = await furnished()
    async with browser(ann) as connection:
        await connection.execute(f"update user_analytics_preferences set {consent} = false".encode())

    with pytest.raises(psycopg.Error, match=consent):
        async with browser(ann) as connection:
            await connection.execute(
                """
                insert into user_behavior_events (user_id, action_type, ai_feature_type)
                values (%s, 'feature_used', %s)
                """,
                (ann, ai_feature),
            )


async def test_a_browser_cannot_call_a_click_flow(owner: Owner, furnished: Furnish, browser: Any) -> None:
    ann = await furnished()

    async with browser(ann) as connection:
        await connection.execute(
            """
            insert into user_behavior_events (user_id, action_type, flow_state_event)
            values (%s, 'feature_used', true)
            """,
            (ann,),
        )

    query = "select flow_state_event from user_behavior_events where user_id = %s and action_type = %s"
    assert await value(owner, query, ann, "feature_used") is False
    assert await value(owner, query, ann, "flow_entry") is True


async def test_withdrawing_rag_purges_every_vector_and_keeps_the_words(
    owner: Owner, furnished: Furnish, browser: Any
) -> None:
    ann, ben = await furnished(), await furnished()
    for user in (ann, ben):
        await owner.execute(
            """
            update ai_conversation_memory
            set message_embedding = (select embedding from message_embeddings where user_id = %s),
                embedding_model = 'test'
            where user_id = %s
            """,
            (user, user),
        )

    async with browser(ann) as connection:
        await connection.execute("update user_analytics_preferences set record_rag_snippets = false")

    vectors = """
        select (select count(*) from user_metadata_embeddings where user_id = u)
            + (select count(*) from message_embeddings where user_id = u)
            + (select count(*) from embedding_queue where user_id = u)
            + (select count(code) from ai_conversation_memory where user_id = u)
        from (values (%s::uuid)) v (u)
    """
    assert await value(owner, vectors, ann) == 0
    assert await value(owner, vectors, ben) == 4
    assert await value(owner, "select message_content from ai_conversation_memory where user_id = %s", ann) == "Rest"


async def test_withdrawing_behavioral_embeddings_keeps_the_tasks(
    owner: Owner, furnished: Furnish, browser: Any
) -> None:
    ann = await furnished()
    for domain in ("journal_entry", "behavior_summary"):
        await owner.execute(
            """
            insert into user_metadata_embeddings (user_id, domain_tag, text_snippet, embedding, embedding_model)
            select user_id, %s, 'x', embedding, 'test' from message_embeddings where user_id = %s
            """,
            (domain, ann),
        )

    async with browser(ann) as connection:
        await connection.execute("update user_analytics_preferences set store_behavioral_embeddings = false")

    rows = await owner.execute("select domain_tag from user_metadata_embeddings where user_id = %s", (ann,))
    assert await rows.fetchall() == [("task",)]


async def test_withdrawn_consents_empty_the_views_before_any_refresh(
    owner: Owner, furnished: Furnish, browser: Any
) -> None:
    ann = await furnished()
    async with browser(ann) as connection:
        await connection.execute("update pillars set behavior_metrics = %s::jsonb", (json.dumps([GOOD]),))
        await connection.execute("update areas set behavior_metrics = %s::jsonb", (json.dumps([GOOD]),))
    await owner.execute("select refresh_behavior_views()")
    views = ("weekly_pillar_alignment", "area_habit_metrics", "daily_flow_metrics")
    async with browser(ann) as connection:
        assert [await value(connection, f"select count(*) from {view}") for view in views] == [1, 1, 1]
        await connection.execute(
            "update user_analytics_preferences set track_pillar_metrics = false, track_flow_states = false"
        )
        assert [await value(connection, f"select count(*) from {view}") for view in views] == [0, 0, 0]


async def test_one_bad_value_does_not_stop_the_refresh(owner: Owner, furnished: Furnish, browser: Any) -> None:
    ann, ben = await furnished(), await furnished()
    await owner.execute("set session_replication_role = replica")
    await owner.execute(
        """
        update pillars
        set behavior_metrics = '[{"timestamp": "broken"}, 7, {"timestamp": "2026-01-05", "alignment_score": "x"}]'
        where user_id = %s
        """,
        (ann,),
    )
    await owner.execute("update user_profiles set timezone = 'Mars/Olympus' where id = %s", (ann,))
    await owner.execute("update user_profiles set timezone = 'Pacific/Kiritimati' where id = %s", (ben,))
    await owner.execute("update areas set behavior_metrics = '7' where user_id = %s", (ann,))
    await owner.execute("set session_replication_role = origin")
    async with browser(ben) as connection:
        await connection.execute(
            """
            update tasks
            set completed = true,
                completed_at = '294276-12-31 23:59:59Z',
                task_metadata = jsonb_build_object('energy_requirement', (
                    select string_agg(gen_random_uuid()::text, '') from generate_series(1, 1000)
                ))
            """
        )
        for moment in ("294276-12-31 23:59:59Z", "4713-01-01 00:00:00Z BC", "infinity"):
            await connection.execute(
                "insert into user_behavior_events (user_id, action_type, timestamp) values (%s, 'flow_exit', %s)",
                (ben, moment),
            )
        await connection.execute(
            """
            insert into tasks (user_id, name, completed, completed_at, task_metadata)
            values (%s, 'x', true, now(), '[7]')
            """,
            (ben,),
        )
    async with browser(ben) as connection:
        await connection.execute("update pillars set behavior_metrics = %s::jsonb", (json.dumps([GOOD]),))

    await owner.execute("truncate coach.system_log")
    await owner.execute("select refresh_behavior_views()")

    log = await owner.execute("select distinct webhook_type, status, error_message from coach.system_log")
    assert await log.fetchall() == [("view_refresh", "completed", None)]
    async with browser(ben) as connection:
        assert await value(connection, "select avg_alignment from weekly_pillar_alignment") is not None


async def test_a_failing_view_is_logged_and_the_others_are_refreshed(owner: Owner, furnished: Furnish) -> None:
    await furnished()
    await owner.execute(
        "create materialized view coach.broken as select 1 / count(*) as n from coach.erasure_receipts with no data"
    )
    try:
        await owner.execute("truncate coach.system_log")
        await owner.execute("select refresh_behavior_views()")
    finally:
        await owner.execute("drop materialized view coach.broken")

    log = await owner.execute("select table_name, error_message from coach.system_log where status = 'error'")
    assert await log.fetchall() == [("broken", "division by zero")]
    assert await value(owner, "select count(*) from coach.system_log where status = 'completed'") == 4


@pytest.mark.parametrize(
    ("used", "reserved", "limit", "expected"),
    [
        (0, 0, None, (True, 250, 0, False)),
        (200, 49, None, (True, 1, 249, False)),
        (249, 1, None, (False, 0, 250, True)),
        (300, 0, None, (False, 0, 300, True)),
        (5, 0, 5, (False, 0, 5, True)),
        (0, 0, 0, (False, 0, 0, True)),
    ],
)
async def test_the_quota_of_the_month(
    owner: Owner, new_user: Any, browser: Any, used: int, reserved: int, limit: int | None, expected: tuple[object, ...]
) -> None:
    ann = await new_user()
    await owner.execute(
        "insert into ai_quota_months (user_id, month, used, reserved) values (%s, coach.current_month(), %s, %s)",
        (ann, used, reserved),
    )
    if limit is not None:
        await owner.execute("insert into coach.ai_limits (user_id, monthly_limit) values (%s, %s)", (ann, limit))

    async with browser(ann) as connection:
        answer = await connection.execute("select * from check_ai_quota_available(%s)", (ann,))
        assert await answer.fetchone() == expected


async def test_the_usage_of_the_month_by_feature(owner: Owner, new_user: Any, browser: Any) -> None:
    ann = await new_user()
    await owner.execute(
        """
        insert into ai_interactions
            (user_id, feature_type, tokens_used, processing_time_ms, status, success, created_at)
        values
            (%(ann)s, 'goal_coaching', 10, 100, 'completed', true, now()),
            (%(ann)s, 'goal_coaching', 20, 300, 'failed', false, now()),
            (%(ann)s, 'hrm_analysis', 5, null, 'completed', true, now()),
            (%(ann)s, 'hrm_analysis', 5, 1, 'reserved', true, now()),
            (%(ann)s, 'hrm_analysis', 5, 1, 'completed', true, now() - interval '32 days')
        """,
        {"ann": ann},
    )

    async with browser(ann) as connection:
        answer = await connection.execute(
            """
            select total_interactions, successful_interactions, total_tokens, avg_processing_ms, by_feature
            from get_user_ai_usage_current_month(%s)
            """,
            (ann,),
        )
        assert await answer.fetchone() == (
            3, 2, 35, 200,
            {"goal_coaching": {"interactions": 2, "tokens": 30}, "hrm_analysis": {"interactions": 1, "tokens": 5}},
        )  # fmt: skip


@pytest.mark.parametrize("text", ["the knee " * 60_000, "ü" * 1_000_000, " ".join(uuid4().hex for _ in range(30_000))])
async def test_a_very_long_text_is_still_searchable_by_its_beginning(owner: Owner, new_user: Any, text: str) -> None:
    ann = await new_user()

    await owner.execute(
        "insert into ai_conversation_memory (user_id, message_role, message_content) values (%s, 'user', %s)",
        (ann, f"zebra {text}"),
    )

    query = (
        "select count(*) from ai_conversation_memory where user_id = %s and search @@ to_tsquery('english', 'zebras')"
    )
    assert await value(owner, query, ann) == 1
