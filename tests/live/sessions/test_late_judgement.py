"""Judgements that a server took along when it stopped, and the worker that makes up for them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import httpx
import pytest

from coach.database.pool import Database
from coach.models.configure import Models
from coach.pipeline.job_runner import enqueue
from coach.sessions.overdue import judge_overdue_sessions
from coach.settings import Settings
from coach.testing.stub_provider import StubProvider
from coach.testing.stub_script import Answer, ChatStep, Stall, Status
from tests.live.conftest import ApiUser
from tests.live.sessions.conftest import Couch, prompt_of
from tests.live.sessions.test_judgement import asked
from tests.live.sockets.conftest import coach_settings, opens
from tests.live.test_worker import start_worker

__all__ = ["coach_settings", "opens", "start_worker"]

YES, NO = Answer('{"done": true}'), Answer('{"done": false}')
SILENCE = Stall(after=1)
TWO_MINUTES = timedelta(minutes=2, seconds=1)


@pytest.fixture
async def couch(ann: ApiUser, provider: StubProvider, owner: Any) -> AsyncIterator[Couch]:
    provider.reset()
    await owner.execute("delete from coaching_sessions")
    yield Couch(ann)
    provider.cut()
    await provider.until(lambda stub: stub.open_streams == 0)


@pytest.fixture
def make_up(operator: Database, owner: Any, coach_settings: Settings) -> Any:
    """``await make_up()``: the job, a while after the last turn was finished."""

    async def run(later: timedelta = TWO_MINUTES) -> None:
        models = Models(coach_settings)
        rows = await owner.execute("select max(updated_at) from ai_conversation_memory where status = 'complete'")
        (finished,) = await rows.fetchone()
        async with aclosing(models):
            await judge_overdue_sessions(operator, finished + later, model=models.default)

    return run


async def lost(couch: Couch, provider: StubProvider, kind: str = "grow") -> None:
    """A turn whose judgement does not come to its end."""
    before = provider.calls
    provider.will(Answer("What do you want?"), SILENCE)
    await couch.says("I want to run a half marathon.", {"type": "start", "kind": kind})
    await provider.until(lambda stub: stub.calls == before + 2)


@pytest.mark.parametrize("worker", ["inside", "apart"])
async def test_a_judgement_that_a_killed_server_took_along_is_made_up_for(
    ann: ApiUser, start_server: Any, start_worker: Any, provider: StubProvider, operator: Database, owner: Any,
    opens: Any, worker: str, worker_url: str,
):  # fmt: skip
    provider.reset()
    environment = {
        "COACH_OPENAI_BASE_URL": provider.url,
        "COACH_OPENAI_API_KEY": "stub",
        "COACH_CHAT_MODEL": "stub",
        "COACH_EMBEDDING_MODEL": "wordllama",
    }
    first = start_server("--no-worker", **environment)
    async with httpx.AsyncClient(base_url=first.url, timeout=30) as client:
        await lost(Couch(ApiUser(ann.user_id, client, ann.token)), provider)
    first.stop(signal.SIGKILL)
    await an_hour_passes(owner, ann)

    if worker == "inside":
        second = start_server(**environment, COACH_WORKER_DATABASE_URL=worker_url)
    else:
        second = start_server("--no-worker", **environment)
        start_worker(**environment)
    wire = await opens(ann, url=second.url)
    provider.will(YES, Answer("Where do you stand?"))
    await enqueue(operator, "judge_sessions")

    # The start may be told as well, where the second server came within the clocks' allowance of a second.
    told = (await wire.until(lambda f: f["type"] == "session" and f["session"]["steps"][1:]))[-1]["session"]
    assert (told["stage"], [step["cause"] for step in told["steps"]]) == ("reality", ["started", "judged"])
    async with httpx.AsyncClient(base_url=second.url, timeout=30) as client:
        after = Couch(ApiUser(ann.user_id, client, ann.token))
        assert prompt_of(await after.says("I run twice a week.")) == "session_grow_reality@1"


async def an_hour_passes(owner: Any, person: ApiUser) -> None:
    await owner.execute(
        "update coaching_sessions set started_at = started_at - interval '1 hour', steps = jsonb_set("
        "steps, '{0,at}', to_jsonb((steps -> 0 ->> 'at')::timestamptz - interval '1 hour')) where user_id = %s",
        (person.user_id,),
    )
    await owner.execute(
        "update ai_conversation_memory set created_at = created_at - interval '1 hour',"
        " updated_at = updated_at - interval '1 hour' where user_id = %s",
        (person.user_id,),
    )


async def test_it_is_left_two_minutes_to_the_server_that_finished_the_turn(
    couch: Couch, provider: StubProvider, make_up: Any
):
    await lost(couch, provider)
    provider.will(YES)

    await make_up(timedelta(minutes=1, seconds=59))
    assert (await couch.session())["stage"] == "goal"
    await make_up()

    assert (await couch.session())["stage"] == "reality"


async def test_what_was_judged_is_not_asked_about_again(couch: Couch, provider: StubProvider, make_up: Any, owner: Any):
    provider.will(Answer("What do you want?"), NO)
    await couch.starts()
    await judged(owner, couch)

    await make_up()

    assert provider.calls == 2
    await lost(couch, provider)
    provider.will(NO)
    await make_up()
    await make_up()
    assert provider.calls == 5


async def judged(owner: Any, couch: Couch) -> None:
    for _ in range(400):
        rows = await owner.execute(
            "select judged_at from coaching_sessions where user_id = %s", (couch.person.user_id,)
        )
        if (await rows.fetchone())[0] is not None:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it was not judged")


@pytest.mark.parametrize("verdict", [Answer("Yes!"), Status(403), Status(429, retry_after=30)])
async def test_a_verdict_that_is_none_waits_for_the_next_turn(
    couch: Couch, provider: StubProvider, make_up: Any, verdict: ChatStep
):
    await lost(couch, provider)
    provider.will(verdict)

    await make_up()
    await make_up()

    assert provider.calls == 3
    assert (await couch.session())["stage"] == "goal"


async def test_the_last_stage_ends_in_a_summary(couch: Couch, provider: StubProvider, make_up: Any):
    await couch.starts("daily_checkin")
    for turn in (1, 2):
        await asked(provider, 2 * turn)  # or there is nothing to judge any more
        await couch.says("On.", {"type": "advance"})
    await asked(provider, 6)
    await lost(couch, provider, "daily_checkin")
    provider.will(YES, Answer('{"summary": "Ann calls Tom.", "commitments": [{"title": "Call Tom"}]}'))

    await make_up()

    ended = await couch.session()
    assert (ended["status"], ended["summary"]) == ("ended", "Ann calls Tom.")
    assert [each["title"] for each in ended["commitments"]] == ["Call Tom"]


async def test_a_free_session_is_not_judged(couch: Couch, provider: StubProvider, make_up: Any):
    await couch.starts("free")

    await make_up()

    assert provider.calls == 1
