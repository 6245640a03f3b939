"""More requests than one person can make."""

from __future__ import annotations

import pytest

from coach.identity.rate import RateLimiter
from tests.live.conftest import serving


@pytest.fixture(scope="module")
def coach_url(coach_settings):
    with serving(coach_settings, rate=RateLimiter(per_minute=6, burst=3)) as url:
        yield url


async def test_only_a_too_fast_user_gets_retry_after(person):
    hasty, other = await person(), await person()
    for _ in range(3):
        assert (await hasty.gets("/api/me/quota")).status_code == 200

    refused = await hasty.gets("/api/me/quota")

    assert refused.status_code == 429
    assert refused.json()["type"] == "/problems/rate-limited"
    assert refused.headers["ratelimit-limit"] == "6"
    assert refused.headers["ratelimit-remaining"] == "0"
    assert 1 <= int(refused.headers["retry-after"]) <= 10
    assert (await other.gets("/api/me/quota")).status_code == 200


async def test_a_refused_question_costs_nothing(person, owner):
    ann = await person()
    for _ in range(3):
        await ann.gets("/api/chat/nothing/stream")

    assert (await ann.asks("Hello")).status == 429

    found = await owner.execute("select count(*) from ai_interactions where user_id = %s", (ann.user_id,))
    assert await found.fetchone() == (0,)
