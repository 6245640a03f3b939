"""The stub is the suite's witness: what it says must be so."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys

import httpx
import msgspec
import numpy as np
import openai
import pytest

from coach.testing.stub_provider import StubProvider
from coach.testing.stub_script import Answer, Body, Embeddings, Script, Stall, Status


@pytest.fixture
async def client(model_stub: StubProvider):
    async with openai.AsyncOpenAI(api_key="k", base_url=model_stub.url, max_retries=0) as client:
        yield client


ASKED = {"model": "m", "messages": [{"role": "user", "content": "two words"}]}


async def test_the_stock_client_reads_its_answers_streamed_and_not(client, model_stub):
    model_stub.will(Answer("Rest today."), Answer("Rest today."))

    whole = await client.chat.completions.create(**ASKED)
    stream = await client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]

    assert whole.choices[0].message.content == "Rest today."
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Rest today."
    assert whole.usage.model_dump(include={"prompt_tokens", "completion_tokens"}) == {
        "prompt_tokens": 2,
        "completion_tokens": 2,
    }
    assert chunks[-1].usage.total_tokens == 4
    assert model_stub.calls == 2


async def test_an_error_status_carries_its_retry_after(client, model_stub):
    model_stub.will(Status(429, retry_after=7))

    with pytest.raises(openai.RateLimitError) as refused:
        await client.chat.completions.create(**ASKED)

    assert refused.value.response.headers["retry-after"] == "7"


async def test_embeddings_follow_from_the_text_in_both_encodings(client):
    floats = await client.embeddings.create(model="m", input=["knee pain", "knee pain", "tax"], encoding_format="float")
    packed = await client.embeddings.create(model="m", input=["knee pain"])  # the SDK asks for base64 by itself

    first, again, other = (item.embedding for item in floats.data)
    assert len(first) == 1536
    assert first == again != other
    assert packed.data[0].embedding == pytest.approx(first, abs=1e-6)
    assert sum(x * x for x in first) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_embeddings_can_be_wrong(model_stub, encoding):
    asked = {"model": "m", "input": ["a", "b"], "encoding_format": encoding}
    model_stub.embeddings_will(Embeddings(width=8), Embeddings(missing=1), Embeddings(has_nan=True), Body("{"))
    async with httpx.AsyncClient(base_url=model_stub.url) as client:
        narrow, short, nan, garbage = [await client.post("/embeddings", json=asked) for _ in range(4)]

    assert len(narrow.json()["data"]) == 2
    assert len(short.json()["data"]) == 1
    first = nan.json()["data"][0]["embedding"]
    figures = first if encoding == "float" else np.frombuffer(base64.b64decode(first), "<f4")
    assert np.isnan(figures).sum() == 1
    assert garbage.text == "{"


async def test_a_client_that_leaves_is_seen(model_stub):
    model_stub.will(Stall(after=1))
    async with httpx.AsyncClient(base_url=model_stub.url) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/chat/completions", json={**ASKED, "stream": True}, timeout=0.1)

    await model_stub.until(lambda stub: stub.closed_early == 1 and stub.open_streams == 0)


async def test_a_request_in_pieces_is_one_request(model_stub):

    reader, writer = await asyncio.open_connection("127.0.0.1", model_stub.port)
    request = b'POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 13\r\n\r\n{"model":"m"}'
    for at in range(len(request)):
        writer.write(request[at : at + 1])
        await writer.drain()

    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    assert model_stub.calls == 1
    writer.close()
    await writer.wait_closed()


async def test_a_held_answer_continues_on_request(client, model_stub):
    model_stub.will(Answer(tokens=6, held_after=2), Answer(tokens=6, rate=1_000, held_after=2))

    for _ in range(2):
        stream = await client.chat.completions.create(**ASKED, stream=True)
        said = [(await anext(stream)).choices[0].delta.content for _ in range(3)]
        coming = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.1)

        assert said == ["", "one ", "small "]
        assert not coming.done()
        model_stub.go_on()
        assert (await coming).choices[0].delta.content == "honest "
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "step today beats "
        model_stub.going_on.clear()


def test_as_a_process_it_prints_its_port_and_is_scripted_over_http():

    command = [sys.executable, "-m", "coach.testing.stub_provider", "--tokens", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            base = f"http://127.0.0.1:{int(process.stdout.readline())}"
            default = httpx.post(f"{base}/v1/chat/completions", json=ASKED).json()
            httpx.post(f"{base}/_stub/script", content=msgspec.json.encode(Script(chat=(Answer("Scripted."),))))
            scripted = httpx.post(f"{base}/v1/chat/completions", json=ASKED).json()
            stats = httpx.get(f"{base}/_stub/stats").json()
        finally:
            process.terminate()

    assert default["usage"]["completion_tokens"] == 3
    assert scripted["choices"][0]["message"]["content"] == "Scripted."
    assert stats["calls"] == 2
