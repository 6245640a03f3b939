"""Embeddings over a real socket from a provider that answers well, badly, late or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from pydantic import SecretStr

from coach.errors import EmbedderUnavailable
from coach.retrieval.base import DIMENSIONS
from coach.retrieval.openai import REQUEST_TEXTS, TEXT_BYTES, OpenAIEmbedder
from coach.testing.stub_provider import StubProvider
from coach.testing.stub_script import Body, Embeddings, Raw, Stall, Status

SECRET = "sk-that-nobody-may-read"
Build = Callable[..., OpenAIEmbedder]


@pytest.fixture
async def build(model_stub: StubProvider) -> AsyncIterator[Build]:
    built: list[OpenAIEmbedder] = []

    def make(model: str = "text-embedding-3-small", timeout: float = 30, attempts: int = 3) -> OpenAIEmbedder:
        url = f"http://127.0.0.1:{model_stub.port}/v1"
        built.append(OpenAIEmbedder(model, SecretStr(SECRET), url, timeout=timeout, attempts=attempts))
        return built[-1]

    yield make
    for embedder in built:
        await embedder.aclose()


def bodies(stub: StubProvider) -> list[dict]:
    return [request.body for request in stub.requests]


async def test_texts_become_unit_vectors_in_their_order(build: Build) -> None:
    embedder = build()

    vectors = await embedder.embed_documents(["knee pain", "tax return", "knee ache"])

    assert vectors.shape == (3, DIMENSIONS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[1], await embedder.embed_query("tax return"), atol=1e-6)
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[1]


async def test_only_models_that_can_are_asked_for_a_width(build: Build, model_stub: StubProvider) -> None:
    await build("text-embedding-3-large").embed_query("knee")
    await build("nomic-embed-text").embed_query("knee")

    large, nomic = bodies(model_stub)
    assert large["dimensions"] == DIMENSIONS
    assert "dimensions" not in nomic


@pytest.mark.parametrize("width", [256, 384, 768, 1024])
async def test_narrower_models_work_and_keep_their_cosines(build: Build, model_stub: StubProvider, width: int) -> None:
    model_stub.embeddings_always(Embeddings(width=width))

    vectors = await build("some-local-model").embed_documents(["knee pain", "knee ache", "tax return"])

    assert vectors.shape == (3, DIMENSIONS)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


async def test_a_list_of_numbers_is_as_good_as_base64(build: Build, model_stub: StubProvider) -> None:
    rows = [{"index": 1, "embedding": [0.0, 1.0] * 384}, {"index": 0, "embedding": [1.0, 0.0] * 384}]
    model_stub.embeddings_will(Body(json.dumps({"data": rows})))

    first, second = await build("some-local-model").embed_documents(["one", "two"])

    assert first[0] > 0
    assert second[0] == 0


async def test_many_texts_go_in_several_requests_and_long_ones_are_cut(build: Build, model_stub: StubProvider) -> None:
    texts = [f"message {number}" for number in range(REQUEST_TEXTS + 5)] + ["long " * 20_000, ""]

    vectors = await build().embed_documents(texts)

    sent = [text for body in bodies(model_stub) for text in body["input"]]
    assert vectors.shape == (len(texts), DIMENSIONS)
    assert len(bodies(model_stub)) == 2
    assert len(sent) == len(texts)
    assert max(map(len, sent)) == TEXT_BYTES
    assert all(sent)


async def test_a_provider_that_stumbles_is_asked_again(build: Build, model_stub: StubProvider) -> None:
    model_stub.embeddings_will(Status(503), Status(429))

    await build().embed_query("knee")

    assert model_stub.embedding_calls == 3


@pytest.mark.parametrize("code", [429, 503])
async def test_a_provider_that_names_a_time_is_not_asked_before(
    build: Build, model_stub: StubProvider, code: int
) -> None:
    model_stub.embeddings_always(Status(code, retry_after=30))

    with pytest.raises(EmbedderUnavailable) as caught:
        await build().embed_query("knee")

    assert (model_stub.embedding_calls, caught.value.retry_after) == (1, 30)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
async def test_what_asking_again_cannot_help_is_asked_once(build: Build, model_stub: StubProvider, code: int) -> None:
    model_stub.embeddings_always(Status(code))

    with pytest.raises(EmbedderUnavailable, match=f"answered with {code}"):
        await build().embed_query("knee")

    assert model_stub.embedding_calls == 1


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Embeddings(missing=1), "1 vectors for 2 texts"),
        (Embeddings(width=3072), "3072 dimensions"),
        (Embeddings(has_nan=True), "not finite"),
        (Body("{"), "shape"),
        (Body("[]"), "shape"),
        (Body('{"data": null}'), "shape"),
        (Body('{"data": [{"index": 0}, {"index": 1}]}'), "shape"),
        (Body('{"data": [{"embedding": "not base64!"}, {"embedding": ""}]}'), "shape"),
        (Body('{"data": [{"embedding": [1, 2]}, {"embedding": [1]}]}'), "different widths"),
        (Body('{"data": [{"embedding": [1, "x"]}, {"embedding": [1, 2]}]}'), "shape"),
        (Body('{"data": [{"embedding": []}, {"embedding": []}]}'), "0 dimensions"),
        (Body('{"data": []}'), "0 vectors for 2 texts"),
        (Body("<html>gateway</html>", "text/html"), "shape"),
        (Status(500), "answered with 500"),
        (Stall(headers=False), "in time"),
    ],
)
async def test_an_unusable_answer_is_named(build: Build, model_stub: StubProvider, step: object, said: str) -> None:
    model_stub.embeddings_always(step)

    with pytest.raises(EmbedderUnavailable, match=said) as caught:
        await build(timeout=0.4 if isinstance(step, Stall) else 30, attempts=2).embed_documents(["knee", "tax"])

    assert SECRET not in str(caught.value)


async def test_a_redirect_is_not_followed(build: Build, model_stub: StubProvider) -> None:
    elsewhere = f"http://localhost:{model_stub.port}/v1/embeddings"
    model_stub.embeddings_will(Raw(f"HTTP/1.1 307 X\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n".encode()))

    with pytest.raises(EmbedderUnavailable, match="307"):
        await build(attempts=1).embed_query("knee")
    assert model_stub.embedding_calls == 1


async def test_a_dead_address_is_unavailable() -> None:
    embedder = OpenAIEmbedder("m", None, "http://127.0.0.1:9/v1", timeout=2, attempts=2)

    with pytest.raises(EmbedderUnavailable, match="could not be reached"):
        await embedder.embed_query("knee")
    await embedder.aclose()


async def test_a_cancelled_call_leaves_no_connection_behind(build: Build, model_stub: StubProvider) -> None:
    model_stub.embeddings_always(Stall(headers=False))
    embedder = build(timeout=60)
    await embedder.connect()  # importing LangChain takes longer than this test waits
    call = asyncio.create_task(embedder.embed_query("knee"))
    while model_stub.embedding_calls == 0:  # noqa: ASYNC110 - the stub counts in a thread of its own
        await asyncio.sleep(0.01)

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call


def test_the_key_shows_nowhere() -> None:
    assert SECRET not in repr(vars(OpenAIEmbedder("m", SecretStr(SECRET))))
