"""Other chat models behind the seam, and our offline one in front of LangChain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI

from coach.models.base import ModelOptions, Usage
from coach.models.langchain import LangChainModel
from coach.models.offline_chat import OfflineChat
from coach.testing.stub_script import Answer, ErrorEvent, Garbage, Stall, Status
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
