"""When a row that failed is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from coach.pipeline.queue import ATTEMPTS, LONGEST_BACKOFF, backoff, not_before

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(("failures", "longest"), [(0, 1), (1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (60, 30)])
def test_each_failure_doubles_the_wait_up_to_half_a_minute(failures: int, longest: float) -> None:
    waits = [backoff(failures) for _ in range(200)]

    assert all(longest / 2 <= wait <= longest for wait in waits)
    assert longest <= LONGEST_BACKOFF


def test_no_two_workers_come_back_at_the_same_moment() -> None:
    assert len({backoff(4) for _ in range(50)}) == 50


def test_the_eighth_failure_is_the_last() -> None:
    assert all(NOW < not_before(attempts, NOW) <= NOW + timedelta(seconds=30) for attempts in range(1, ATTEMPTS))  # type: ignore[operator]
    assert not_before(ATTEMPTS, NOW) == "infinity"
