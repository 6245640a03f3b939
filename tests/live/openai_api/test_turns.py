"""Whose turn it is: callers that leave, call at once, or try again."""

from __future__ import annotations

import asyncio
import time

import httpx
import openai
import pytest

from coach.chat import readers
from coach.testing.stub_script import Answer, Stall, Status
from tests.live.openai_api.conftest import completion, data_of, post, said

RETRY = {"x_stainless_retry_count": "1"}
SLOW = Answer(tokens=20, rate=20)


async def leave(url, person, body, stub, *, after=0):
    """Ask on a connection of its own and go away: once ``after`` bytes have come, or once the model has been asked."""
    asked = stub.calls
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        if not body.get("stream"):
            asking = asyncio.create_task(client.post("/v1/chat/completions", json=body, headers=person.headers))
            await stub.until(lambda s: s.calls > asked)
            asking.cancel()
            return
        async with client.stream("POST", "/v1/chat/completions", json=body, headers=person.headers) as response:
            seen = 0
            async for piece in response.aiter_raw():
                seen += len(piece)
                if seen >= after:
                    break


@pytest.mark.parametrize("is_streamed", [True, False])
async def test_a_caller_that_leaves_stops_its_turn_and_the_part_is_kept(ann, stub, rows, coach_url, is_streamed):
    stub.will(Stall(after=3))

    await leave(coach_url, ann, completion(stream=is_streamed), stub, after=1)
    left = time.monotonic()
    await stub.until(lambda s: s.open_streams == 0 and s.closed_early == 1)

    assert time.monotonic() - left < 10  # 0.8 s on a machine that has nothing else to do
    await rows(ann).settled()
    assert (await rows(ann).messages())[-1] == ("assistant", "one small honest ", "interrupted")
    assert await rows(ann).quota() == (1, 0)


async def test_a_caller_that_leaves_at_any_byte_leaves_nothing_running(ann, stub, rows, coach_url):
    stub.always(Answer(tokens=40, rate=400))

    await asyncio.gather(
        *(leave(coach_url, ann, completion(f"Question {n}", stream=True), stub, after=n * 400) for n in range(20))
    )

    await rows(ann).settled()
    await stub.until(lambda s: s.open_streams == 0)
    whole = "".join(Answer(tokens=40).pieces)
    messages = await rows(ann).messages()
    assert [role for role, _, _ in messages].count("user") == [role for role, _, _ in messages].count("assistant") == 20
    assert all(whole.startswith(text) for role, text, _ in messages if role == "assistant")
    assert {status for _, _, status in messages} <= {"complete", "interrupted"}


async def test_parallel_calls_in_one_conversation_interrupt_none(ann, stub, rows):
    stub.always(Answer(tokens=10, rate=20))

    answers = await asyncio.gather(
        *(post(ann, completion(f"Question {n}", stream=n % 2 == 0), x_conversation_id="one") for n in range(6))
    )

    whole = "".join(Answer(tokens=10).pieces)
    for number, answer in enumerate(answers):
        streamed = number % 2 == 0
        text = (
            "".join(c["choices"][0]["delta"].get("content", "") for c in data_of(answer.text))
            if streamed
            else said(answer)
        )
        assert text == whole
    assert await rows(ann).interactions() == ["completed"] * 6
    assert await rows(ann).conversations() == ["one"]
    assert await rows(ann).quota() == (6, 0)


async def test_equal_calls_that_are_no_retries_are_turns_of_their_own(ann, stub, rows):
    await post(ann, completion(), x_stainless_retry_count="0")
    await post(ann, completion(), x_stainless_retry_count="0")
    await post(ann, completion())

    assert stub.calls == 3
    assert await rows(ann).quota() == (3, 0)


async def test_a_retry_is_the_same_turn(ann, stub, rows):
    stub.will(Answer(text="Only once."))
    first = await post(ann, completion(), x_stainless_retry_count="0")

    again = await post(ann, completion(), **RETRY)

    assert (said(first), said(again)) == ("Only once.", "Only once.")
    assert again.json()["id"] == first.json()["id"]
    assert stub.calls == 1
    assert len(await rows(ann).messages()) == 2
    assert await rows(ann).quota() == (1, 0)


async def test_twenty_retries_at_once_of_a_running_turn_join_it(ann, stub, rows):
    stub.will(SLOW)
    first = asyncio.create_task(post(ann, completion()))
    await stub.until(lambda s: s.open_streams == 1)

    answers = await asyncio.gather(first, *(post(ann, completion(), **RETRY) for _ in range(20)))

    assert {said(answer) for answer in answers} == {"".join(SLOW.pieces)}
    assert stub.calls == 1
    assert await rows(ann).quota() == (1, 0)


async def test_a_retry_with_another_body_user_or_conversation_is_another_turn(person, stub, rows):
    ann, ben = await person(), await person()
    await post(ann, completion())

    await post(ann, completion(temperature=0.3), **RETRY)
    await post(ann, completion(), x_conversation_id="elsewhere", **RETRY)
    await post(ben, completion(), **RETRY)

    assert stub.calls == 4


async def test_a_retry_after_more_than_ten_minutes_is_a_turn_of_its_own(ann, stub, owner):
    await post(ann, completion())
    await owner.execute(
        "update idempotency_keys set created_at = created_at - interval '601 seconds' where user_id = %s",
        (ann.user_id,),
    )

    await post(ann, completion(), **RETRY)

    assert stub.calls == 2


async def test_an_equal_idempotency_key_is_the_same_turn_and_another_body_under_it_a_conflict(ann, stub, rows):
    first = await post(ann, completion(), idempotency_key="k1")
    again = await post(ann, completion(), idempotency_key="k1")
    other = await post(ann, completion("Something else"), idempotency_key="k1")

    assert said(again) == said(first)
    assert stub.calls == 1
    assert other.status_code == 409
    assert other.headers["x-should-retry"] == "false"
    assert (await post(ann, completion(), idempotency_key="a b")).json()["error"]["param"] == "Idempotency-Key"
    assert await rows(ann).quota() == (1, 0)


async def test_a_retry_after_a_failure_runs_again_under_the_same_question(ann, stub, rows):
    stub.will(*[Status(400)] * 1, Answer(text="Now it works."))
    assert (await post(ann, completion())).status_code == 503

    again = await post(ann, completion(), **RETRY)

    assert said(again) == "Now it works."
    assert [role for role, _, _ in await rows(ann).messages()].count("user") == 1
    assert await rows(ann).quota() == (1, 0)


async def test_a_retry_after_the_turn_was_given_up_gets_a_whole_answer(ann, stub, rows, coach_url):
    stub.will(Stall(after=3), Answer(text="The whole of it."))
    await leave(coach_url, ann, completion(), stub)
    await rows(ann).settled()

    again = await post(ann, completion(), **RETRY)

    assert said(again) == "The whole of it."
    assert [role for role, _, _ in await rows(ann).messages()].count("user") == 1


async def test_a_retry_soon_after_a_cut_connection_joins_the_turn_that_runs(ann, stub, rows, coach_url, monkeypatch):
    monkeypatch.setattr(readers, "ABANDONED_AFTER", 4.0)
    stub.will(Answer(tokens=20, held_after=3))
    await leave(coach_url, ann, completion(), stub)
    again = asyncio.create_task(post(ann, completion(), **RETRY))
    await asyncio.sleep(4.5)  # it would have been given up by now
    stub.go_on()

    assert said(await again) == "".join(Answer(tokens=20).pieces)
    assert stub.calls == 1
    assert await rows(ann).quota() == (1, 0)


def test_the_stock_client_comes_back_before_its_turn_is_given_up():
    assert openai._constants.INITIAL_RETRY_DELAY < readers.ABANDONED_AFTER


async def test_a_new_message_in_the_page_still_interrupts_a_callers_turn(ann, stub, rows):
    stub.will(Stall(after=3), Answer(text="The page's answer."))
    asking = asyncio.create_task(post(ann, completion(), x_conversation_id="shared"))
    await stub.until(lambda s: s.open_streams == 1)

    answer = await ann.asks("Stop that. What now?", id="shared")

    assert answer.text == "The page's answer."
    assert (await asking).status_code == 503


@pytest.fixture
def servers(start_server, stub):
    given = {
        "COACH_OPENAI_BASE_URL": stub.url,
        "COACH_OPENAI_API_KEY": "stub",
        "COACH_CHAT_MODEL": "stub",
        "COACH_EMBEDDING_MODEL": "wordllama",
    }
    return [start_server("--no-worker", **given).url, start_server("--no-worker", **given).url]


async def at(url, person, body, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        return await client.post("/v1/chat/completions", json=body, headers=person.headers | named)


async def test_a_retry_on_another_server_process_is_the_same_turn(servers, ann, stub, rows):
    here, there = servers
    stub.will(Answer(tokens=40, rate=20))
    first = asyncio.create_task(at(here, ann, completion()))
    await stub.until(lambda s: s.open_streams == 1)

    running = await at(there, ann, completion(), **RETRY)
    ended = await at(there, ann, completion(), **RETRY)

    assert said(running) == said(ended) == said(await first) == "".join(Answer(tokens=40).pieces)
    assert stub.calls == 1
    assert await rows(ann).quota() == (1, 0)

    # The retry reaches another process, the first connection is lost: the turn is kept alive where it runs.
    stub.will(Answer(tokens=60, held_after=3))
    again = await elsewhere(servers, ann, stub, rows, completion("Another question"))
    await asyncio.sleep(1.5)
    stub.go_on()
    assert said(await again) == "".join(Answer(tokens=60).pieces)
    assert stub.calls == 2
    assert await rows(ann).quota() == (2, 0)

    # And when that one leaves too, nothing runs on.
    stub.will(Stall(after=3))
    reading = await elsewhere(servers, ann, stub, rows, completion("A third"))
    await asyncio.sleep(1.5)
    assert stub.open_streams == 1
    reading.cancel()
    await stub.until(lambda s: s.open_streams == 0)


async def elsewhere(servers, ann, stub, rows, body):
    """Asked on one server process, and again on another, which reads alone from then on."""
    here, there = servers
    asked = stub.calls
    first = asyncio.create_task(at(here, ann, body))
    await stub.until(lambda s: s.calls > asked)
    again = asyncio.create_task(at(there, ann, body, **RETRY))
    await rows(ann).until(
        "exists (select from turn_checkpoints where user_id = %(user)s and remote_reader_at is not null)"
    )
    first.cancel()
    return again


async def test_a_response_is_followed_on_another_server_process_from_where_a_reader_was(servers, ann, stub, rows):
    here, there = servers
    stub.will(Answer(tokens=30, held_after=20))
    body = {"model": "coach", "input": "How is it going?", "stream": True}
    async with (
        httpx.AsyncClient(base_url=here, headers=ann.headers, timeout=30) as one,
        httpx.AsyncClient(base_url=there, headers=ann.headers, timeout=30) as two,
    ):
        first = asyncio.create_task(one.post("/v1/responses", json=body))
        await rows(ann).until("exists (select from turn_checkpoints where user_id = %(user)s and content <> '')")
        ((message_id,),) = await rows(ann).fetch(
            "select client_id from ai_conversation_memory where user_id = %(user)s and status = 'streaming'"
        )
        path = f"/v1/responses/resp_{message_id.removeprefix('msg_')}?stream=true&starting_after=5"
        async with two.stream("GET", path) as following:
            pieces = following.aiter_text()
            running = await anext(pieces)
            stub.go_on()
            running += "".join([piece async for piece in pieces])
        ended = (await two.get(path)).text

    frames = (await first).text.split("\n\n")
    assert running.split("\n\n") == ended.split("\n\n") == frames[6:]
    assert stub.calls == 1
