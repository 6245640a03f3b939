"""The connection may end at any byte: the whole answer or one failure, and never a stream left open."""

from __future__ import annotations

import asyncio

import pytest

from coach.models.openai import OpenAIModel, Retries
from coach.models.openai_wire import AnswerReader
from coach.testing.stub_script import Answer, Raw
from coach.testing.stub_wire import chat_response
from tests.integration.models.conftest import CALM
from tests.stub.answers import ask

WHOLE = "Größe 🎻"


def recorded(framing: str) -> bytes:
    """A whole response as it travels, in chunks or until the connection closes."""
    body = {"model": "m", "stream": True, "stream_options": {"include_usage": True}, "messages": []}
    parts = chat_response(Answer(WHOLE), body).parts
    response = b"".join(part for part in parts if isinstance(part, bytes))
    if framing == "chunked":
        return response
    head, _, chunks = response.partition(b"\r\n\r\n")
    lines = [line for line in chunks.split(b"\r\n") if line.startswith(b"data:")]
    return head.replace(b"transfer-encoding: chunked", b"connection: close") + b"\r\n\r\n" + b"".join(lines)


@pytest.mark.parametrize("framing", ["chunked", "until-closed"])
async def test_a_cut_at_any_byte_ends_in_the_whole_answer_or_in_one_failure(model_stub, framing):
    response = recorded(framing)
    once = Retries(attempts=1)
    model = OpenAIModel("m", api_key=None, base_url=model_stub.url, timeouts=CALM, retries=once)
    offsets = range(0, len(response) + 1)
    whole = 0
    for offset in offsets:
        model_stub.will(Raw(response[:offset]))
        ending = await ask(model)
        if ending.failure is None:
            assert ending.text == WHOLE, f"cut at {offset}"
            whole += 1
        else:
            assert WHOLE.startswith(ending.text), f"cut at {offset}"
    await model.aclose()

    finish = response.index(b'"finish_reason":"stop"')
    assert 0 < whole <= len(response) - finish
    await model_stub.until(lambda stub: stub.open_connections == stub.open_streams == 0)
    assert model_stub.calls == len(offsets)
    assert len(asyncio.all_tasks()) == 1


def test_it_does_not_matter_where_the_network_divides_an_answer(model_stub):
    response = recorded("until-closed")
    body = response.partition(b"\r\n\r\n")[2]
    for at in range(len(body)):
        reader = AnswerReader()
        assert "".join(piece.text for piece in reader.feed(body[:at]) + reader.feed(body[at:])) == WHOLE
        assert reader.is_done
