"""The stream's bytes, read without a socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coach.models.base import Usage
from coach.models.openai_wire import BROKEN_OFF, GARBAGE, UPSTREAM_ERROR, AnswerReader


def read(*data: bytes) -> tuple[str, AnswerReader]:
    reader = AnswerReader()
    return "".join(reader.feed(part) for part in data), reader


def token(text: str) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % text.encode()


STOP = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def test_text_reason_and_usage_are_read():
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n'

    text, reader = read(token("Re"), token("st"), STOP, usage, DONE)

    assert (text, reader.reason, reader.usage, reader.is_done) == ("Rest", "stop", Usage(3, 2), True)


@pytest.mark.parametrize(
    "harmless",
    [b": ping\n\n", b"\n\n", b"event: message\n", b"id: 7\n", b"retry: 10\n", b"data:\n", b'data: {"choices":null}\n',
     b'data: {"object":"x"}\n', b'data: {"choices":[{"delta":null}]}\n',
     b'data: {"choices":[{"delta":{"content":null}}]}\n'],
)  # fmt: skip
def test_what_says_nothing_is_passed_over(harmless):
    text, reader = read(harmless, token("Rest"), harmless, STOP, harmless, DONE)

    assert (text, reader.failure, reader.is_done) == ("Rest", None, True)


@pytest.mark.parametrize(
    "garbage",
    [b"<html>\n", b"data: {\n", b"data: {}}\n", b"data: 7\n", b'data: {"choices":{}}\n', b"data: \xff\xfe\n", b"\xff\n",
     b'data: {"choices":[{"delta":{"content":7}}]}\n', b"x" * 2_000_000],
)  # fmt: skip
def test_what_is_no_chunk_is_a_failure_and_the_text_before_it_stays(garbage):
    text, reader = read(token("Rest") + garbage + token("less"))

    assert (text, reader.failure, reader.is_done) == ("Rest", GARBAGE, False)


@pytest.mark.parametrize("error", [b'{"error":{"message":"no"}}', b'{"error":"no"}', b'{"error":{},"choices":[]}'])
def test_an_error_event_is_a_failure(error):
    assert read(token("Rest"), b"event: error\ndata: " + error + b"\n\n")[1].failure == UPSTREAM_ERROR


def test_garbage_behind_the_finish_reason_spoils_nothing():
    text, reader = read(token("Rest"), STOP, b"<html>\n")

    assert (text, reader.failure, reader.is_done) == ("Rest", None, True)


def test_lines_may_end_in_carriage_returns():
    assert read(token("Rest").replace(b"\n", b"\r\n"), DONE.replace(b"\n", b"\r\n"))[0] == "Rest"


def test_a_refusal_is_text_and_reasoning_is_not():
    text, reader = read(
        b'data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}\n',
        b'data: {"choices":[{"delta":{"refusal":"No."}}]}\n',
    )

    assert (text, reader.is_thinking) == ("No.", True)


@pytest.mark.parametrize(
    ("sent", "failure"), [((), BROKEN_OFF), ((token("Re"),), BROKEN_OFF), ((token("Re"), STOP), None)]
)
def test_an_end_before_the_finish_reason_is_a_cut(sent, failure):
    _, reader = read(*sent)

    reader.end()

    assert (reader.failure, reader.is_done) == (failure, failure is None)


@given(st.lists(st.binary(max_size=40) | st.sampled_from([token("a"), STOP, DONE, b"data: ", b"\n"]), max_size=12))
def test_no_bytes_break_it(data):
    text, reader = read(*data)
    reader.end()

    assert isinstance(text, str)
    assert (reader.failure is None) == reader.is_done
