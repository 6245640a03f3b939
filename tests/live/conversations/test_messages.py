"""The messages of a conversation, branch by branch, as a chat is begun with them."""

from __future__ import annotations

import pytest

from tests.live.conversations.conftest import Desk, past, said


async def test_stored_messages_have_the_parts_of_the_stream(desk: Desk):
    await desk.person.asks("My knee hurts when I run down hills near Potsdam.", id="before")
    answer = await desk.person.asks("What did I say about my knee and running?", id="c", message_id="m1")
    told = [part for part in answer.parts if part["type"] in ("data-context", "source-document")]

    question, stored = (await desk.reads("/conversations/c/messages"))["items"]

    assert (question["id"], question["role"], question["parent_id"]) == ("m1", "user", None)
    assert question["parts"] == [{"type": "text", "text": "What did I say about my knee and running?", "state": "done"}]
    assert stored["id"] == answer.first("start")["messageId"]
    assert (stored["role"], stored["parent_id"], stored["siblings"]) == ("assistant", "m1", [stored["id"]])
    assert stored["parts"] == [*told, {"type": "text", "text": answer.text, "state": "done"}]
    metadata = answer.first("start")["messageMetadata"] | answer.first("finish")["messageMetadata"]
    assert metadata.items() <= stored["metadata"].items()
    assert stored["metadata"]["status"] == "complete"


async def test_a_chat_goes_on_from_what_was_read(desk: Desk):
    await desk.person.asks("One", id="c", message_id="m1")
    held = (await desk.reads("/conversations/c/messages"))["items"]
    new = {"id": "m2", "role": "user", "parts": [{"type": "text", "text": "Two"}]}

    response = await desk.send("POST", "/chat", json={"id": "c", "messages": [*held, new]})

    assert response.status_code == 200
    items = (await desk.reads("/conversations/c/messages"))["items"]
    assert [item["id"] for item in items[:3]] == [*(item["id"] for item in held), "m2"]
    assert items[2]["parent_id"] == held[1]["id"]


async def test_branches_are_listed_and_selected(desk: Desk):
    """An edited question and an answer made twice."""
    await desk.person.asks("One", id="c", message_id="m1")
    await desk.person.asks("Two", id="c", message_id="m2")
    first_branch = await desk.reads("/conversations/c/messages")
    await desk.person.asks("One", id="c", message_id="m1", trigger="regenerate-message")
    again = (await desk.reads("/conversations/c/messages"))["items"]
    await desk.person.asks("Uno", id="c", message_id="m1", messageId="m1")
    edited = (await desk.reads("/conversations/c/messages"))["items"]

    assert [item["parts"][-1]["text"] for item in first_branch["items"]][::2] == ["One", "Two"]
    assert again[0]["id"] == "m1"
    assert again[1]["siblings"] == [first_branch["items"][1]["id"], again[1]["id"]]
    assert edited[0]["parts"][0]["text"] == "Uno"
    assert edited[0]["siblings"] == ["m1", edited[0]["id"]]
    assert edited[0]["parent_id"] is None

    through = (await desk.reads(f"/conversations/c/messages?leaf={first_branch['items'][1]['id']}"))["items"]
    assert [item["id"] for item in through] == [item["id"] for item in first_branch["items"]]
    to_leaf = (await desk.reads(f"/conversations/c/messages?leaf={again[1]['id']}"))["items"]
    assert [item["id"] for item in to_leaf] == [item["id"] for item in again]

    changed = await desk.changes("/conversations/c", current_message_id=again[1]["id"])
    assert changed.json()["current_message_id"] == again[1]["id"]
    shown = (await desk.reads("/conversations/c/messages"))["items"]
    assert [item["id"] for item in shown] == [item["id"] for item in again]
    await desk.person.asks("Three", id="c", message_id="m3")
    shown = (await desk.reads("/conversations/c/messages"))["items"]
    assert [item["id"] for item in shown[:3]] == [*(item["id"] for item in again), "m3"]


async def test_pages_lead_back_in_time_and_stay_while_messages_arrive(desk: Desk):
    texts = [f"Message {n}" for n in range(23)]
    await desk.imports(past("c", *(said(f"m{n}", text, n) for n, text in enumerate(texts))))
    pages: list[list[str]] = []
    cursor = ""
    while True:
        page = await desk.reads(f"/conversations/c/messages?limit=5{cursor}")
        pages.insert(0, [item["parts"][0]["text"] for item in page["items"]])
        await desk.imports(past("c", said(f"late{len(pages)}", "Late", 100 + len(pages))))
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert [text for page in pages for text in page] == texts
    assert [len(page) for page in pages] == [3, 5, 5, 5, 5]


async def test_a_page_that_ends_at_the_first_message_is_the_last(desk: Desk):
    await desk.imports(past("c", said("a", "x", 0), said("b", "y", 1)))

    assert (await desk.reads("/conversations/c/messages?limit=2"))["next_cursor"] is None


async def test_a_conversation_without_messages_has_none(desk: Desk):
    await desk.imports(past("empty", title="Nothing yet"), past("other", said("m", "x", 0)))

    assert await desk.reads("/conversations/empty/messages") == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("leaf", ["elsewhere", "", "a b", "x" * 129])
async def test_a_leaf_of_another_conversation_is_refused(desk: Desk, leaf: str):
    await desk.imports(past("c", said("m", "x", 0)), past("d", said("elsewhere", "x", 0)))

    response = await desk.send("GET", "/conversations/c/messages", params={"leaf": leaf})

    assert (response.status_code, response.json()["errors"][0]["path"]) == (422, "leaf")


@pytest.mark.parametrize("status", ["interrupted", "failed"])
async def test_how_an_answer_ended_stands_in_its_metadata(desk: Desk, owner, status: str):
    await desk.person.asks("Hello", id="c")
    await owner.execute(
        """
        update ai_conversation_memory
        set status = %s, context_window = context_window || '{"problem": ["model-unavailable", "It said nothing."]}'
        where user_id = %s and message_role = 'assistant'
        """,
        (status, desk.person.user_id),
    )

    metadata = (await desk.reads("/conversations/c/messages"))["items"][1]["metadata"]

    assert metadata["status"] == status
    assert metadata.get("problem") == (
        {"type": "/problems/model-unavailable", "detail": "It said nothing."} if status == "failed" else None
    )


async def test_a_running_answer_is_shown_as_far_as_it_is(desk: Desk, owner):
    await desk.person.asks("Hello", id="c")
    answer = "select id from ai_conversation_memory where user_id = %s and message_role = 'assistant'"
    await owner.execute(
        f"insert into turn_checkpoints (user_id, message_id, content) select %s, ({answer}), 'So far'",
        (desk.person.user_id, desk.person.user_id),
    )
    await owner.execute(
        "update ai_conversation_memory set status = 'streaming', message_content = '', context_window = '{}'"
        " where user_id = %s and message_role = 'assistant'",
        (desk.person.user_id,),
    )

    shown = (await desk.reads("/conversations/c/messages"))["items"][1]

    assert shown["parts"] == [{"type": "text", "text": "So far", "state": "streaming"}]
    assert shown["metadata"]["status"] == "streaming"
    assert (await desk.reads("/conversations/c"))["running"] is True
    assert (await desk.reads("/conversations"))["items"][0]["running"] is True


@pytest.mark.parametrize("stored", ["[]", '{"sources": 7}', '"text"', '{"receipt": {"used": 1}}'])
async def test_what_another_app_wrote_beside_a_message_hides_nothing(desk: Desk, owner, stored: str):
    await desk.person.asks("Hello", id="c")
    await owner.execute(
        "update ai_conversation_memory set context_window = %s where user_id = %s and message_role = 'assistant'",
        (stored, desk.person.user_id),
    )

    assert len((await desk.reads("/conversations/c/messages"))["items"]) == 2


async def test_feedback_is_kept_and_the_latest_word_counts(desk: Desk):
    answer = await desk.person.asks("Hello", id="c")
    path = f"/conversations/c/messages/{answer.first('start')['messageId']}/feedback"

    first = await desk.send("POST", path, json={"rating": "down", "reason": "Too long", "correction": "Hi"})
    shown = (await desk.reads("/conversations/c/messages"))["items"][1]["metadata"]["feedback"]
    again = await desk.send("POST", path, json={"rating": "up"})

    assert (first.status_code, first.json()) == (200, shown)
    assert (shown["rating"], shown["reason"], shown["correction"]) == ("down", "Too long", "Hi")
    assert (again.json()["rating"], again.json()["reason"]) == ("up", None)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "rating"),
        ({"rating": "sideways"}, "rating"),
        ({"rating": "up", "reason": "x" * 2001}, "reason"),
        ({"rating": "up", "correction": "x" * 32001}, "correction"),
        ({"rating": "up", "reason": "a\0"}, "reason"),
        ({"rating": "up", "stars": 5}, "stars"),
        ({"rating": 1}, "rating"),
    ],
)
async def test_feedback_that_is_none_is_refused(desk: Desk, body: dict[str, object], path: str):
    await desk.imports(past("c", said("q", "x", 0), said("a", "y", 1, "assistant")))

    response = await desk.send("POST", "/conversations/c/messages/a/feedback", json=body)

    assert (response.status_code, response.json()["errors"][0]["path"]) == (422, path)
    assert "feedback" not in (await desk.reads("/conversations/c/messages"))["items"][1]["metadata"]


async def test_only_answers_take_feedback(desk: Desk):
    await desk.imports(past("c", said("q", "x", 0)))

    assert (await desk.send("POST", "/conversations/c/messages/q/feedback", json={"rating": "up"})).status_code == 422
    for path in ("c/messages/none", "none/messages/q", "c/messages/%00", "c/messages/a%20b"):
        response = await desk.send("POST", f"/conversations/{path}/feedback", json={"rating": "up"})
        assert response.status_code == 404, path
