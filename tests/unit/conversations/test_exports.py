"""ChatGPT's export, with everything that real ones hold."""

from __future__ import annotations

import math
from typing import Any

import pytest

from coach.chat.schemas import MAX_TEXT
from coach.conversations.export_nodes import moment
from coach.conversations.exports import conversation_of, is_export
from coach.values.ids import is_id


def node(id_: str, parent: str | None, *parts: Any, role: str = "user", **message: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": list(parts)}
    told = {"author": {"role": role}, "content": content, "create_time": None} | message
    return {"id": id_, "parent": parent, "children": [], "message": told}


def root(id_: str = "root") -> dict[str, Any]:
    return {"id": id_, "parent": None, "children": [], "message": None}


def read(*nodes: dict[str, Any], **head: Any) -> dict[str, Any]:
    return conversation_of(
        {"id": "c", "title": "T", "create_time": 1_700_000_000, "mapping": {n["id"]: n for n in nodes}} | head
    )


def said(*nodes: dict[str, Any], **head: Any) -> list[tuple[str, str | None, str]]:
    return [(m["id"], m["parent_id"], m["content"]) for m in read(*nodes, **head)["messages"]]


def test_a_tree_becomes_messages_that_name_their_parents() -> None:
    nodes = (
        root(),
        node("q", "root", "Hi"),
        node("a", "q", "Ho", role="assistant"),
        node("b", "q", "Hey", role="assistant"),
    )

    assert said(*nodes) == [("q", None, "Hi"), ("a", "q", "Ho"), ("b", "q", "Hey")]


def test_nodes_may_stand_in_any_order() -> None:
    assert said(node("a", "q", "Ho", role="assistant"), node("q", "root", "Hi"), root()) == [
        ("q", None, "Hi"),
        ("a", "q", "Ho"),
    ]


@pytest.mark.parametrize(
    "silent",
    [
        {"role": "system"},
        {"role": "tool"},
        {"content": None},
        {"content": {"content_type": "text", "parts": []}},
        {"content": {"content_type": "text", "parts": ["", "  "]}},
        {"content": {"content_type": "text", "parts": None}},
        {"content": {"content_type": "thoughts", "thoughts": [{"summary": "x"}]}},
        {"content": {"content_type": "user_editable_context", "user_profile": "x", "parts": ["x"]}},
        {"content": {"content_type": "execution_output", "text": "1"}},
        {"content": {"content_type": "code", "text": "run()"}, "recipient": "python", "role": "assistant"},
        {"metadata": {"is_visually_hidden_from_conversation": True}},
        {"author": None},
        {"author": {"role": None}},
        {"content": 7},
    ],
)
def test_nodes_without_a_message_are_skipped(silent: dict[str, Any]) -> None:
    fields = {"parts": ["Hidden"]} | silent
    hidden = node("h", "q", *fields.pop("parts"), **fields)

    assert said(root(), node("q", "root", "Hi"), hidden, node("a", "h", "Ho", role="assistant")) == [
        ("q", None, "Hi"),
        ("a", "q", "Ho"),
    ]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (["One", "Two"], "One\nTwo"),
        ([{"content_type": "image_asset_pointer", "asset_pointer": "x"}, "What is it?"], "[image]\nWhat is it?"),
        ([{"content_type": "image_asset_pointer"}], "[image]"),
        (
            [{"content_type": "audio_transcription", "text": "Spoken"}, {"content_type": "audio_asset_pointer"}],
            "Spoken\n[audio]",
        ),
        ([None, 7, {}, "Text"], "Text"),
        (["A\0B"], "AB"),
        (["See \ue200cite\ue202turn0search1\ue201 here"], "See  here"),
    ],
)
def test_the_parts_of_a_message_are_what_a_reader_saw(parts: list[Any], text: str) -> None:
    message = {"content": {"content_type": "multimodal_text", "parts": parts}}

    assert said(root(), node("q", "root", **message)) == [("q", None, text)]


def test_times_are_unix_and_no_answer_is_older_than_its_question() -> None:
    messages = read(
        root(),
        node("q", "root", "Hi", create_time=1_700_000_050.5),
        node("a", "q", "Ho", role="assistant", create_time=1_700_000_000),
    )["messages"]

    assert [m["created_at"] for m in messages] == [
        "2023-11-14T22:14:10.500000+00:00",
        "2023-11-14T22:14:10.500001+00:00",
    ]


@pytest.mark.parametrize("value", [None, True, "1700000000", math.nan, math.inf, -1, 0, 1e18, 10**400, 9_999_999_999])
def test_a_time_that_is_none_is_not_guessed(value: Any) -> None:
    assert moment(value) is None


def test_a_circle_and_a_lost_parent_lose_only_themselves() -> None:
    nodes = (
        root(),
        node("x", "y", "Circle"),
        node("y", "x", "Circle"),
        node("z", "gone", "Orphan"),
        node("s", "s", "Self"),
    )

    assert said(*nodes) == [("z", None, "Orphan")]


def test_a_deep_conversation_is_no_recursion() -> None:
    nodes = [root("n0"), *(node(f"n{i}", f"n{i - 1}", "x") for i in range(1, 5_000))]

    assert len(said(*nodes)) == 4_999


def test_a_text_longer_than_a_message_becomes_several_in_a_row() -> None:
    words = "word " * 15_000

    pieces = said(root(), node("q", "root", words), node("a", "q", "Ho", role="assistant"))

    assert [(id_, parent) for id_, parent, _ in pieces] == [("q", None), ("q~2", "q"), ("q~3", "q~2"), ("a", "q~3")]
    assert all(len(text) <= MAX_TEXT for _, _, text in pieces)
    assert " ".join(text.strip() for _, _, text in pieces[:3]) == words.strip()


def test_a_text_without_any_space_is_cut_all_the_same() -> None:
    pieces = said(root(), node("q", "root", "x" * (MAX_TEXT + 5)))

    assert [len(text) for _, _, text in pieces] == [MAX_TEXT, 5]


def test_ids_that_cannot_be_ours_get_a_name_that_stays() -> None:
    told = read(
        root(),
        node("a b/c", "root", "Hi"),
        node("a", "a b/c", "Ho", role="assistant"),
        id=None,
        conversation_id="my id",
    )

    assert is_id(told["id"])
    assert all(is_id(message["id"]) for message in told["messages"])
    assert told["messages"][1]["parent_id"] == told["messages"][0]["id"]
    assert told == read(
        root(),
        node("a b/c", "root", "Hi"),
        node("a", "a b/c", "Ho", role="assistant"),
        id=None,
        conversation_id="my id",
    )


@pytest.mark.parametrize(
    ("current", "shown"), [("a", "a"), ("h", "a"), ("root", None), (None, None), ("gone", None), ([], None)]
)
def test_the_branch_that_was_shown_is_shown(current: Any, shown: str | None) -> None:
    hidden = node("h", "a", "x", role="tool")

    told = read(root(), node("q", "root", "Hi"), node("a", "q", "Ho", role="assistant"), hidden, current_node=current)

    assert told.get("current_message_id") == shown


@pytest.mark.parametrize("mapping", [None, [], "x", {"a": None}, {"a": "b"}, {"a": {"message": 7, "parent": 9}}])
def test_a_mapping_that_is_none_holds_nothing(mapping: Any) -> None:
    assert conversation_of({"id": "c", "mapping": mapping})["messages"] == []


def test_a_title_is_bounded_and_may_be_missing() -> None:
    assert read(root(), title=None)["title"] == ""
    assert len(read(root(), title="x" * 500)["title"]) == 200


def texts(sent: dict[str, Any]) -> list[tuple[str, str, str | None, str]]:
    assert is_export(sent)
    told = conversation_of(sent)
    return [(m["id"], m["role"], m["parent_id"], m["content"]) for m in told["messages"]]


def deepseek(*messages: dict[str, Any] | None) -> dict[str, Any]:
    ids = ["root", *(str(n) for n in range(1, len(messages) + 1))]
    nodes = [{"id": "root", "parent": None, "children": ["1"], "message": None}]
    nodes += [
        {"id": id_, "parent": above, "children": [], "message": message}
        for id_, above, message in zip(ids[1:], ids, messages, strict=False)
    ]
    return {"id": "d", "title": "Knee", "inserted_at": "2025-03-30T04:49:36.505000+08:00",
            "updated_at": "2025-03-30T04:50:29+08:00", "mapping": {each["id"]: each for each in nodes}}  # fmt: skip


def fragments(*pairs: tuple[str, str]) -> dict[str, Any]:
    said_at = "2025-03-30T04:49:37.018000+08:00"
    return {"files": [], "model": "deepseek-reasoner", "inserted_at": said_at,
            "fragments": [{"type": kind, "content": text} for kind, text in pairs]}  # fmt: skip


def test_deepseeks_fragments_are_the_question_and_the_answer_without_its_thoughts() -> None:
    told = deepseek(
        fragments(("REQUEST", "My knee?")),
        fragments(("THINK", "Let me think."), ("RESPONSE", "Rest"), ("SEARCH", "x"), ("RESPONSE", "it.")),
    )

    assert texts(told) == [("1", "user", None, "My knee?"), ("2", "assistant", "1", "Rest\nit.")]
    assert conversation_of(told)["created_at"] == "2025-03-29T20:49:36.505000+00:00"
    assert conversation_of(told)["messages"][0]["created_at"] == "2025-03-29T20:49:37.018000+00:00"


def test_nodes_that_tell_no_role_take_turns_from_the_user_on() -> None:
    plain = [
        {"model": "deepseek-chat", "content": text, "reasoning_content": "x"} for text in ("Knee?", "Rest.", "On?")
    ]

    assert [(role, text) for _, role, _, text in texts(deepseek(*plain))] == [
        ("user", "Knee?"), ("assistant", "Rest."), ("user", "On?"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [
        {"role": "USER", "content": "Knee?"},
        {"author": {"role": "user"}, "content": "Knee?"},
        {"sender": "human", "text": "Knee?"},
        {"sender": "User", "isCreatedByUser": True, "text": "Knee?"},
        {"role": "user", "content": [{"type": "text", "text": "Knee?"}]},
        {"role": "user", "content": [{"type": "thinking", "text": "Hm"}, {"type": "input_text", "text": "Knee?"}]},
    ],
)
def test_the_like_of_a_mapping_is_read_whatever_its_messages_call_their_parts(message: dict[str, Any]) -> None:
    mapping = {"n": {"id": "n", "parent": None, "children": [], "message": message}}

    assert texts({"id": "c", "mapping": mapping}) == [("n", "user", None, "Knee?")]
    assert texts({"id": "c", "mapping": {"n": {"id": "n", "parent": None, **message}}}) == [
        ("n", "user", None, "Knee?")
    ]


def test_claudes_export_is_a_chain_or_names_its_parents() -> None:
    chain = [
        {"uuid": "a", "sender": "human", "text": "Knee?", "created_at": "2025-01-01T10:00:00.000000Z"},
        {"uuid": "b", "sender": "assistant", "text": "", "content": [{"type": "thinking", "thinking": "Hm"},
            {"type": "text", "text": "Rest."}, {"type": "tool_use", "input": {}}]},
    ]  # fmt: skip
    named = [each | {"parent_message_uuid": above} for each, above in zip(chain, ["0000", "a"], strict=True)]
    head = {"uuid": "u", "name": "Knee", "created_at": "2025-01-01T09:00:00Z", "account": {"uuid": "x"}}

    for messages in (chain, named):
        sent = head | {"chat_messages": messages}
        assert texts(sent) == [("a", "user", None, "Knee?"), ("b", "assistant", "a", "Rest.")]
        assert conversation_of(sent)["title"] == "Knee"
        assert conversation_of(sent)["id"] == "u"


def test_open_webuis_export_is_its_history() -> None:
    history = {
        "q": {"id": "q", "parentId": None, "childrenIds": ["a"], "role": "user", "content": "Knee?",
              "timestamp": 1_740_000_000},
        "a": {"id": "a", "parentId": "q", "childrenIds": [], "role": "assistant", "content": "Rest.",
              "timestamp": 1_740_000_009},
    }  # fmt: skip
    chat = {"title": "Knee", "messages": [], "history": {"messages": history, "currentId": "a"}}
    sent = {"id": "w", "user_id": "u", "title": "Knee", "chat": chat, "created_at": 1_740_000_000, "pinned": False}

    assert texts(sent) == [("q", "user", None, "Knee?"), ("a", "assistant", "q", "Rest.")]
    assert conversation_of(sent)["current_message_id"] == "a"


def test_librechats_export_is_flat_or_a_tree() -> None:
    answer = {"messageId": "a", "parentMessageId": "q", "sender": "GPT-4", "isCreatedByUser": False, "text": "Rest."}
    question = {"messageId": "q", "parentMessageId": "0000", "sender": "User", "isCreatedByUser": True, "text": "Knee?"}
    head = {"conversationId": "l", "title": "Knee", "endpoint": "openAI", "options": {}}

    for messages in ([question, answer], [question | {"children": [answer]}]):
        assert texts(head | {"messages": messages}) == [("q", "user", None, "Knee?"), ("a", "assistant", "q", "Rest.")]


def test_our_own_form_is_no_export() -> None:
    assert not is_export({"id": "c", "messages": [{"id": "m", "role": "user", "content": "x"}]})
    assert not is_export({"id": "c", "messages": []})
    assert not is_export({"name": "x"})
