"""The behaviour views and their refresh, the month's quota and usage, and what is searchable."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection

Owner = AsyncConnection[Any]
Furnish = Callable[[], Awaitable[UUID]]
Value = Callable[..., Awaitable[Any]]


NOW = datetime.now(UTC)
GOOD = {"timestamp": NOW.isoformat(), "alignment_score": 0.78, "sentiment": -0.65, "focus_time_minutes": 120}


async def test_withdrawn_consents_empty_the_views_before_any_refresh(
    owner: Owner, furnished: Furnish, browser: Any, value: Value
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


async def test_one_bad_value_does_not_stop_the_refresh(
    owner: Owner, furnished: Furnish, browser: Any, value: Value
) -> None:
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
                completed_at = '2200-12-31 23:59:59Z',
                task_metadata = jsonb_build_object('energy_requirement', (
                    select string_agg(gen_random_uuid()::text, '') from generate_series(1, 400)
                ))
            """
        )
        for moment in ("2200-12-31 23:59:59Z", "1900-01-01 00:00:00Z"):
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


async def test_a_failing_view_is_logged_and_the_others_are_refreshed(
    owner: Owner, furnished: Furnish, value: Value
) -> None:
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


@pytest.mark.parametrize(("word", "times"), [("the knee ", 60_000), ("ü", 1_000_000), (None, 30_000)])
async def test_a_very_long_text_is_still_searchable_by_its_beginning(
    owner: Owner, new_user: Any, word: str | None, times: int, value: Value
) -> None:
    ann = await new_user()
    text = word * times if word else " ".join(uuid4().hex for _ in range(times))

    await owner.execute(
        "insert into ai_conversation_memory (user_id, message_role, message_content) values (%s, 'user', %s)",
        (ann, f"zebra {text}"),
    )

    query = (
        "select count(*) from ai_conversation_memory where user_id = %s and search @@ to_tsquery('english', 'zebras')"
    )
    assert await value(owner, query, ann) == 1
