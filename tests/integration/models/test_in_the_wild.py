"""Endpoints as they are: parameters they refuse, models that load, redirects, thoughts, endings in other words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from msgspec import structs

from coach.models import loading, openai
from coach.models.base import Completion, Delta, Loading, ModelOptions, Reasoning, Usage
from coach.models.openai import OpenAIModel, Retries
from coach.models.parameters import ROOM_TO_THINK
from coach.testing.stub_provider import StubProvider
from coach.testing.stub_script import Answer, Body, Raw, Stall
from tests.integration.models.conftest import BRIEF, CALM, QUICK
from tests.stub.answers import ASK, ask

OURS = ModelOptions(temperature=0.6, max_tokens=900, is_ours=True)
SSE = "text/event-stream"


def refusal(status: str, body: object, headers: str = "") -> Raw:
    """Said in JSON, or as it stands where it is a string."""
    said = body if isinstance(body, str) else json.dumps(body)
    return Raw(f"HTTP/1.1 {status}\r\n{headers}content-length: {len(said)}\r\nconnection: close\r\n\r\n{said}".encode())


def stream(*chunks: object) -> Body:
    return Body("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n", SSE)


def token(text: str, **beside: object) -> dict[str, object]:
    return {"choices": [{"delta": {"content": text}, **beside}]}


def parameters(model_stub: StubProvider) -> list[set[str]]:
    return [{*request.body} & {"temperature", "max_completion_tokens", "max_tokens"} for request in model_stub.requests]


TEMPERATURE = {"error": {"message": "'temperature' does not support 0.6 with this model. Only 1 is.", "type": "x"}}


@pytest.mark.parametrize(
    "refused",
    [refusal("400 Bad Request", TEMPERATURE), refusal("422 No", {"detail": [{"loc": ["body", "temperature"]}]}),
     refusal("400 No", {"error": "temperature must be 1"}), refusal("400 No", "invalid temperature: only 1 is allowed"),
     refusal("500 No", {"error": {"message": "UnsupportedParamsError: temperature"}}), stream(TEMPERATURE)],
)  # fmt: skip
async def test_a_refused_parameter_of_ours_is_left_out_and_remembered(model, model_stub, refused):
    model_stub.will(refused)

    first, second = await ask(model, options=OURS), await ask(model, options=OURS)

    assert first.failure is second.failure is None
    assert parameters(model_stub) == [
        {"temperature", "max_completion_tokens"}, {"max_completion_tokens"}, {"max_completion_tokens"}
    ]  # fmt: skip


async def test_what_a_caller_asked_for_is_never_left_out(model, model_stub):
    model_stub.will(refusal("400 No", TEMPERATURE))
    await ask(model, options=OURS)
    model_stub.will(refusal("400 No", TEMPERATURE))

    ending = await ask(model, options=ModelOptions(temperature=0.6))

    assert "400" in str(ending.failure)
    assert parameters(model_stub)[2:] == [{"temperature"}]


async def test_a_refusal_that_names_nothing_is_tried_without_all_of_ours(model, model_stub):
    model_stub.will(refusal("400 Bad Request", "Bad Request"))

    assert (await ask(model, options=OURS)).text
    assert parameters(model_stub)[1] == set()


async def test_what_helped_nothing_is_not_remembered(model, model_stub):
    model_stub.will(refusal("400 No", "no"), refusal("400 No", "no"))

    assert (await ask(model, options=OURS)).failure is not None
    assert (await ask(model, options=OURS)).text
    assert parameters(model_stub)[2] == {"temperature", "max_completion_tokens"}


async def test_a_ceiling_that_is_too_high_for_the_model_is_left_out(model, model_stub):
    too_large = refusal("400 No", "max_tokens is too large: 16384. This model supports at most 4096 completion tokens.")
    model_stub.will(too_large)

    assert (await ask(model, options=OURS)).text
    assert parameters(model_stub)[1] <= {"temperature", "max_tokens"}


async def test_our_ceiling_leaves_room_to_think_and_a_callers_is_sent_as_it_is(model, model_stub):
    await ask(model, options=OURS)
    await ask(model, options=ModelOptions(max_tokens=12))

    assert [request.body["max_completion_tokens"] for request in model_stub.requests] == [16_384, 12]


@pytest.mark.parametrize(
    ("context", "ceiling", "sent"), [(200_000, None, ROOM_TO_THINK), (8_192, None, 4_096), (8_192, 6_000, 6_000)]
)
async def test_the_ceiling_is_half_of_the_context_or_a_setting(model_stub, context, ceiling, sent):
    model = OpenAIModel(
        "m", api_key=None, base_url=model_stub.url, timeouts=CALM, context_tokens=context, ceiling=ceiling
    )

    await ask(model, options=OURS)
    await model.aclose()

    assert model_stub.requests[-1].body["max_completion_tokens"] == sent


@pytest.fixture
async def loader(model_stub: StubProvider, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OpenAIModel]:
    """A model on an endpoint that may have to load it, and a coach that soon says so."""
    monkeypatch.setattr(loading, "LOADING_AFTER", 0.05)
    monkeypatch.setattr(openai, "_LOOK_AGAIN", 0.05)
    loader = OpenAIModel("m", api_key=None, base_url=model_stub.url, timeouts=CALM, retries=QUICK, may_load=True)
    yield loader
    await model_stub.until(lambda stub: stub.open_streams == 0)
    await loader.aclose()


async def test_a_model_that_loads_is_said_to_load_and_asked_once(loader, model_stub):
    model_stub.will(Answer("Rest.", first_token=0.4))

    pieces = [piece async for piece in loader.stream(ASK)]

    assert pieces[0] == Loading()
    assert pieces.count(Loading()) == 1
    assert "".join(piece.text for piece in pieces if isinstance(piece, Delta)) == "Rest."
    assert model_stub.calls == 1


async def test_a_model_that_answers_at_once_is_not_said_to_load(model, model_stub):
    assert Loading() not in [piece async for piece in model.stream(ASK)]


async def test_silence_does_not_start_a_load_anew(loader, model_stub):
    loader._timeouts = structs.replace(CALM, first_token=BRIEF.first_token)
    model_stub.will(Stall())

    assert "in time" in str((await ask(loader)).failure)
    assert model_stub.calls == 1


@pytest.mark.parametrize(
    "loading",
    [{"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
     {"error": "Model m is currently loading", "estimated_time": 20.0}, "the model is not ready yet: warming up"],
)  # fmt: skip
async def test_an_endpoint_that_says_it_loads_is_asked_until_it_has(loader, model_stub, loading):
    model_stub.will(*[refusal("503 Service Unavailable", loading)] * 6)

    assert (await ask(loader)).text
    assert model_stub.calls == 7 > QUICK.attempts


async def test_a_load_that_never_ends_is_given_up_with_the_patience(loader, model_stub):
    loader._timeouts = structs.replace(CALM, first_token=BRIEF.first_token)
    model_stub.always(refusal("503 No", "Loading model"))

    assert "in time" in str((await ask(loader)).failure)


async def test_comments_are_a_sign_of_life_before_the_first_token(model, model_stub):
    """Each is within the patience, all of them together are not."""
    model._timeouts = structs.replace(CALM, first_token=1.0)
    server = await asyncio.start_server(slow_comments, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    patient = OpenAIModel(
        "m", api_key=None, base_url=f"http://127.0.0.1:{port}/v1", timeouts=model._timeouts, retries=Retries(attempts=1)
    )

    ending = await ask(patient)
    await patient.aclose()
    server.close()

    assert ending.text == "Rest."


async def slow_comments(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
    for _ in range(8):
        writer.write(b": PROCESSING\n\n")
        await writer.drain()
        await asyncio.sleep(0.2)
    writer.write(b'data: {"choices":[{"delta":{"content":"Rest."}}]}\n\ndata: [DONE]\n\n')
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("code", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
async def test_a_redirect_to_another_origin_is_refused(model, model_stub, code):
    for elsewhere in (
        f"http://localhost:{model_stub.port}/v1/chat/completions",
        "https://127.0.0.1/",
        "//evil.example/",
    ):
        model_stub.reset()
        model_stub.will(refusal(code, "", f"location: {elsewhere}\r\n"))

        assert "redirects" in str((await ask(model)).failure)
        assert model_stub.calls == 1


async def test_a_redirect_within_the_origin_is_followed(model, model_stub):
    model_stub.will(refusal("307 Temporary Redirect", "", "location: /v1/chat/completions\r\n"), Answer("Rest."))

    assert (await ask(model)).text == "Rest."
    assert model_stub.requests[0].body == model_stub.requests[1].body


async def test_a_redirect_in_circles_ends(model, model_stub):
    model_stub.always(refusal("307 Temporary Redirect", "", "location: /v1/chat/completions\r\n"))

    assert (await ask(model)).failure is not None
    assert model_stub.calls < 10


@pytest.mark.parametrize(
    "thought", [[token("<think>h"), token("m</think>\n")], [{"choices": [{"delta": {"reasoning_content": "hm"}}]}]]
)
async def test_thoughts_come_beside_the_answer(model, model_stub, thought):
    model_stub.will(stream(*thought, token("Rest.")))

    pieces = [piece async for piece in model.stream(ASK)]

    assert "".join(piece.text for piece in pieces if isinstance(piece, Reasoning)) == "hm"
    assert [piece for piece in pieces if isinstance(piece, Delta)] == [Delta("Rest.")]


async def test_thoughts_without_an_opening_tag_are_known_from_the_second_answer_on(model, model_stub):
    for thought in ("hm", "so", ""):
        model_stub.will(stream(token(f"{thought}</think>\n" if thought else "All "), token("Rest.")))

    endings = [await ask(model) for _ in range(3)]

    assert [ending.text for ending in endings] == ["hmRest.", "Rest.", "All Rest."]
    assert [ending.reasoning for ending in endings[:2]] == ["", "so"]


async def test_thoughts_alone_are_no_answer(model, model_stub):
    model_stub.will(stream(token("<think>hm"), token("", finish_reason="length")))

    ending = await ask(model)

    assert (ending.text, ending.reasoning) == ("", "hm")
    assert "answer_tokens" in str(ending.failure)


@pytest.mark.parametrize(
    "failure",
    [token("", finish_reason="network_error"), {"error_code": 17}, {"object": "error", "message": "sk-secret"}],
)
async def test_a_failure_in_other_words_is_one_and_the_text_before_it_stays(model, model_stub, failure):
    model_stub.will(stream(token("Rest"), failure))

    ending = await ask(model)

    assert ending.text == "Rest"
    assert "reported an error" in str(ending.failure)
    assert "sk-secret" not in str(ending.failure)


async def test_a_pause_among_finish_reasons_on_each_chunk_ends_nothing(model, model_stub, monkeypatch):
    monkeypatch.setattr("coach.models.openai_upstream._TAIL", 0.05)
    server = await asyncio.start_server(finished_often, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    often = OpenAIModel("m", api_key=None, base_url=f"http://127.0.0.1:{port}/v1", timeouts=CALM)

    ending = await ask(often)
    await often.aclose()
    server.close()

    assert (ending.text, ending.completion.reason) == ("one two three ", "stop")


async def finished_often(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
    for word in ("one ", "two ", "three "):
        writer.write(f"data: {json.dumps(token(word, finish_reason='stop'))}\n\n".encode())
        await writer.drain()
        await asyncio.sleep(0.3)
    writer.close()


async def test_absurd_usage_is_counted_instead(model, model_stub):
    absurd = {"choices": [], "usage": {"prompt_tokens": -5, "completion_tokens": 10**30}}
    model_stub.will(stream(token("Rest."), token("", finish_reason="stop"), absurd))

    completion = (await ask(model)).completion

    assert isinstance(completion, Completion)
    assert completion.usage.counted
    assert completion.usage == Usage(completion.usage.input_tokens, model.count_tokens("Rest."), counted=True)


HEADS = (
    b"HTTP/1.1 99 x", b"HTTP/9.9 200 OK", b"garbage", b"\x16\x03\x01\x02", b"HTTP/1.1 304 Not",
    b"HTTP/1.1 101 Switching",
    b"HTTP/1.1 200 OK\r\nno colon", b"HTTP/1.1 200 OK\r\ncontent-length: -5", b"HTTP/1.1 200 OK\r\nset-cookie: \0",
    b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
    b"HTTP/1.1 200 OK" + b"\r\na: b" * 20_000, b"HTTP/1.1 307 X", b"HTTP/1.1 307 X\r\nlocation: http://[::1",
    b"HTTP/1.1 307 X\r\nlocation: \xff\xfe://[", b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\nno gzip",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz", b"HTTP/1.1 400 X\r\ncontent-length: 100\r\n\r\nshort",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-5",
)  # fmt: skip


@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
async def test_an_absurd_head_or_body_is_unavailable_and_nothing_else(model, model_stub, head):
    model_stub.always(Raw(head + b"\r\n\r\n"))

    ending = await ask(model)

    assert ending.text == ""
    assert ending.failure is not None


async def test_an_absurd_body_in_the_middle_is_a_cut(model, model_stub):
    chunk = f"data: {json.dumps(token('Rest'))}\n\n".encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    model_stub.always(Raw(head + b"%x\r\n%b\r\nzz\r\n" % (len(chunk), chunk)))

    ending = await ask(model)

    assert ending.text in ("", "Rest")
    assert ending.failure is not None
