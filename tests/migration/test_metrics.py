"""Metric points: checked, ordered, retained and consented to, whoever writes them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.errors import InvalidParameterValue

Owner = AsyncConnection[Any]
Furnish = Callable[[], Awaitable[UUID]]
Value = Callable[..., Awaitable[Any]]


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
    [{**GOOD, "timestamp": "1899-12-31T23:59:59Z"}],
    [{**GOOD, "timestamp": "2201-01-01T00:00:00Z"}],
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


# Named without the moment, or each process that shares the tests would know others.
@pytest.mark.parametrize("metrics", BAD, ids=lambda metrics: json.dumps(metrics).replace(GOOD["timestamp"], "NOW"))
@pytest.mark.parametrize("table", ["pillars", "areas"])
async def test_bad_metric_points_are_refused(furnished: Furnish, browser: Any, table: str, metrics: Any) -> None:
    ann = await furnished()

    with pytest.raises((InvalidParameterValue, psycopg.errors.NotNullViolation), match="behavior_metrics"):
        async with browser(ann) as connection:
            await connection.execute(
                f"update {table} set behavior_metrics = %s::jsonb".encode(), (json.dumps(metrics),)
            )


async def test_metric_points_are_kept_in_order_and_only_as_long_as_the_user_wants(
    owner: Owner, furnished: Furnish, browser: Any, value: Value
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
