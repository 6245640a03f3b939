"""Other chat models behind the seam, and our offline one in front of LangChain."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI

from coach.models import loading
from coach.models.base import Delta, Loading, ModelOptions, Usage
from coach.models.langchain import LangChainModel
from coach.models.offline_chat import OfflineChat
from coach.testing.stub_script import Answer, Body, ErrorEvent, Garbage, Stall, Status
from tests.integration.models.conftest import CALM, patience
from tests.stub.answers import ASK, ask


@pytest.fixture
async def model(model_stub) -> AsyncIterator[LangChainModel]:
    """With a client of its own: the one that LangChain shares belongs to the first test's event loop."""
    async with openai.DefaultAsyncHttpxClient() as client:
        chat = ChatOpenAI(
            model="gpt-4o-mini",
            api_key="k",
            base_url=model_stub.url,
            http_async_client=client,
            max_retries=0,
            stream_usage=True,
        )
        yield LangChainModel("openai:gpt-4o-mini", chat, CALM)


async def test_any_langchain_model_answers_through_the_seam(model, model_stub):
    model_stub.will(Answer("Book the MRI.", finish="length"))

    ending = await ask(model, options=ModelOptions(temperature=0.1, stop=("x",)))

    assert ending.text == "Book the MRI."
    assert ending.completion.reason == "length"
    assert ending.completion.usage == Usage(6, 3)
    assert model_stub.requests[-1].body["temperature"] == 0.1
    assert model_stub.requests[-1].body["stop"] == ["x"]


async def test_its_usage_is_counted_where_none_comes(model, model_stub):
    model_stub.will(Answer("Book the MRI.", has_usage=False))

    assert (await ask(model)).completion.usage.counted


@pytest.mark.parametrize(
    "bad", [Status(500), Status(401), Stall(), Stall(after=2), Garbage(after=2), ErrorEvent(after=1), Answer("")]
)
async def test_whatever_it_raises_is_unavailable(model, model_stub, bad):
    model._timeouts = patience(bad)
    model_stub.always(bad)

    assert (await ask(model)).failure is not None
    await model_stub.until(lambda stub: stub.open_streams == 0)


async def test_closing_it_closes_its_upstream(model, model_stub):
    model_stub.will(Answer(tokens=2_000, rate=100))
    events = model.stream(ASK)
    await anext(events)

    await events.aclose()

    await model_stub.until(lambda stub: stub.closed_early == 1 and stub.open_streams == 0)


async def test_a_cancelled_task_is_cancelled_and_not_unavailable(model, model_stub):
    model_stub.will(Stall())
    asking = asyncio.create_task(ask(model))
    await model_stub.until(lambda stub: stub.open_streams == 1)

    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking
    await model_stub.until(lambda stub: stub.open_streams == 0)


async def test_a_cancellation_that_the_wrapped_model_drops_is_kept():
    """As Python 3.11's ``wait_for`` drops one that arrives together with a chunk: the stream goes on, unstoppable."""
    asking = asyncio.create_task(ask(LangChainModel("deaf", DeafChat())))
    await asyncio.sleep(0.05)

    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking


class DeafChat(OfflineChat):
    """Takes a cancellation for a reason to go on."""

    async def _astream(self, messages: Any, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
        for word in ("What", " cancellation?"):
            yield ChatGenerationChunk(message=AIMessageChunk(word))


async def test_the_offline_model_is_a_langchain_chat_model():
    chat = OfflineChat()
    prompt = [SystemMessage("You are a coach."), HumanMessage("hi"), AIMessage("hello"), HumanMessage("My knee?")]

    whole = await chat.ainvoke(prompt)
    chunks = [chunk async for chunk in chat.astream(prompt)]
    sync = [chunk.text for chunk in chat.stream(prompt)]

    assert whole.text == "".join(chunk.text for chunk in chunks) == "".join(sync)
    assert len(chunks) > 10
    assert whole.usage_metadata["output_tokens"] > 10
    assert (
        sum((chunk.usage_metadata or {}).get("output_tokens", 0) for chunk in chunks)
        == whole.usage_metadata["output_tokens"]
    )


async def test_the_offline_model_says_the_same_on_both_ways():
    assert (await ask(LangChainModel("offline", OfflineChat()), ASK)).text == (
        await OfflineChat().ainvoke([("system", "You are a coach."), ("user", "What next?")])
    ).text


def body(*chunks: object) -> Body:
    return Body("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n", "text/event-stream")


def token(text: str, **beside: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, **beside}]}


@pytest.mark.parametrize(
    "refused",
    [Status(400, message="temperature must be 1"), Status(422, message="no"), Status(400, message="Bad Request")],
)
async def test_parameters_that_are_only_ours_are_left_out_where_they_are_refused(model, model_stub, refused):
    ours = ModelOptions(temperature=0.6, max_tokens=900, is_ours=True)
    model_stub.will(refused)

    first, second = await ask(model, options=ours), await ask(model, options=ours)

    assert first.text == second.text != ""
    assert ["temperature" in request.body for request in model_stub.requests] == [True, False, False]


async def test_what_a_caller_asked_for_stays(model, model_stub):
    model_stub.will(Status(400, message="temperature must be 1"))

    assert (await ask(model, options=ModelOptions(temperature=0.6))).failure is not None
    assert model_stub.calls == 1


async def test_a_model_that_loads_is_said_to_load(monkeypatch):
    monkeypatch.setattr(loading, "LOADING_AFTER", 0.05)
    model = LangChainModel("scripted", ScriptedChat(script=[AIMessageChunk("Rest.")], silence=0.4))

    pieces = [piece async for piece in model.stream(ASK)]

    assert pieces[:2] == [Loading(), Delta("Rest.")]


async def test_our_ceiling_leaves_room_to_think(model, model_stub):
    await ask(model, options=ModelOptions(max_tokens=900, is_ours=True))

    assert model_stub.requests[-1].body["max_completion_tokens"] == 16_384


@pytest.mark.parametrize("ending", ["network_error", "error", "abort"])
async def test_an_ending_that_is_none_is_a_failure(model, model_stub, ending):
    model_stub.will(body(token("Rest"), token("", finish_reason=ending)))

    ending = await ask(model)

    assert (ending.text, "reported an error" in str(ending.failure)) == ("Rest", True)


async def test_thoughts_in_tags_are_not_the_answer(model, model_stub):
    model_stub.will(body(token("<think>h"), token("m</think>\n"), token("Rest."), token("", finish_reason="stop")))

    ending = await ask(model)

    assert (ending.reasoning, ending.text) == ("hm", "Rest.")


@pytest.mark.parametrize(
    "thought",
    [AIMessageChunk("", additional_kwargs={"reasoning_content": "hm"}),
     AIMessageChunk([{"type": "thinking", "thinking": "hm"}], response_metadata={"model_provider": "anthropic"}),
     AIMessageChunk([{"type": "reasoning", "reasoning": "hm"}])],
)  # fmt: skip
async def test_thoughts_beside_the_answer_are_not_the_answer_either(thought):
    ending = await ask(LangChainModel("scripted", ScriptedChat(script=[thought, AIMessageChunk("Rest.")])))

    assert (ending.reasoning, ending.text) == ("hm", "Rest.")


@pytest.mark.parametrize("figures", [(-1, 2), (2, -1), (0, 0), (10**30, 1)])
async def test_usage_that_cannot_be_true_is_counted(figures):
    asked, written = figures
    usage = {"input_tokens": asked, "output_tokens": written, "total_tokens": asked + written}
    chat = ScriptedChat(script=[AIMessageChunk("Rest.", usage_metadata=usage)])

    assert (await ask(LangChainModel("scripted", chat))).completion.usage.counted


class ScriptedChat(OfflineChat):
    """Says just these chunks, as a provider's package makes them."""

    script: list[Any]
    silence: float = 0.0

    async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        await asyncio.sleep(self.silence)
        for chunk in self.script:
            yield ChatGenerationChunk(message=chunk)
