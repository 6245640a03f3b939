"""Reading a chat request: what is taken, what is refused and by which path, and that nothing else can happen."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coach.chat.schemas import MAX_KNOWN_IDS, MAX_TEXT, ChatBody, ChatRequest, requested
from coach.errors import InvalidInput
from coach.http.bodies import read as read_json


def user(text="Hi", **more):
    return {"role": "user", "parts": [{"type": "text", "text": text}]} | more


def parse(body, key=None):
    return requested(read_json(body, ChatBody), key)


def read(body, key=None):
    return parse(json.dumps(body).encode(), key)


def test_the_ai_sdks_request_is_read_whole():
    request = read(
        {
            "id": "c1",
            "messages": [
                user(id="m1"),
                {"id": "a1", "role": "assistant", "parts": [{"type": "reasoning"}]},
                user("And?", id="m2"),
            ],
            "trigger": "submit-message",
            "messageId": "m2",
            "feature": "today_priorities",
            "model": "offline",
            "incognito": True,
        },
        "key-1",
    )

    assert request == ChatRequest(
        conversation_id="c1",
        names_conversation=True,
        message_id="m2",
        text="And?",
        target_id="m2",
        known_ids=(("user", "m1"), ("assistant", "a1")),
        feature="today_priorities",
        model="offline",
        incognito=True,
        idempotency_key="key-1",
    )
    assert request.answer_ids == ("a1",)


def test_what_is_left_out_has_defaults():
    request = read({"messages": [user()]})

    assert request.trigger == "submit-message"
    assert request.feature == "goal_coaching"
    assert request.message_id is None
    assert len(request.conversation_id) == 32
    assert request.conversation_id != read({"messages": [user()]}).conversation_id


def test_null_is_as_good_as_left_out():
    request = read(
        {"id": None, "messageId": None, "feature": None, "model": None, "incognito": None, "messages": [user(id=None)]}
    )

    assert request.message_id is None
    assert not request.incognito


def test_unknown_fields_and_a_clients_own_data_parts_are_ignored():
    message = user() | {"parts": [{"type": "data-mood", "data": {}}, {"type": "text", "text": "Hi"}], "createdAt": 5}

    assert read({"messages": [message], "tools": [], "surprise": {"a": [1, 2]}}).text == "Hi"


def test_several_text_parts_are_one_text():
    assert (
        read({"messages": [user() | {"parts": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]}).text
        == "a\nb"
    )


def test_ids_that_cannot_be_ours_are_left_out_of_the_known_ones():
    strange = ["", ".", "..", "a b", "x" * 129, "ü", 7, None, ["a"], "a\n"]

    request = read({"messages": [*(user(id=i) for i in strange), user(id="m")]})

    assert request.known_ids == ()


def test_only_the_latest_of_very_many_ids_are_kept():
    request = read({"messages": [user(id=f"m{i}") for i in range(5_000)]})

    assert len(request.known_ids) == MAX_KNOWN_IDS
    assert request.known_ids[-1] == ("user", "m4998")


@pytest.mark.parametrize("conversation_id", ["a", "x" * 128, "A-Z_0.9~:", "...", ".a", "openai:2026-11-23"])
def test_documented_ids_are_taken(conversation_id):
    assert read({"id": conversation_id, "messages": [user()]}).conversation_id == conversation_id


@pytest.mark.parametrize("conversation_id", ["", ".", "..", "x" * 129, "a/b", "a b", "ü", "a\n", "a\0", "%2e"])
def test_other_ids_are_refused(conversation_id):
    with pytest.raises(InvalidInput) as refused:
        read({"id": conversation_id, "messages": [user()]})
    assert refused.value.errors[0].path == "id"


@pytest.mark.parametrize("length", [1, MAX_TEXT])
def test_a_text_may_have_up_to_32000_characters(length):
    assert len(read({"messages": [user("é" * length)]}).text) == length


def test_one_character_more_is_refused_by_its_number():
    with pytest.raises(InvalidInput, match="32,001"):
        read({"messages": [user("é" * (MAX_TEXT + 1))]})


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256, "a\nb"])
def test_an_idempotency_key_is_printable_and_short(key):
    with pytest.raises(InvalidInput, match="Idempotency-Key"):
        read({"messages": [user()]}, key)


def test_a_refusal_does_not_repeat_what_was_sent():
    with pytest.raises(InvalidInput) as refused:
        read({"messages": [user()], "trigger": "secret" * 1_000})
    assert "secret" not in str(refused.value)


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
anything = st.recursive(
    scalars, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3)
)
parts = st.lists(
    st.fixed_dictionaries({}, optional={"type": st.just("text") | anything, "text": anything}) | anything, max_size=3
)
messages = st.fixed_dictionaries(
    {}, optional={"id": anything, "role": st.just("user") | anything, "parts": parts | anything}
)
bodies = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("id", "trigger", "messageId", "feature", "model", "incognito", "x"), anything)
    | {"messages": st.lists(messages | anything, max_size=3) | anything},
)


@given(bodies | anything)
def test_any_json_is_either_a_request_or_refused_by_a_path(body):
    refused: list[InvalidInput] = []
    try:
        request = read(body)
    except InvalidInput as error:
        refused.append(error)
    else:
        assert 1 <= len(request.text) <= MAX_TEXT
        assert "\0" not in request.text
        request.text.encode()
    assert all(error.errors[0].path for error in refused)


@given(st.binary(max_size=300))
def test_any_bytes_are_either_a_request_or_refused(body):
    with pytest.raises(InvalidInput):
        parse(body)
