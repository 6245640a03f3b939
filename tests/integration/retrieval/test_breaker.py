"""An embedder that hangs costs a question a moment, and then nothing until it answers again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from coach.errors import EmbedderUnavailable
from coach.retrieval.base import DIMENSIONS, Withheld
from coach.retrieval.breaker import PATIENCE, Breaker
from coach.retrieval.context import Retriever
from coach.retrieval.openai import OpenAIEmbedder
from coach.testing.stub_provider import StubProvider
from coach.testing.stub_script import Embeddings, Stall, Status

HUNG = Stall(headers=False)
FAR = 3_600.0
"""Seconds: until a probe that no test waits for."""


@pytest.fixture
async def embedder(model_stub: StubProvider) -> AsyncIterator[OpenAIEmbedder]:
    embedder = OpenAIEmbedder("text-embedding-3-small", None, model_stub.url, attempts=1)
    await embedder.connect()  # its imports take longer than a question waits
    yield embedder
    await embedder.aclose()


async def is_embedded(breaker: Breaker) -> bool:
    try:
        return (await breaker.embed_query("knee")).shape == (DIMENSIONS,)
    except EmbedderUnavailable:
        return False


def test_a_question_waits_a_second() -> None:
    assert PATIENCE == 1.0


async def test_after_one_silence_nobody_waits_and_nothing_is_sent(
    embedder: OpenAIEmbedder, model_stub: StubProvider
) -> None:
    model_stub.embeddings_always(HUNG)
    breaker = Breaker(embedder, patience=0.1, pause=FAR)

    assert not await is_embedded(breaker)
    async with asyncio.timeout(0.1 * 20):  # twenty waits of their own would take as long
        assert not any([await is_embedded(breaker) for _ in range(20)])

    assert model_stub.embedding_calls == 1
    await breaker.aclose()
    await model_stub.until(lambda stub: stub.open_connections == 0, 10)


async def test_when_the_pause_is_over_one_probe_goes_out(embedder: OpenAIEmbedder, model_stub: StubProvider) -> None:
    model_stub.embeddings_always(HUNG)
    breaker = Breaker(embedder, patience=0.1, pause=FAR)
    assert not await is_embedded(breaker)
    breaker._probe_from = 0.0

    assert not any([await is_embedded(breaker) for _ in range(20)])

    assert len(breaker._calls) == 2
    await breaker.aclose()


async def test_a_late_answer_closes_the_circuit_by_itself(embedder: OpenAIEmbedder, model_stub: StubProvider) -> None:
    model_stub.embeddings_will(Embeddings(delay=0.5))
    breaker = Breaker(embedder, patience=0.1, pause=FAR)

    assert not await is_embedded(breaker)
    await asyncio.wait_for(asyncio.gather(*breaker._calls._tasks), 30)

    breaker._patience = 30
    assert await is_embedded(breaker)


@pytest.mark.parametrize("fault", [HUNG, Status(500), Status(401), Status(429)])
async def test_a_probe_that_nobody_waits_for_finds_out_that_it_answers(
    embedder: OpenAIEmbedder, model_stub: StubProvider, fault: Stall | Status
) -> None:
    model_stub.embeddings_will(fault)
    breaker = Breaker(embedder, patience=0.1 if fault is HUNG else 30, pause=0.0)

    assert not await is_embedded(breaker)
    breaker._patience = 30
    assert not await is_embedded(breaker), "the question beside the probe does not wait for it"
    await model_stub.until(lambda stub: stub.embedding_calls == 2)
    for _ in range(1_000):
        if await is_embedded(breaker):
            break
        await asyncio.sleep(0.01)
    else:
        raise AssertionError("the circuit stays open")
    await breaker.aclose()


async def test_probes_that_hang_too_do_not_pile_up(embedder: OpenAIEmbedder, model_stub: StubProvider) -> None:
    model_stub.embeddings_always(HUNG)
    breaker = Breaker(embedder, patience=0.1, pause=0.0)

    for _ in range(50):
        await is_embedded(breaker)

    assert len(breaker._calls) <= 4
    await breaker.aclose()


async def test_a_text_that_is_refused_opens_nothing(embedder: OpenAIEmbedder, model_stub: StubProvider) -> None:
    model_stub.embeddings_will(Status(400))
    breaker = Breaker(embedder, patience=30, pause=FAR)

    assert not await is_embedded(breaker)
    assert await is_embedded(breaker)


async def test_a_cancelled_question_lets_go_of_its_call(embedder: OpenAIEmbedder, model_stub: StubProvider) -> None:
    model_stub.embeddings_will(HUNG)
    breaker = Breaker(embedder, patience=30, pause=FAR)
    asking = asyncio.create_task(breaker.embed_query("knee"))
    await model_stub.until(lambda stub: stub.embedding_calls == 1)

    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking
    await model_stub.until(lambda stub: stub.open_connections == 0, 10)
    assert await is_embedded(breaker)


async def test_the_words_decide_meanwhile_and_the_receipt_says_so(ann, embedder, model_stub) -> None:
    await ann.wrote("Knee", "Book the scan of the knee")
    model_stub.embeddings_always(HUNG)
    retriever = Retriever(embedder)

    question = await retriever.question("my knee", may_embed=True)
    context = await retriever.combined_context(ann.db, ann.id, question)
    await retriever.aclose()

    assert question.vector is None
    assert [source.title for source in context.sources] == ["Knee"]
    assert Withheld("vectors", "embedder-unavailable") in context.receipt.withheld
