"""The stream's bytes, read without a socket."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coach.models.base import Delta, Reasoning, Usage
from coach.models.endings import MOST_TOKENS
from coach.models.openai_wire import BROKEN_OFF, GARBAGE, LONGEST_EVENT, UPSTREAM_ERROR, AnswerReader


def read(*data: bytes) -> tuple[str, AnswerReader]:
    reader = AnswerReader()
    return said(reader, *data)[0], reader


def said(reader: AnswerReader, *data: bytes) -> tuple[str, str]:
    """The answer, and what was thought aloud before it."""
    pieces = [piece for part in data for piece in reader.feed(part)]
    return tuple("".join(p.text for p in pieces if isinstance(p, kind)) for kind in (Delta, Reasoning))


def event(chunk: object) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def token(text: object, **beside: object) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}, **beside}]})


STOP = event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
DONE = b"data: [DONE]\n\n"


def usage(asked: object, written: object) -> bytes:
    return event({"choices": [], "usage": {"prompt_tokens": asked, "completion_tokens": written}})


def test_text_reason_and_usage_are_read():
    text, reader = read(token("Re"), token("st"), STOP, usage(3, 2), DONE)

    assert (text, reader.reason, reader.usage, reader.is_done) == ("Rest", "stop", Usage(3, 2), True)


@pytest.mark.parametrize(
    "harmless",
    [b": ping\n\n", b":\n", b"\n\n", b"event: message\n", b"id: 7\n", b"retry: 10\n", b"data:\n\n", b"data\n\n",
     b"data: null\n\n", b"data: 7\n\n", b"data: []\n\n", b"data: ping\n\n", b"<html>\n", b"\xff\n", b"x-wing: 1\n\n",
     b'data: {"choices":null}\n', b'data: {"choices":{}}\n', b'data: {"choices":[null, 7]}\n',
     b'data: {"object":"x"}\n',
     b'data: {"choices":[{"delta":null}]}\n', b'data: {"choices":[{"delta":7}]}\n', b'data: {"type":"ping"}\n\n',
     b'data: {"choices":[{"delta":{"content":null}}]}\n', b'data: {"choices":[{"delta":{"content":7}}]}\n',
     b'data: {"choices":[{"finish_reason":7}]}\n', b'data: {"choices":[{"finish_reason":{"type":"stop"}}]}\n',
     b'data: {"choices":[{"finish_reason":""}]}\n', b'data: {"choices":[],"usage":[]}\n', b'data: {"error":null}\n\n',
     b'data: {"error_code":0,"error_msg":"success","choices":[]}\n\n', b'data: {"status":"queued"}\n\n',
     b'data: {"choices":[],"code":0,"message":"ok"}\n\n', b'data: {"base_resp":{"status_code":0},"choices":[]}\n\n',
     b'event: error_rate\ndata: {"choices":[]}\n\n'],
)  # fmt: skip
def test_what_says_nothing_is_passed_over(harmless):
    text, reader = read(harmless, token("Re"), harmless, token("st"), STOP, harmless, DONE)

    assert (text, reader.failure, reader.is_done) == ("Rest", None, True)
    assert reader.is_alive


@pytest.mark.parametrize("garbage", [b'data: {"choices": [{"delta": {"con\n\n', b"data: {}}\n\n", b"data: {\n\n"])
def test_a_piece_that_cannot_be_read_is_a_failure_and_the_text_before_it_stays(garbage):
    text, reader = read(token("Rest") + garbage + token("less"))

    assert (text, reader.failure, reader.is_done) == ("Rest", GARBAGE, False)


@pytest.mark.parametrize(("length", "failure"), [(LONGEST_EVENT - 100, None), (LONGEST_EVENT + 1, GARBAGE)])
def test_an_event_has_a_longest_length(length, failure):
    parts = [b"data: ", *(b"x" * 65_536 for _ in range(length // 65_536)), b"x" * (length % 65_536)]

    assert read(token("Rest"), *parts)[1].failure == failure


@pytest.mark.parametrize(
    "event_of_failure",
    [event({"error": {"message": "no"}}), event({"error": "no"}), event({"error": {}, "choices": []}),
     event({"error_code": 336_501, "error_msg": "rate"}), event({"errors": ["no"]}), event({"object": "error"}),
     event({"object": "error", "message": "no", "code": 400}), event({"type": "error"}), event({"detail": "no"}),
     event({"detail": [{"loc": ["body"]}]}), event({"code": "Throttling", "message": "no"}), event({"code": 500}),
     event({"choices": None, "code": 500, "message": "no"}), event({"choices": [], "usage": None, "status": 503}),
     event({"choices": None, "base_resp": {"status_code": 1004, "status_msg": "no"}}),
     event({"message": "Internal server error"}), event({"status": 503}),
     b"event: error\ndata: boom\n\n", b"event: error\ndata: {}\n\n", b"event: error\n\n", b"event:error\ndata:null\n\n",
     b"event: response.failed\ndata: {}\n\n", event({"choices": [{"delta": {}, "error": {"code": 502}}]}),
     *(token("", finish_reason=told) for told in ("error", "network_error", "abort", "insufficient_system_resource",
                                                  "cancelled", "MALFORMED_RESPONSE", "timeout", "unknown"))],
)  # fmt: skip
def test_a_failure_in_any_words_is_a_failure(event_of_failure):
    for before in ((token("Rest"),), (token("Re", finish_reason="stop"), token("st", finish_reason="stop"))):
        text, reader = read(*before, event_of_failure, DONE)

        assert (text, reader.failure, reader.is_done) == ("Rest", UPSTREAM_ERROR, False)


@pytest.mark.parametrize(
    ("told", "reason"),
    [("stop", "stop"), ("STOP", "stop"), ("end_turn", "stop"), ("eos_token", "stop"), ("max_tokens", "length"),
     ("FinishReason.MAX_TOKENS", "length"), ("content-filter", "content-filter"), ("tool_calls", "other")],
)  # fmt: skip
def test_good_endings_have_many_names(told, reason):
    text, reader = read(token("Rest"), token("", finish_reason=told), DONE)

    assert (text, reader.reason, reader.failure) == ("Rest", reason, None)


def test_a_finish_reason_on_each_chunk_ends_nothing():
    _, reader = read(token("", finish_reason="stop"), token("Re", finish_reason="stop"))
    assert not reader.is_complete

    reader.feed(token("st", finish_reason="stop"))
    assert not reader.is_complete
    assert not reader.may_be_complete

    reader.feed(token("", finish_reason="stop"))
    assert not reader.is_complete

    assert reader.end() == []
    assert reader.is_done


def test_a_cut_among_finish_reasons_on_each_chunk_is_a_cut():
    _, reader = read(token("Re", finish_reason="stop"), token("st", finish_reason="stop"))

    reader.end(is_cut=True)

    assert reader.failure == BROKEN_OFF


def test_garbage_behind_the_finish_reason_spoils_nothing():
    text, reader = read(token("Rest"), STOP, b'data: {"x\n\n')

    assert (text, reader.failure, reader.is_done) == ("Rest", None, True)


@pytest.mark.parametrize("ending", [b"\r\n", b"\r", b"\n"])
def test_lines_may_end_in_carriage_returns_and_be_divided_anywhere(ending):
    stream = (b"\xef\xbb\xbf" + token("Ré") + b": x\n\n" + token("st") + STOP + DONE).replace(b"\n", ending)

    for size in (1, 2, 3, len(stream)):
        text, reader = read(*(stream[at : at + size] for at in range(0, len(stream), size)))
        assert (text, reader.failure, reader.is_done) == ("Rést", None, True)


def test_json_may_stand_on_several_data_lines():
    lines = json.dumps({"choices": [{"delta": {"content": "Rest"}}]}, indent=1).splitlines()

    assert read(b"".join(f"data: {line}\n".encode() for line in lines), b"\n", DONE)[0] == "Rest"


def test_events_need_no_blank_line_between_them():
    assert read((token("Re") + token("st") + STOP + DONE).replace(b"\n\n", b"\n"))[0] == "Rest"


def test_a_whole_answer_instead_of_a_stream_is_read():
    whole = {"choices": [{"message": {"role": "assistant", "content": "Rest"}, "finish_reason": "stop"}]}
    reader = AnswerReader()

    pieces = [*reader.feed(json.dumps(whole).encode()), *reader.end()]

    assert (pieces, reader.reason, reader.is_done) == ([Delta("Rest")], "stop", True)


@pytest.mark.parametrize(
    ("content", "text", "thoughts"),
    [([{"type": "text", "text": "Re"}, {"type": "text", "text": "st"}], "Rest", ""),
     (["Re", None, "st", 7], "Rest", ""), ({"type": "text", "text": "Rest"}, "Rest", ""),
     ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "R"}], "R", "hm"),
     ([{"type": "image_url", "image_url": {"url": "x"}}, {"type": "refusal", "refusal": "No."}], "No.", "")],
)  # fmt: skip
def test_content_may_be_a_list_of_parts(content, text, thoughts):
    assert said(AnswerReader(), token(content), DONE) == (text, thoughts)


@pytest.mark.parametrize(
    "delta",
    [{"reasoning_content": "hm"}, {"reasoning": "hm"}, {"reasoning": "hm", "reasoning_content": "hm"},
     {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}], "reasoning": "hm"}, {"content": "<think>hm"},
     {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}, {"thinking": "hm"}],
)  # fmt: skip
def test_what_is_thought_aloud_is_not_the_answer(delta):
    assert said(AnswerReader(), event({"choices": [{"delta": delta}]}), DONE) == ("", "hm")


def test_a_refusal_is_text():
    assert read(event({"choices": [{"delta": {"refusal": "No."}}]}))[0] == "No."


def test_halves_of_surrogate_pairs_are_joined_or_replaced():
    halves = [
        rb'data: {"choices":[{"delta":{"content":"%b"}}]}' % half + b"\n\n" for half in (rb"a\ud83d", rb"\ude00b")
    ]

    assert read(*halves, DONE)[0] == "a😀b"
    assert read(halves[1], halves[0], token("c"), DONE)[0] == "�ba�c"


def test_bytes_that_are_no_utf8_cost_no_more_than_themselves():
    assert read(b'data: {"choices":[{"delta":{"content":"R\xff"}}]}\n\n', token("st"), DONE)[0] == "R�st"


@pytest.mark.parametrize(
    ("asked", "written"),
    [(-1, 5), (5, -1), (1.5, 2), (None, 2), (True, True), ("3", "2"), (0, 0), (3, 0), (10**30, 2), (3, 2**63),
     (float("inf"), 2), (float("nan"), 2), (MOST_TOKENS + 1, 2), ([], {})],
)  # fmt: skip
def test_usage_that_cannot_be_true_is_none(asked, written):
    text, reader = read(token("Rest"), STOP, usage(asked, written), DONE)

    assert (text, reader.usage, reader.failure) == ("Rest", None, None)


@pytest.mark.parametrize("figures", [(1, 1), (MOST_TOKENS, MOST_TOKENS), (3.0, 2.0)])
def test_usage_at_the_edge_counts(figures):
    assert read(token("Rest"), STOP, usage(*figures), DONE)[1].usage == Usage(*map(int, figures))


def test_a_figure_of_a_million_digits_is_no_usage():
    huge = b'data: {"choices":[],"usage":{"prompt_tokens":%b,"completion_tokens":1e999}}\n\n' % (b"9" * 1_000_000)

    assert read(token("Rest"), STOP, huge, DONE)[1].usage is None


def test_usage_of_a_part_of_the_answer_is_none_of_the_whole():
    assert read(token("Re"), usage(3, 1), token("st"), STOP, DONE)[1].usage is None


@pytest.mark.parametrize(
    ("sent", "failure"),
    [((), BROKEN_OFF), ((token("Re"),), BROKEN_OFF), ((token("Re"), STOP), None),
     ((token("Re"), STOP[:-9]), BROKEN_OFF),
     ((token("Re"), DONE[:-2]), None), ((token("Re"), STOP[:-2]), None)],
)  # fmt: skip
def test_an_end_before_the_finish_reason_is_a_cut(sent, failure):
    for is_cut in (False, True):
        _, reader = read(*sent)

        reader.end(is_cut=is_cut)

        assert (reader.failure, reader.is_done) == (failure, failure is None)


def test_an_event_of_empty_lines_has_an_end_too():
    reader, began = AnswerReader(), time.process_time()
    reader.feed(b"data: {\n")

    for _ in range(1_000):
        reader.feed(b"data:\n" * 100)

    assert reader.failure == GARBAGE
    assert time.process_time() - began < 1.0


def test_a_huge_delta_costs_milliseconds():
    huge = token("word " * 200_000)
    reader, began = AnswerReader(), time.process_time()

    for at in range(0, len(huge), 1_000):
        reader.feed(huge[at : at + 1_000])

    assert reader.has_text
    assert time.process_time() - began < 1.0


DEEP = b"data: " + b'{"choices":[{"delta":{"content":' + b"[" * 900 + b"]" * 900 + b"}}]}\n\n"


@given(
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from([token("a"), STOP, DONE, DEEP, b"data: ", b"\n", b"\r", b"event: error\n", b"[" * 5_000]),
        max_size=12,
    )
)
def test_no_bytes_break_it(data):
    text, reader = read(*data)
    reader.end()

    assert isinstance(text, str)
    assert (reader.failure is None) == reader.is_done
