"""What reaches the embedder, which may be another company's: nothing without consent, nothing of an incognito talk."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from psycopg import AsyncConnection
from websockets.asyncio.client import connect

from coach.settings import Settings, load_settings
from coach.testing.stub_provider import StubProvider
from tests.live.conftest import SECRET, ApiUser, eventually
from tests.stub.fixtures import asking

Ask = Callable[[ApiUser, str], Awaitable[None]]
SECRET_TEXT = "What did Zanzibar cost me?"


@pytest.fixture(scope="module")
def coach_settings(database_url: str, provider: StubProvider) -> Settings:
    return load_settings(
        database_url=database_url,
        jwt_secret=SECRET,
        **asking(provider) | {"embedding_model": "text-embedding-3-small"},
    )


def embedded(stub: StubProvider) -> list[str]:
    """Every text that has reached the embedding endpoint."""
    return [text for request in stub.requests if request.path == "/v1/embeddings" for text in request.body["input"]]


async def withdraws(person: ApiUser, consent: str = "record_rag_snippets") -> None:
    response = await person.client.patch("/api/me/preferences", json={consent: False}, headers=person.headers)
    assert response.status_code == 200


async def over_chat(person: ApiUser, text: str) -> None:
    assert (await person.asks(text)).text


async def over_openai(person: ApiUser, text: str) -> None:
    body = {"model": "coach", "messages": [{"role": "user", "content": text}]}
    response = await person.client.post("/v1/chat/completions", json=body, headers=person.headers)
    assert response.json()["choices"][0]["message"]["content"]


async def over_responses(person: ApiUser, text: str) -> None:
    response = await person.client.post("/v1/responses", json={"model": "coach", "input": text}, headers=person.headers)
    assert response.json()["output"]


async def over_socket(person: ApiUser, text: str) -> None:
    url = str(person.client.base_url).replace("http", "ws", 1) + "/ws/chat"
    message = {"id": uuid4().hex, "role": "user", "parts": [{"type": "text", "text": text}]}
    frame = {"type": "send", "requestId": "r1", "id": uuid4().hex, "trigger": "submit-message", "messages": [message]}
    async with connect(url, subprotocols=["coach.v1", person.token]) as socket:  # type: ignore[list-item]
        await socket.send(json.dumps(frame | {"headers": {}, "body": {}}))
        while (heard := json.loads(await socket.recv()))["type"] != "end":
            assert heard["type"] in {"start", "chunk"}, heard


async def over_search(person: ApiUser, text: str) -> None:
    response = await person.client.get("/api/search", params={"q": text}, headers=person.headers)
    assert response.status_code == 200


EVERYWHERE = [over_chat, over_openai, over_responses, over_socket, over_search]


@pytest.mark.parametrize("ask", EVERYWHERE)
async def test_a_question_reaches_the_embedder_where_its_user_consents(
    ann: ApiUser, stub: StubProvider, ask: Ask
) -> None:
    await ask(ann, SECRET_TEXT)
    assert SECRET_TEXT in embedded(stub)


@pytest.mark.parametrize("ask", EVERYWHERE)
async def test_no_question_reaches_the_embedder_without_the_consent(ann: ApiUser, stub: StubProvider, ask: Ask) -> None:
    await withdraws(ann)
    await ask(ann, SECRET_TEXT)
    await ask(ann, f"{SECRET_TEXT} Again.")
    assert embedded(stub) == []


async def test_without_the_consent_the_receipt_says_what_was_withheld_and_why(ann: ApiUser, stub: StubProvider) -> None:
    await withdraws(ann)
    answer = await ann.asks(SECRET_TEXT)
    withheld = answer.first("data-context")["data"]["withheld"]
    assert {"source": "memory", "reason": "record_rag_snippets"} in withheld
    assert not [part for part in answer.parts if part["type"] == "source-document"]


async def test_an_answer_that_broke_before_its_context_was_read_reaches_no_embedder(
    ann: ApiUser, stub: StubProvider, owner: AsyncConnection[Any]
) -> None:
    await withdraws(ann)
    await owner.execute("alter function public.search_combined_context rename to hidden_search")
    try:
        answer = await ann.asks(SECRET_TEXT)
    finally:
        await owner.execute("alter function public.hidden_search rename to search_combined_context")
    assert answer.first("error")
    assert embedded(stub) == []


async def test_nothing_of_an_incognito_conversation_reaches_the_embedder(ann: ApiUser, stub: StubProvider) -> None:
    conversation = uuid4().hex
    first = await ann.asks(SECRET_TEXT, id=conversation, incognito=True)
    await ann.asks(f"{SECRET_TEXT} Again.", id=conversation)
    assert first.first("data-context")["data"]["withheld"] == [{"source": "vectors", "reason": "incognito"}]
    assert embedded(stub) == []


async def test_a_conversation_that_is_not_incognito_is_remembered_as_before(ann: ApiUser, stub: StubProvider) -> None:
    answer = await ann.asks(SECRET_TEXT)

    async def both_messages() -> bool:
        return answer.text in embedded(stub)

    await eventually(both_messages)
