"""The quota's calendar and thresholds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from coach.chat.quota import month_of, resets_at, told, warning


@pytest.mark.parametrize(
    ("used", "percent"), [(199, None), (200, 80), (237, 80), (238, 95), (249, 95), (250, 100), (251, 100)]
)
def test_thresholds_of_250(used: int, percent: int | None) -> None:
    assert warning(used, 250) == percent


def test_months_are_utc() -> None:
    late = datetime(2026, 3, 31, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert month_of(late) == date(2026, 4, 1)


@pytest.mark.parametrize(
    ("month", "reset"),
    [(date(2026, 3, 1), datetime(2026, 4, 1, tzinfo=UTC)), (date(2026, 12, 1), datetime(2027, 1, 1, tzinfo=UTC))],
)
def test_a_month_ends_where_the_next_begins(month: date, reset: datetime) -> None:
    assert resets_at(month) == reset


def test_nothing_remains_past_the_limit() -> None:
    assert told(251, 250, date(2026, 3, 1)).remaining == 0
