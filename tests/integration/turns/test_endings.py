"""Whatever an answer ends with: one terminal event, a settled unit, and a turn that runs no more."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from coach.chat import checkpoints, endings, turn
from coach.chat.cap import AnswerCap
from coach.chat.events import Failed, Finished, Interrupted, ReasoningDelta, Terminal
from coach.chat.settling import close_orphan
from coach.errors import RateLimited
from coach.models.endings import MOST_TOKENS
from coach.testing.stub_provider import StubProvider
from coach.testing.stub_script import Answer, Body, Garbage, Status
from tests.integration.turns.conftest import Coach, begun, read, text_of

LONG = Answer(tokens=2_000, rate=30.0)
ABSURD = ("-5", "1e400", "99999999999999999999999999", "2.5", "null", '"many"', "9223372036854775807", "[]")


def terminals(events: list[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, Terminal)]


@pytest.mark.parametrize("figure", ABSURD)
async def test_absurd_usage_ends_no_turn_badly(coach: Coach, model_stub: StubProvider, figure: str) -> None:
    usage = f'{{"prompt_tokens":{figure},"completion_tokens":{figure},"total_tokens":{figure}}}'
    line = f'data: {{"choices":[{{"index":0,"delta":{{"content":"Rest."}},"finish_reason":"stop"}}],"usage":{usage}}}'
    model_stub.will(Body(f"{line}\n\ndata: [DONE]\n\n", "text/event-stream"))

    events = await read(await coach.begin("u1"))

    assert [type(event) for event in terminals(events)] == [Finished]
    assert await coach.quota() == (1, 0)
    rows = await coach.rows("select input_tokens, output_tokens from ai_interactions where user_id = %(user)s")
    assert all(0 <= (count or 0) <= MOST_TOKENS for count in rows[0])
    await coach.settled()


async def test_an_ending_that_no_row_takes_is_stored_as_a_failure(coach: Coach, model_stub: StubProvider) -> None:
    model_stub.will(Answer(text="Unstorable words."))
    await coach.owner.execute(
        "alter table ai_conversation_memory add constraint no_such_ending"
        " check (message_content not like 'Unstorable%' or status <> 'complete')"
    )
    try:
        with capture_logs() as logs:
            events = await read(await coach.begin("u1"))
    finally:
        await coach.owner.execute("alter table ai_conversation_memory drop constraint no_such_ending")

    assert [type(event) for event in terminals(events)] == [Failed]
    assert await coach.answers() == [("failed", "Unstorable words.")]
    assert await coach.quota() == (1, 0)
    assert [line["log_level"] for line in logs if line["event"] == "ending_not_stored"] == ["error"]
    assert "Unstorable" not in repr(logs)
    await coach.settled()


@pytest.mark.parametrize("broken", ["check", "complete", "store", "least"])
async def test_whatever_breaks_in_an_ending_readers_hear_one_end(
    coach: Coach, model_stub: StubProvider, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def breaks(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(endings, broken, breaks)
    if broken == "least":
        monkeypatch.setattr(endings, "complete", breaks)
    model_stub.will(Answer(tokens=3))

    with capture_logs() as logs:
        events = await read(await coach.begin("u1"))

    assert len(terminals(events)) == 1
    assert coach.turns.running == 0
    assert "error" in {line["log_level"] for line in logs}


@pytest.mark.parametrize("text", ["a\\u0000b", "a\\ud83d", "\\udc00\\udc00"])
async def test_an_answer_of_what_no_row_can_hold_is_stored(coach: Coach, model_stub: StubProvider, text: str) -> None:
    line = f'data: {{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}'
    model_stub.will(Garbage(after=1, line=line))

    events = await read(await coach.begin("u1"))

    assert isinstance(events[-1], Finished)
    assert [(status, "\0" in said) for status, said in await coach.answers()] == [("complete", False)]
    await coach.settled()


async def test_a_checkpoint_that_no_row_takes_leaves_the_others_and_its_own_heartbeat(
    coach: Coach, new_user: Any, model_stub: StubProvider
) -> None:
    model_stub.always(Answer(tokens=400, rate=100.0))
    other = Coach(coach.turns, await new_user(), coach.owner)
    constraint = f"check (user_id <> '{coach.user}' or content = '')"
    await coach.owner.execute(f"alter table turn_checkpoints add constraint no_such_text {constraint}")
    try:
        readers = [await coach.begin("m1"), await other.begin("m1")]
        for reader in readers:
            await begun(reader)
        await coach.owner.execute("update turn_checkpoints set heartbeat = heartbeat - interval '1 minute'")
        for each in (coach, other):
            await beats(each)
    finally:
        await coach.owner.execute("alter table turn_checkpoints drop constraint no_such_text")
    await coach.turns.drain(0)


async def beats(coach: Coach) -> None:
    recent = "select 1 from turn_checkpoints where user_id = %(user)s and heartbeat > now() - interval '30 seconds'"
    async with asyncio.timeout(20):
        while not await coach.rows(recent):  # noqa: ASYNC110 - rows set no event
            await asyncio.sleep(0.05)


async def test_a_turn_of_this_process_is_no_orphan_however_late_its_heartbeat(
    coach: Coach, model_stub: StubProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 3_600.0)
    model_stub.will(LONG)
    reader = await coach.begin("u1")
    await begun(reader)
    ((answer_id,),) = await coach.rows("select message_id from turn_checkpoints where user_id = %(user)s")

    closed = await close_orphan(coach.turns._db, coach.user, answer_id, coach.turns.clock() + timedelta(minutes=1))

    assert not closed
    await coach.turns.stop(coach.user, "c1")
    await coach.settled()


async def test_an_answer_past_its_cap_ends_with_length_and_closes_the_upstream(
    make_coach: Any, model_stub: StubProvider
) -> None:
    coach: Coach = await make_coach(cap=AnswerCap(bytes=40))
    model_stub.will(LONG)

    events = await read(await coach.begin("u1"))

    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "length"
    assert len(text_of(events)) == 40
    await model_stub.until(lambda stub: stub.open_streams == 0)
    assert [status for status, _ in await coach.answers()] == ["complete"]
    await coach.settled()


async def test_what_the_model_thinks_is_streamed_and_stored_nowhere(coach: Coach, model_stub: StubProvider) -> None:
    line = 'data: {"choices":[{"index":0,"delta":{"reasoning_content":"A zeppelin of a thought."}}]}'
    model_stub.will(Garbage(after=0, line=line), Answer(text="And so on."))

    events = await read(await coach.begin("u1"))
    await coach.settled()
    replayed = await read(await coach.begin("u1"))
    await read(await coach.begin("u2", "Go on."))

    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == "A zeppelin of a thought."
    assert "zeppelin" not in text_of(events)
    assert not [event for event in replayed if isinstance(event, ReasoningDelta)]
    assert "zeppelin" not in repr(model_stub.requests[-1].body)
    rows = await coach.rows(
        "select to_jsonb(m)::text || coalesce((select string_agg(to_jsonb(i)::text, '') from ai_interactions i"
        " where i.user_id = m.user_id), '') from ai_conversation_memory m where user_id = %(user)s"
    )
    assert rows
    assert "zeppelin" not in repr(rows)


async def test_one_turn_more_than_may_run_is_refused_a_repeat_joins_and_another_user_does_not_mind(
    make_coach: Any, new_user: Any, model_stub: StubProvider
) -> None:
    coach: Coach = await make_coach(at_once=2)
    model_stub.always(LONG)
    readers = [await coach.begin("m1", conversation_id=f"c{number}") for number in range(2)]
    for reader in readers:
        await begun(reader)
    calls = model_stub.calls

    with pytest.raises(RateLimited) as refused:
        await coach.begin("m1", conversation_id="c2")

    assert refused.value.retry_after > 0
    assert await coach.quota() == (0, 2)
    assert model_stub.calls == calls
    assert not await coach.rows("select 1 from conversations where user_id = %(user)s and client_id = 'c2'")
    await begun(await coach.begin("m1", conversation_id="c1"))  # a repeat
    await begun(await coach.begin("m2", "And now?", conversation_id="c1"))  # takes the place of the one that runs
    other = Coach(coach.turns, await new_user(), coach.owner)
    await begun(await other.begin("m1"))
    await coach.turns.drain(0)
    assert [type((await read(reader))[-1]) for reader in readers] == [Interrupted, Interrupted]


async def test_of_one_users_turns_a_few_may_wait_to_begin(
    coach: Coach, model_stub: StubProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "WAITING", 2)
    gate = coach.turns._runner._openings
    for _ in range(turn.OPENINGS):
        await gate.enter("others")
    first = [asyncio.create_task(coach.begin(f"m{number}", conversation_id=f"c{number}")) for number in range(2)]
    async with asyncio.timeout(10):
        while gate.waiting(coach.user) < 2:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0)

    with pytest.raises(RateLimited, match="wait to begin"):
        await coach.begin("m2", conversation_id="c2")

    for _ in range(turn.OPENINGS):
        gate.leave()
    assert [type((await read(await begins))[-1]) for begins in first] == [Finished, Finished]
    await coach.settled()


async def test_after_a_failed_turn_roles_still_alternate(coach: Coach, model_stub: StubProvider) -> None:
    model_stub.will(Status(401), Answer(text="Rest."))
    assert isinstance((await read(await coach.begin("m1", "My knee aches.")))[-1], Failed)

    await read(await coach.begin("m2", "What now?"))

    sent = model_stub.requests[-1].body["messages"]
    assert [message["role"] for message in sent] == ["system", "user"]
    assert "My knee aches." in sent[-1]["content"]
    assert "What now?" in sent[-1]["content"]
    await coach.settled()
