"""``POST /api/chat`` as its clients see it."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

TEXT = {"type": "text", "text": "What now?"}


def a_message(**changes):
    return {"role": "user", "parts": [TEXT]} | changes


async def test_an_answer_arrives_in_the_documented_order(ann):
    answer = await ann.asks("What should I do today?", id="order", message_id="m1")

    assert answer.status == 200
    kinds = [part["type"] for part in answer.parts]
    assert [k for i, k in enumerate(kinds) if i == 0 or kinds[i - 1] != k] == [
        "start", "data-quota", "data-context", "text-start", "text-delta", "text-end", "finish",
    ]  # fmt: skip
    assert answer.first("start")["messageMetadata"]["conversation_id"] == "order"
    assert answer.first("start")["messageMetadata"]["user_message_id"] == "m1"
    assert answer.first("data-quota")["data"]["used"] == 1
    assert answer.first("finish")["messageMetadata"]["usage"]["total_tokens"] > 0


async def test_the_stream_has_the_headers_that_clients_and_proxies_look_for(ann):
    answer = await ann.asks("Hello")

    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-length" not in answer.headers


async def test_sources_are_numbered_as_they_come_and_carry_a_snippet(ann):
    await ann.asks("My knee hurts when I run down hills near Potsdam.", id="before")

    answer = await ann.asks("What did I say about my knee and running?")

    sources = [part for part in answer.parts if part["type"] == "source-document"]
    assert sources
    assert sources[0]["mediaType"] == "text/plain"
    assert sources[0]["sourceId"].startswith("conversation:")
    ours = sources[0]["providerMetadata"]["coach"]
    assert ours["conversation_id"] == "before"
    assert 0 < len(ours["snippet"]) <= 160


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("application/json", "application/json"),
        ("application/json, text/event-stream;q=0.9", "application/json"),
        ("application/json, */*;q=0.5", "application/json"),
        ("application/json, text/event-stream", "text/event-stream"),
        ("text/event-stream, application/json;q=0.9", "text/event-stream"),
        ("*/*", "text/event-stream"),
        ("text/html", "text/event-stream"),
        ("application/json;q=nonsense, text/event-stream;q=0.1", "text/event-stream"),
    ],
)
async def test_accept_decides_between_stream_and_json(ann, accept, form):
    answer = await ann.asks("Hello", headers={"accept": accept})

    assert answer.headers["content-type"] == form


async def test_the_json_answer_holds_what_the_stream_tells(ann):
    answer = await ann.asks("Hello", id="json", headers={"accept": "application/json"})

    found = json.loads(answer.body)
    assert set(found) == {"conversation_id", "message", "sources", "context", "quota", "usage", "interaction_id"}
    assert found["conversation_id"] == "json"
    assert found["message"]["role"] == "assistant"
    assert found["message"]["parts"][-1]["text"]
    assert found["message"]["metadata"]["status"] == "complete"
    assert found["quota"]["used"] == 1
    assert found["usage"]["total_tokens"] == found["usage"]["input_tokens"] + found["usage"]["output_tokens"]


async def test_a_repeated_message_replays_its_answer_and_costs_nothing(ann):
    first = await ann.asks("Hello", id="again", message_id="m1")
    second = await ann.asks("Hello", id="again", message_id="m1")

    assert second.text == first.text
    assert second.first("start")["messageId"] == first.first("start")["messageId"]
    assert second.first("data-quota")["data"]["used"] == 1


async def test_a_known_message_with_another_text_is_a_conflict(ann):
    await ann.asks("Hello", id="clash", message_id="m1")

    answer = await ann.asks("Something else", id="clash", message_id="m1")

    assert answer.status == 409
    assert answer.problem["type"] == "/problems/conflict"


async def test_two_users_may_use_the_same_conversation_id(person):
    ann, ben = await person(), await person()
    await ann.asks("My secret is blue.", id="same", message_id="m1")

    answer = await ben.asks("Hello", id="same", message_id="m1")

    assert answer.status == 200
    assert "blue" not in answer.text


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [a_message(), a_message(role="assistant")]}, "messages[1].role"),
        ({"messages": [a_message(role="tool"), a_message()]}, "messages[0].role"),
        ({"messages": [a_message(parts=[])]}, "messages[0].parts"),
        ({"messages": [a_message(parts=[{"type": "text", "text": " \n "}])]}, "messages[0].parts"),
        ({"messages": [a_message(parts=[TEXT, {"type": "file", "url": "x"}])]}, "messages[0].parts[1].type"),
        ({"messages": [a_message(parts=[{"type": "text", "text": 7}])]}, "messages[0].parts[0].text"),
        ({"messages": [a_message(parts=[{"type": "text", "text": "a\0b"}])]}, "messages[0].parts[0].text"),
        ({"messages": [a_message(parts=[{"type": "text", "text": "x" * 32_001}])]}, "messages[0].parts"),
        ({"messages": [a_message(id="x" * 129)]}, "messages[0].id"),
        ({"messages": [a_message()], "id": "x" * 129}, "id"),
        ({"messages": [a_message()], "id": ".."}, "id"),
        ({"messages": [a_message()], "id": "a b"}, "id"),
        ({"messages": [a_message()], "trigger": "dance"}, "trigger"),
        ({"messages": [a_message()], "feature": "astrology"}, "feature"),
        ({"messages": [a_message()], "model": "gpt-99"}, "model"),
        ({"messages": [a_message()], "incognito": "yes"}, "incognito"),
    ],
)
async def test_a_request_that_is_not_as_documented_is_refused_by_the_path(ann, client, body, path):
    response = await client.post("/api/chat", json=body, headers=ann.headers)

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == "/problems/invalid-input"
    assert problem["errors"][0]["path"] == path
    assert problem["instance"] == response.headers["x-request-id"]
    assert (await ann.gets("/api/me/quota")).json()["used"] == 0


async def test_an_unknown_feature_is_refused_naming_the_eight(ann):
    answer = await ann.asks("Hello", feature="astrology")

    assert "goal_coaching" in answer.problem["detail"]
    assert answer.problem["detail"].count("_") >= 8


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1",
        b"\xff\xfe",
        b'{"messages":[{"role":"user","parts":"\xff"}]}',
        b"[" * 100_000,
        b'{"x":' + b"[" * 100_000,
    ],
)
async def test_what_is_not_json_in_utf8_is_refused(ann, client, body):
    response = await client.post("/api/chat", content=body, headers=ann.headers | {"content-type": "application/json"})

    assert response.status_code == 422
    assert response.json()["errors"][0]["path"] == "body"


async def test_half_a_surrogate_pair_in_a_question_becomes_the_replacement_character(ann, client, owner):
    body = b'{"messages":[{"role":"user","parts":[{"type":"text","text":"My knee \\udc00"}]}]}'

    response = await client.post("/api/chat", content=body, headers=ann.headers | {"content-type": "application/json"})

    assert response.status_code == 200
    stored = await owner.execute(
        "select message_content from ai_conversation_memory where user_id = %s and message_role = 'user'",
        (ann.user_id,),
    )
    assert await stored.fetchone() == ("My knee \ufffd",)


async def test_a_form_is_refused_by_its_name(ann, client):
    response = await client.post("/api/chat", data={"q": "x"}, headers=ann.headers)

    assert response.status_code == 415
    assert "application/json" in response.json()["detail"]


async def test_the_longest_text_and_id_are_taken(ann):
    answer = await ann.asks("é" * 32_000, id="c" * 128, message_id="m" * 128)

    assert answer.status == 200


async def test_a_history_of_megabytes_is_read_past(ann, client):
    old = {"id": "old", "role": "assistant", "parts": [{"type": "text", "text": "x" * 100_000}], "extra": [1]}

    response = await client.post(
        "/api/chat", json={"messages": [*[old] * 80, a_message()], "surprise": {}}, headers=ann.headers
    )

    assert response.status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_past_eight_mebibytes_is_too_large(ann, client, chunked):
    async def pieces():
        for _ in range(9):
            yield b" " * 1024 * 1024

    content = pieces() if chunked else b" " * (8 * 1024 * 1024 + 1)
    response = await client.post(
        "/api/chat", content=content, headers=ann.headers | {"content-type": "application/json"}
    )

    assert response.status_code == 413
    assert response.json()["type"] == "/problems/too-large"


async def test_a_body_of_exactly_eight_mebibytes_is_read(ann, client):
    body = json.dumps({"messages": [a_message()]}).encode()
    body += b" " * (8 * 1024 * 1024 - len(body))

    response = await client.post("/api/chat", content=body, headers=ann.headers | {"content-type": "application/json"})

    assert response.status_code == 200


async def test_nothing_runs_means_nothing_to_resume_and_nothing_to_stop(ann, client):
    assert (await ann.gets("/api/chat/never-seen/stream")).status_code == 204
    assert (await ann.gets("/api/chat/what%20is%20this/stream")).status_code == 204
    assert (await client.post("/api/chat/never-seen/stop", headers=ann.headers)).status_code == 204


async def test_an_answer_that_just_ended_is_replayed_to_its_user_only(person):
    ann, ben = await person(), await person()
    answer = await ann.asks("Hello", id="mine")

    replay = await ann.gets("/api/chat/mine/stream")

    assert replay.status_code == 200
    assert replay.headers["content-type"] == "text/event-stream"
    assert answer.text.encode() in b"".join(
        json.loads(line[6:])["delta"].encode() for line in replay.text.splitlines() if '"text-delta"' in line
    )
    assert (await ben.gets("/api/chat/mine/stream")).status_code == 204


async def test_a_client_that_leaves_at_once_finds_its_answer_later(ann, coach_url):
    body = {"id": "left", "messages": [a_message()]}
    async with (
        httpx.AsyncClient(base_url=coach_url) as impatient,
        impatient.stream("POST", "/api/chat", json=body, headers=ann.headers) as response,
    ):
        await anext(response.aiter_bytes())

    for _ in range(100):
        replay = await ann.gets("/api/chat/left/stream")
        if '"finish"' in replay.text:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the answer was never finished")
