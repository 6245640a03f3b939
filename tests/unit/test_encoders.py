"""A turn's events as parts of a stream: the documented order, and a proper end whatever happens."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coach.chat.collected import collect
from coach.chat.encoders import UIMessageParts, sse
from coach.chat.events import (
    ContextRead,
    Event,
    Failed,
    Finished,
    Interrupted,
    Quota,
    ReasoningDelta,
    SourceFound,
    Started,
    TextDelta,
)
from coach.chat.log import EventLog
from coach.errors import DatabaseUnavailable
from coach.models.base import Usage
from coach.retrieval.base import Receipt, Source, Withheld
from coach.values.text import shorten

WHEN = datetime(2026, 11, 23, 20, 31, tzinfo=UTC)
STARTED = Started("a1", "c1", "m1", "i1", "offline", "goal_coaching@1")
QUOTA = Quota(250, 200, 50, datetime(2026, 12, 1, tzinfo=UTC), 80)
CONTEXT = ContextRead(Receipt(("task:t1",), (Withheld("conversation", "record_rag_snippets"),), 2, 9))
SOURCE = SourceFound(Source("task:t1", "task", "t1", "Book the MRI", "Book the knee MRI " * 20, 0.91234, WHEN))
MEMORY = SourceFound(Source("conversation:r1", "conversation", "r1", "Knee", "It hurts", 0.5, WHEN, "c0", "m0"))
FINISHED = Finished("stop", Usage(10, 2), 41, 63)
WHOLE = [STARTED, QUOTA, CONTEXT, SOURCE, MEMORY, TextDelta("Book "), TextDelta("it [1]."), FINISHED]
TERMINAL = {"finish", "abort", "error"}


async def batches(*groups):
    for group in groups:
        yield group


async def stream(reader, **options):
    return b"".join([chunk async for chunk in sse(reader, **options)])


def parts(raw):
    events = [event for event in raw.decode().split("\n\n") if event and not event.startswith(":")]
    assert events[-1] == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events[:-1]]


async def test_a_turn_has_the_documented_parts_in_order():
    assert parts(await stream(batches(WHOLE))) == [
        {
            "type": "start",
            "messageId": "a1",
            "messageMetadata": {
                "conversation_id": "c1",
                "user_message_id": "m1",
                "interaction_id": "i1",
                "model": "offline",
                "prompt": "goal_coaching@1",
            },
        },
        {
            "type": "data-quota",
            "transient": True,
            "data": {"limit": 250, "used": 200, "remaining": 50, "resets_at": "2026-12-01T00:00:00Z", "warning": 80},
        },
        {
            "type": "data-context",
            "id": "context",
            "data": {
                "used": ["task:t1"],
                "withheld": [{"source": "conversation", "reason": "record_rag_snippets"}],
                "stale": 2,
                "retrieval_ms": 9,
            },
        },
        {
            "type": "source-document",
            "sourceId": "task:t1",
            "mediaType": "text/plain",
            "title": "Book the MRI",
            "providerMetadata": {
                "coach": {
                    "domain": "task",
                    "id": "t1",
                    "snippet": shorten("Book the knee MRI " * 20, 160),
                    "score": 0.9123,
                    "updated_at": "2026-11-23T20:31:00Z",
                }
            },
        },
        {
            "type": "source-document",
            "sourceId": "conversation:r1",
            "mediaType": "text/plain",
            "title": "Knee",
            "providerMetadata": {
                "coach": {
                    "domain": "conversation",
                    "id": "r1",
                    "snippet": "It hurts",
                    "score": 0.5,
                    "updated_at": "2026-11-23T20:31:00Z",
                    "conversation_id": "c0",
                    "message_id": "m0",
                }
            },
        },
        {"type": "text-start", "id": "text"},
        {"type": "text-delta", "id": "text", "delta": "Book "},
        {"type": "text-delta", "id": "text", "delta": "it [1]."},
        {"type": "text-end", "id": "text"},
        {
            "type": "finish",
            "finishReason": "stop",
            "messageMetadata": {
                "usage": {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12},
                "first_token_ms": 41,
                "processing_time_ms": 63,
            },
        },
    ]


async def test_what_waits_together_is_sent_in_one_write():
    chunks = [chunk async for chunk in sse(batches(WHOLE[:5], WHOLE[5:]))]

    assert len(chunks) == 3
    assert chunks[-1] == b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("ending", "kind", "status"),
    [
        (Interrupted("stopped"), "abort", "interrupted"),
        (Failed("model-unavailable", "No answer."), "error", "failed"),
    ],
)
@pytest.mark.parametrize("said", [True, False])
async def test_an_early_end_closes_the_text_and_says_why(ending, kind, status, said):
    told = parts(await stream(batches([STARTED, *([TextDelta("Boo")] if said else []), ending])))

    kinds = [part["type"] for part in told]
    assert kinds == ["start", *(["text-start", "text-delta", "text-end"] if said else []), "message-metadata", kind]
    assert told[-2]["messageMetadata"]["status"] == status


async def test_an_abort_has_nothing_that_a_strict_client_would_refuse():
    assert parts(await stream(batches([STARTED, Interrupted("stopped")])))[-1] == {"type": "abort"}


async def test_a_failure_names_its_problem():
    told = parts(await stream(batches([Failed("model-unavailable", "No answer.")])))

    assert told[0]["messageMetadata"]["problem"] == {"type": "/problems/model-unavailable", "detail": "No answer."}
    assert told[1] == {"type": "error", "errorText": "No answer."}


async def broken(error):
    yield [STARTED, TextDelta("Boo")]
    raise error


async def test_a_reader_that_breaks_ends_the_stream_properly():
    told = parts(await stream(broken(DatabaseUnavailable())))

    assert [part["type"] for part in told][-3:] == ["text-end", "message-metadata", "error"]
    assert told[-2]["messageMetadata"]["problem"]["type"] == "/problems/database-unavailable"


async def test_an_unexpected_break_gives_nothing_away():
    raw = await stream(broken(RuntimeError("password=hunter2")))

    assert b"hunter2" not in raw
    assert parts(raw)[-1]["type"] == "error"


async def test_a_reader_that_just_stops_is_a_failure():
    assert parts(await stream(batches([STARTED])))[-1]["type"] == "error"
    assert parts(await stream(batches()))[-1]["type"] == "error"


async def test_silence_is_filled_with_pings():
    log = EventLog()
    log.publish(STARTED)
    chunks = sse(log.read(silence=0.02))
    began = await anext(chunks)
    silence = [await anext(chunks) for _ in range(2)]
    log.publish(TextDelta("Hi"), FINISHED)

    raw = began + b"".join([chunk async for chunk in chunks])

    assert silence == [b": ping\n\n"] * 2
    assert b": ping" not in raw
    assert parts(raw)[-1]["type"] == "finish"


async def test_a_reader_that_leaves_leaves_nothing_behind():
    log = EventLog()
    log.publish(STARTED)
    before = asyncio.all_tasks()
    leaving = sse(log.read())
    await anext(leaving)
    waiting = asyncio.ensure_future(anext(leaving))
    await asyncio.sleep(0.01)

    waiting.cancel()
    await asyncio.wait([waiting])
    await leaving.aclose()
    await asyncio.sleep(0)

    assert asyncio.all_tasks() == before
    log.publish(TextDelta("Hi"), FINISHED)
    assert parts(await stream(log.read()))[-1]["type"] == "finish"


events = st.sampled_from(
    [
        STARTED,
        QUOTA,
        CONTEXT,
        SOURCE,
        TextDelta("a"),
        TextDelta("b"),
        FINISHED,
        Interrupted("x"),
        Failed("unavailable", "y"),
    ]
)


@given(st.lists(st.lists(events, max_size=4), max_size=6))
async def test_whatever_happens_there_is_one_end_and_every_text_is_closed(groups):
    kinds = [part["type"] for part in parts(await stream(batches(*groups)))]

    assert sum(kind in TERMINAL for kind in kinds) == 1
    assert kinds[-1] in TERMINAL
    assert kinds.count("text-start") == kinds.count("text-end") <= 1
    if "text-delta" in kinds:
        deltas = [i for i, kind in enumerate(kinds) if kind == "text-delta"]
        assert kinds.index("text-start") < deltas[0]
        assert deltas[-1] < kinds.index("text-end")


@given(st.text(min_size=1))
async def test_any_text_arrives_as_it_was_said(text):
    text = text.encode("utf-8", "ignore").decode() or "x"

    told = parts(await stream(batches([TextDelta(text), FINISHED])))

    assert told[1]["delta"] == text


@given(st.text(max_size=1_000), st.integers(2, 200))
def test_a_snippet_is_never_longer_than_allowed(text, limit):
    assert len(shorten(text, limit)) <= limit


async def test_the_whole_turn_as_one_object():
    turn = await collect(batches(WHOLE))

    assert turn["message"].parts[-1] == {"type": "text", "text": "Book it [1].", "state": "done"}
    assert len(turn["sources"]) == 2
    assert turn["quota"].remaining == 50
    assert turn["context"] == CONTEXT.receipt
    assert turn["usage"]["total_tokens"] == 12


async def test_an_interrupted_turn_is_an_answer_and_says_so():
    turn = await collect(batches([STARTED, TextDelta("Boo"), Interrupted("stopped")]))

    assert turn["message"].metadata["status"] == "interrupted"
    assert turn["message"].parts[-1]["text"] == "Boo"


async def test_a_failed_turn_is_no_answer():
    assert await collect(broken(DatabaseUnavailable("gone"))) == Failed("database-unavailable", "gone")


def test_reasoning_has_parts_of_its_own_that_are_opened_and_closed() -> None:
    encoder = UIMessageParts()
    events: list[Event] = [
        ReasoningDelta("Hm"), ReasoningDelta("."), TextDelta("Rest"), ReasoningDelta("Or?"), TextDelta(" now."),
        Finished("stop", Usage(1, 2), 3, 4),
    ]  # fmt: skip

    parts = [json.loads(part) for event in events for part in encoder.encode(event)]

    assert [(part["type"], part.get("id"), part.get("delta")) for part in parts[:-1]] == [
        ("reasoning-start", "reasoning-1", None),
        ("reasoning-delta", "reasoning-1", "Hm"),
        ("reasoning-delta", "reasoning-1", "."),
        ("reasoning-end", "reasoning-1", None),
        ("text-start", "text", None),
        ("text-delta", "text", "Rest"),
        ("reasoning-start", "reasoning-2", None),
        ("reasoning-delta", "reasoning-2", "Or?"),
        ("reasoning-end", "reasoning-2", None),
        ("text-delta", "text", " now."),
        ("text-end", "text", None),
    ]


def test_a_turn_that_ends_while_it_thinks_closes_the_reasoning() -> None:
    encoder = UIMessageParts()
    events: list[Event] = [ReasoningDelta("Hm"), Interrupted("stopped")]

    kinds = [json.loads(part)["type"] for event in events for part in encoder.encode(event)]

    assert kinds == ["reasoning-start", "reasoning-delta", "reasoning-end", "message-metadata", "abort"]
