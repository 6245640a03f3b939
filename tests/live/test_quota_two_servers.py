"""One turn is left of the month, and 64 people's worth of impatience asks two server processes for it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import httpx
import pytest

from coach.testing.stub_script import Answer, Status
from tests.live.conftest import parts_of

AT_ONCE = 64


@pytest.fixture
async def user_id(new_user):
    return await new_user()


@pytest.fixture
def model_stub(provider):
    """The module's provider, as new."""
    provider.reset()
    return provider


@pytest.fixture(scope="module")
def servers(start_shared_server, provider):
    given = {
        "COACH_OPENAI_BASE_URL": provider.url,
        "COACH_OPENAI_API_KEY": "stub",
        "COACH_CHAT_MODEL": "stub",
        "COACH_EMBEDDING_MODEL": "wordllama",
    }
    return [start_shared_server(**given), start_shared_server(**given)]


async def used_so_far(owner, user_id, used):
    await owner.execute(
        "insert into ai_quota_months (user_id, month, used)"
        " values (%s, date_trunc('month', now() at time zone 'utc'), %s)",
        (user_id, used),
    )


async def counter(owner, user_id):
    rows = await owner.execute("select used, reserved from ai_quota_months where user_id = %s", (user_id,))
    return await rows.fetchall()


async def ask_all(servers, token):
    """Each on a connection of its own, in a conversation of its own, let go at the same moment."""
    async with (
        httpx.AsyncClient(base_url=servers[0].url, timeout=60, limits=httpx.Limits(max_connections=None)) as one,
        httpx.AsyncClient(base_url=servers[1].url, timeout=60, limits=httpx.Limits(max_connections=None)) as two,
    ):
        together = asyncio.Barrier(AT_ONCE)

        async def ask(number):
            message = {"id": f"m{number}", "role": "user", "parts": [{"type": "text", "text": f"Question {number}?"}]}
            await together.wait()
            return await (one, two)[number % 2].post(
                "/api/chat",
                json={"id": f"c{number}", "messages": [message]},
                headers={"authorization": f"Bearer {token}"},
            )

        return await asyncio.gather(*(ask(number) for number in range(AT_ONCE)))


async def test_of_64_at_once_on_two_servers_one_gets_the_last_turn(servers, model_stub, owner, user_id, token_for):
    await used_so_far(owner, user_id, 249)
    model_stub.always(Answer(tokens=10, rate=20))

    answers = await ask_all(servers, token_for(user_id))

    accepted = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert (len(accepted), len(refused)) == (1, AT_ONCE - 1)
    parts = parts_of(accepted[0].text)
    assert "".join(part["delta"] for part in parts if part["type"] == "text-delta") == "".join(Answer(tokens=10).pieces)
    assert parts[-1]["type"] == "finish"
    assert model_stub.calls == 1
    assert await counter(owner, user_id) == [(250, 0)]
    for answer in refused:
        assert_refusal(answer)


def assert_refusal(answer):
    problem = answer.json()
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert problem["type"].endswith("/quota-exhausted")
    assert answer.headers["x-should-retry"] == "false"
    assert (problem["limit"], problem["used"]) == (250, 250)
    left = datetime.fromisoformat(problem["resets_at"]) - datetime.now(UTC)
    assert abs(int(answer.headers["retry-after"]) - left.total_seconds()) < 60


async def test_what_was_accepted_and_what_was_refused_stands_in_the_database(
    servers, model_stub, owner, user_id, token_for
):
    await used_so_far(owner, user_id, 249)

    await ask_all(servers, token_for(user_id))

    rows = await owner.execute(
        "select webhook_type, count(*) from webhook_logs where user_id = %s and table_name = 'ai_quota_months'"
        " group by 1 order by 1",
        (user_id,),
    )
    warnings = await rows.fetchall()
    assert warnings == [("quota_limit_reached", 1), ("quota_warning_80", 1), ("quota_warning_95", 1)]
    rows = await owner.execute("select status, success from ai_interactions where user_id = %s", (user_id,))
    assert await rows.fetchall() == [("completed", True)]
    rows = await owner.execute("select message_role from ai_conversation_memory where user_id = %s", (user_id,))
    assert sorted(await rows.fetchall()) == [("assistant",), ("user",)]


async def test_a_last_turn_without_an_answer_is_given_back_and_can_be_taken_again(
    servers, model_stub, owner, user_id, token_for
):
    await used_so_far(owner, user_id, 249)
    model_stub.always(Status(400, message="no"))
    first = await ask_all(servers, token_for(user_id))

    assert {answer.status_code for answer in first} <= {200, 429, 503}
    assert not any('"finish"' in answer.text for answer in first if answer.status_code == 200)
    assert await counter(owner, user_id) == [(249, 0)]

    model_stub.always(Answer(tokens=3))
    second = await ask_all(servers, token_for(user_id))
    finished = [answer for answer in second if answer.status_code == 200 and '"finish"' in answer.text]
    assert len(finished) == 1
    assert await counter(owner, user_id) == [(250, 0)]
    assert json.loads(next(answer.text for answer in second if answer.status_code == 429))["used"] == 250
