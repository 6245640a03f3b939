"""Rate limits, to the request."""

from __future__ import annotations

from uuid import uuid4

import pytest

from coach.errors import RateLimited
from coach.identity import rate as rates
from coach.identity.rate import RateLimiter


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_burst_is_granted_and_then_the_pace(clock):
    rate, ann = RateLimiter(per_minute=60, burst=5, clock=clock), uuid4()
    for _ in range(5):
        rate.take(ann)

    with pytest.raises(RateLimited) as refused:
        rate.take(ann)

    assert refused.value.retry_after == pytest.approx(1.0)
    assert refused.value.per_minute == 60
    clock.now += 1.0
    rate.take(ann)


def test_one_that_keeps_asking_is_still_let_in_at_the_pace(clock):
    rate, ann = RateLimiter(per_minute=60, burst=1, clock=clock), uuid4()
    granted = 0
    for _ in range(1_000):
        clock.now += 0.01
        try:
            rate.take(ann)
            granted += 1
        except RateLimited:
            continue
    assert granted == pytest.approx(10, abs=1)


def test_a_rate_limited_user_delays_no_other(clock):
    rate = RateLimiter(per_minute=60, burst=1, clock=clock)
    rate.take(uuid4())
    rate.take(uuid4())


def test_waiting_long_does_not_save_up_more_than_a_burst(clock):
    rate, ann = RateLimiter(per_minute=60, burst=2, clock=clock), uuid4()
    rate.take(ann)
    clock.now += 1e6
    rate.take(ann)
    rate.take(ann)
    with pytest.raises(RateLimited):
        rate.take(ann)


def test_memory_is_bounded_and_the_longest_unseen_is_forgotten(clock, monkeypatch):
    monkeypatch.setattr(rates, "MAX_REMEMBERED", 10)
    rate, first = RateLimiter(per_minute=60, burst=1, clock=clock), uuid4()
    rate.take(first)
    for _ in range(10):
        rate.take(uuid4())

    rate.take(first)
    assert len(rate._buckets) == 10
