"""What a call's body comes to."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coach.chat.prompt import Template
from coach.errors import CoachError, InvalidInput, NotFound
from coach.http.bodies import read
from coach.models.base import ModelOptions
from coach.openai_api.calls import completion_call, input_messages, response_call
from coach.openai_api.messages import MOST_REFERENCES, Message, read_call_messages, referenced
from coach.openai_api.schemas import CompletionBody, ResponseBody
from tests.unit.openai_api.test_ui_task_shapes import TITLE


def said(*messages):
    return read_call_messages([Message(role, json.dumps(content).encode()) for role, content in messages], "messages")


def test_the_last_user_message_is_the_question_wherever_notes_stand():
    found = said(("system", "a"), ("user", "1"), ("assistant", "2"), ("developer", "b"), ("user", "3"), ("system", "c"))

    assert found.question == "3"
    assert found.history == (("assistant", "2"), ("user", "1"))
    assert found.notes == ("a", "b", "c")
    assert found.at == "messages[4].content"


def test_what_is_empty_is_no_history():
    assert said(("assistant", None), ("user", " "), ("assistant", ""), ("system", " "), ("user", "x")).history == ()


def test_a_ui_task_stands_without_history():
    assert said(("user", TITLE)).is_ui_task
    assert said(("system", "Be brief."), ("user", TITLE)).is_ui_task
    assert not said(("user", "1"), ("assistant", "2"), ("user", TITLE)).is_ui_task
    assert not said(("user", "1"), ("user", TITLE)).is_ui_task


def test_a_call_with_many_system_messages_is_a_turn():
    """A question of megabytes would be looked at, and copied, with each of thousands."""
    assert said(*[("system", "Be brief.")] * 8, ("user", TITLE)).is_ui_task
    assert not said(*[("system", "Be brief.")] * 9, ("user", TITLE)).is_ui_task


@pytest.mark.parametrize(
    ("wishes", "most"),
    [
        ({"max_tokens": -1}, None),
        ({"max_completion_tokens": 0}, None),
        ({"max_completion_tokens": -1, "max_tokens": 300}, 300),
        ({"max_completion_tokens": 200, "max_tokens": 300}, 200),
        ({"max_tokens": 1}, 1),
        ({"max_tokens": 8_193}, 8_192),
        ({"max_tokens": None}, None),
    ],
)
def test_no_length_that_is_none_becomes_one(wishes, most):
    body = {"model": "coach", "messages": [{"role": "user", "content": "x"}], **wishes}

    assert completion_call(read(json.dumps(body).encode(), CompletionBody)).options.max_tokens == most


def test_a_reference_is_the_answer_it_names():
    asked = [Message("user", b'"1"'), Message(type="item_reference", id="msg_1"), Message("user", b'"2"')]

    found = read_call_messages(asked, "input", {"msg_1": "An answer."})

    assert referenced(asked) == ("msg_1",)
    assert found.history == (("assistant", "An answer."), ("user", "1"))
    with pytest.raises(NotFound, match=r"input\[1\].id"):
        read_call_messages(asked, "input", {})


@pytest.mark.parametrize("surplus", [0, 1])
def test_references_are_counted_to_the_edge(surplus):
    asked = [Message(type="item_reference", id="msg_1")] * (MOST_REFERENCES + surplus)

    with pytest.raises(InvalidInput, match=r"^input: .*1,001.*1,000") if surplus else nullcontext():
        assert len(referenced(asked)) == 1_000


def test_an_assistants_refusal_is_its_text():
    found = said(("user", "1"), ("assistant", [{"type": "refusal", "refusal": "No."}]), ("user", "2"))

    assert found.history[0] == ("assistant", "No.")


def test_an_answer_gets_half_of_a_small_models_context_at_most():
    template = Template("goal_coaching", "1", "", ModelOptions(temperature=0.5, max_tokens=900))

    tuned = template.tuned(ModelOptions(max_tokens=8_192, stop=("END",)), 4_096)

    assert tuned.options == ModelOptions(max_tokens=2_048, stop=("END",))


def test_a_caller_is_sent_no_parameter_that_it_did_not_ask_for():
    template = Template("goal_coaching", "1", "", ModelOptions(temperature=0.5, max_tokens=900, is_ours=True))

    assert template.tuned(ModelOptions(), 4_096).options == ModelOptions()
    assert template.tuned(ModelOptions(top_p=0.0), 4_096).options == ModelOptions(top_p=0.0)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("ab\0é ", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\0é ", max_size=4), inner, max_size=3),
    max_leaves=8,
)
NAMES = (
    "model", "messages", "stream", "stream_options", "stop", "seed", "temperature", "top_p", "max_tokens", "n", "tools",
    "response_format", "metadata", "input", "instructions", "conversation", "previous_response_id", "include", "text",
)  # fmt: skip


def answered_call(body):
    return response_call(body, input_messages(body), {"msg_1": "An answer."})


@pytest.mark.parametrize(("kind", "called"), [(CompletionBody, completion_call), (ResponseBody, answered_call)])
@settings(max_examples=300)
@given(body=st.dictionaries(st.sampled_from(NAMES), values))
def test_whatever_comes_is_a_call_or_a_refusal(kind, called, body):
    try:
        call = called(read(json.dumps({"model": "coach", "messages": [], "input": "x"} | body).encode(), kind))
    except CoachError:
        return
    assert call.said.question
    assert 1 <= (call.options.max_tokens or 1) <= 8_192
    assert 0 <= (call.options.temperature or 0) <= 2


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (r"a\ud800b", "a\ufffdb"),
        (r"a\udc00", "a\ufffd"),
        (r"\uD83D\uDE00", "\U0001f600"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"\ude00\ud83d", "\ufffd\ufffd"),
        (r"\ud800\u0041\n", "\ufffdA\n"),
        (r"\\ud800", r"\ud800"),
        (r"\\\ud800", "\\\ufffd"),
    ],
)
def test_half_a_surrogate_pair_is_a_replacement_character(sent, text):
    body = b'{"model":"coach","other":"%b","messages":[{"role":"user","content":"%b"}]}' % (
        sent.encode(),
        sent.encode(),
    )

    assert completion_call(read(body, CompletionBody)).said.question == text
