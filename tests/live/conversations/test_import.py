"""Bringing conversations from elsewhere: once, in any order, whatever else is in the file."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from coach.chat.schemas import MAX_TEXT
from coach.conversations.import_schemas import MAX_MESSAGES
from coach.http.limits import IMPORT_BODY
from tests.live.conftest import eventually
from tests.live.conversations.conftest import Desk, past, said


async def chain(desk: Desk, conversation: str) -> list[tuple[str, str | None]]:
    items = (await desk.reads(f"/conversations/{conversation}/messages?limit=200"))["items"]
    return [(item["id"], item["parent_id"]) for item in items]


async def test_what_was_said_elsewhere_is_here(desk: Desk):
    response = await desk.imports(
        past("c", said("a", "Knee?", 0, name="Ann"), said("b", "Rest it.", 1, "assistant"), title="Knee"),
        {"id": "d", "title": "Empty", "created_at": "2024-05-01T10:00:00+02:00", "messages": []},
    )

    assert response.status_code == 202
    assert response.json() == {"conversations": 2, "messages": 2, "known": 0, "rejected": []}
    c, d = (await desk.reads("/conversations"))["items"]
    assert (c["title"], c["current_message_id"], c["updated_at"]) == ("Knee", "b", "2025-03-01T12:01:00Z")
    assert (d["title"], d["current_message_id"], d["created_at"]) == ("Empty", None, "2024-05-01T08:00:00Z")
    question, answer = (await desk.reads("/conversations/c/messages"))["items"]
    assert (question["metadata"]["name"], answer["role"], answer["parent_id"]) == ("Ann", "assistant", "a")


async def test_importing_costs_no_quota_and_is_embedded_in_the_background(desk: Desk):
    await desk.imports(past("c", said("a", "My knee hurts on the hills", 0)))

    for _ in range(200):
        waiting = (await desk.reads("/me/pipeline"))["waiting"]
        if not waiting:
            break
        await asyncio.sleep(0.05)
    assert waiting == 0
    assert (await desk.reads("/me/quota"))["used"] == 0
    found = (await desk.reads("/search?q=pain in the joint when descending&domain=conversation"))["items"]
    assert [item["message_id"] for item in found] == ["a"]


async def test_the_same_again_changes_nothing(desk: Desk):
    told = past("c", said("a", "One", 0), said("b", "Two", 1))
    await desk.imports(told)
    before = await desk.reads("/conversations/c/messages")

    response = await desk.imports(past("c", said("a", "Another text", 0), said("b", "Two", 1), title="Another title"))

    assert response.json() == {"conversations": 1, "messages": 0, "known": 2, "rejected": []}
    assert await desk.reads("/conversations/c/messages") == before
    assert (await desk.reads("/conversations/c"))["title"] == "One"


@pytest.mark.parametrize("seed", range(4))
async def test_messages_come_in_any_order_and_in_any_pieces(desk: Desk, seed: int):
    messages = [said(f"m{n}", f"Text {n}", n) for n in range(20)]
    shuffled = random.Random(seed).sample(messages, len(messages))

    for start in range(0, 20, 7):
        assert (await desk.imports(past("c", *shuffled[start : start + 7]))).status_code == 202

    assert await chain(desk, "c") == [("m0", None), *((f"m{n}", f"m{n - 1}") for n in range(1, 20))]


async def test_messages_of_one_second_and_without_a_time_keep_their_order(desk: Desk):
    same = [said(f"s{n}", "x", 0) for n in range(5)]
    none = [{"id": f"n{n}", "role": "user", "content": "x"} for n in range(5)]

    await desk.imports(past("c", *same), past("d", *none))

    assert [id_ for id_, _ in await chain(desk, "c")] == [f"s{n}" for n in range(5)]
    assert [id_ for id_, _ in await chain(desk, "d")] == [f"n{n}" for n in range(5)]


async def test_a_conversation_that_went_on_here_stays_where_it_is(desk: Desk):
    await desk.imports(past("c", said("a", "Old", 10)))
    await desk.person.asks("New", id="c", message_id="new")
    before = await chain(desk, "c")

    await desk.imports(past("c", said("earlier", "Older", 0), said("later", "Newer", 20)))

    assert await chain(desk, "c") == [("earlier", None), ("a", "earlier"), *before[1:]]


async def test_branches_name_their_parents_also_ahead_of_them(desk: Desk):
    later = past("c", said("b2", "Two again", 3, "assistant", parent_id="a"), said("c2", "On", 4, parent_id="b2"))
    first = past("c", said("a", "One", 0, parent_id=None), said("b", "Two", 1, "assistant", parent_id="a"))

    await desk.imports(later)
    await desk.imports(first)

    assert await chain(desk, "c") == [("a", None), ("b2", "a"), ("c2", "b2")]
    items = (await desk.reads("/conversations/c/messages?leaf=b"))["items"]
    assert [item["siblings"] for item in items] == [["a"], ["b", "b2"]]


async def test_a_circle_of_parents_hangs_nothing_up(desk: Desk):
    circle = [said("a", "x", 0, parent_id="b"), said("b", "y", 1, parent_id="a"), said("s", "z", 2, parent_id="s")]

    response = await desk.imports(past("c", *circle, said("ok", "fine", 3, parent_id="a")))

    assert response.status_code == 202
    assert response.json()["messages"] == 2
    assert [each["path"] for each in response.json()["rejected"]] == ["conversations[0].messages"] * 2
    assert await desk.imports(past("d", said("x", "x", 5, parent_id="y")))
    await desk.imports(past("d", said("y", "y", 6, parent_id="x")))
    assert await chain(desk, "d") == [("x", None), ("y", "x")]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"role": "robot"}, ".role"),
    ({"role": "system"}, ".role"),
    ({"content": ""}, ".content"),
    ({"content": "x" * 32_001}, ".content"),
    ({"content": "a\0b"}, ".content"),
    ({"content": ["text"]}, ".content"),
    ({"content": None}, ".content"),
    ({"id": "a b"}, ".id"),
    ({"id": ".."}, ".id"),
    ({"id": "x" * 129}, ".id"),
    ({"id": None}, ".id"),
    ({"created_at": "yesterday"}, ".created_at"),
    ({"created_at": "2025-03-01T12:00:00"}, ".created_at"),
    ({"created_at": 1_700_000_000}, ".created_at"),
    ({"created_at": "2999-01-01T00:00:00Z"}, ".created_at"),
    ({"created_at": "1869-01-01T00:00:00Z"}, ".created_at"),
    ({"name": "x" * 201}, ".name"),
    ({"parent_id": "a b"}, ".parent_id"),
    ({"mood": "sad"}, ".mood"),
    ({"id": "good", "content": "twice, and differently"}, ".id"),
]


@pytest.mark.parametrize(("change", "where"), BAD, ids=[f"{where}-{n}" for n, (_, where) in enumerate(BAD)])
async def test_a_bad_message_is_named_by_its_path_and_spoils_no_other(desk: Desk, change: dict[str, Any], where: str):
    bad = said("bad", "Bad", 1) | change

    response = await desk.imports(past("c", said("good", "Good", 0), bad, said("too", "Good too", 2)))

    assert response.status_code == 202
    assert response.json()["messages"] == 2
    assert [each["path"] for each in response.json()["rejected"]] == [f"conversations[0].messages[1]{where}"]
    assert await desk.texts("/conversations/c/messages") == ["Good", "Good too"]


async def test_where_nothing_can_be_taken_the_call_is_refused_with_every_path(desk: Desk):
    response = await desk.imports(
        past("c", said("a", "", 0), said("b", "x", 1, "robot")), past("a b", said("m", "x", 0))
    )

    assert response.status_code == 422
    assert [each["path"] for each in response.json()["errors"]] == [
        "conversations[0].messages[0].content",
        "conversations[0].messages[1].role",
        "conversations[1].id",
    ]
    assert await desk.ids() == []


@pytest.mark.parametrize(
    ("conversation", "where"),
    [
        ({"id": ".", "messages": []}, ".id"),
        ({"messages": []}, ".id"),
        ({"id": "c"}, ".messages"),
        ({"id": "c", "messages": {}}, ".messages"),
        ({"id": "c", "messages": [], "mood": 1}, ".mood"),
        ({"id": "c", "messages": [], "title": "x" * 201}, ".title"),
        ({"id": "c", "messages": [], "title": 7}, ".title"),
        ({"id": "c", "messages": [], "created_at": "soon"}, ".created_at"),
        ({"id": "c", "messages": [], "current_message_id": "a b"}, ".current_message_id"),
        ("text", ""),
    ],
)
async def test_a_bad_conversation_is_named_and_spoils_no_other(desk: Desk, conversation: Any, where: str):
    response = await desk.imports(conversation, past("good", said("m", "Good", 0)))

    assert response.status_code == 202
    assert [each["path"] for each in response.json()["rejected"]] == [f"conversations[0]{where}"]
    assert await desk.ids() == ["good"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ("{}", "conversations"),
        ('{"conversations": {}}', "conversations"),
        ('{"conversations": [], "user_id": 1}', "user_id"),
        ("7", "conversations"),
        ("[", "body"),
        ("[" * 5000, "body"),
        ('{"conversations": NaN}', "body"),
    ],
)
async def test_another_shape_altogether_is_refused(desk: Desk, body: str, path: str):
    response = await desk.send("POST", "/conversations/import", content=body)

    assert (response.status_code, response.json()["errors"][0]["path"]) == (422, path)


async def test_500_messages_a_call_and_not_one_more(desk: Desk):
    messages = [said(f"m{n}", "x", n % 60) for n in range(MAX_MESSAGES + 1)]

    too_many = await desk.imports(past("c", *messages[:300]), past("d", *messages[300:]))
    enough = await desk.imports(past("c", *messages[:300]), past("d", *messages[300:MAX_MESSAGES]))

    assert (too_many.status_code, too_many.json()["errors"][0]["path"]) == (422, "conversations")
    assert (enough.status_code, enough.json()["messages"]) == (202, 500)


async def test_all_that_the_limits_promise_is_taken(desk: Desk):
    longest = [said(f"m{n}", f"{n} ".ljust(MAX_TEXT, "ü"), n % 60) for n in range(MAX_MESSAGES)]

    response = await desk.imports(past("c", *longest))

    assert response.json() == {"conversations": 1, "messages": 500, "known": 0, "rejected": []}
    text = (await desk.texts("/conversations/c/messages?limit=1"))[0]
    assert (len(text), text[-1]) == (MAX_TEXT, "ü")


async def test_a_body_past_its_size_is_refused(desk: Desk):
    async def spaces():
        for _ in range(IMPORT_BODY // 2**20 + 1):
            yield b" " * 2**20

    response = await desk.send("POST", "/conversations/import", content=spaces())

    assert response.status_code == 413


async def test_an_upload_that_is_cut_off_leaves_nothing(desk: Desk):
    async def some():
        yield b'{"conversations": [' + json.dumps(past("c", said("a", "x", 0))).encode()
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await desk.send("POST", "/conversations/import", content=some())

    assert await desk.ids() == []


async def test_half_a_surrogate_pair_and_broken_bytes_cost_at_most_their_message(desk: Desk):
    def message(id_: str, text: bytes) -> bytes:
        return b'{"id": "%b", "role": "user", "content": "%b"}' % (id_.encode(), text)

    messages = [message("a", rb"one \ud83d"), message("b", b"two \xed\xa0\x80"), message("c", b"three")]
    body = b'{"conversations": [{"id": "c", "title": "x\\udc00", "messages": [%b]}]}' % b",".join(messages)

    response = await desk.send("POST", "/conversations/import", content=body)

    assert response.json()["messages"] == 2
    assert [each["path"] for each in response.json()["rejected"]] == ["conversations[0].messages[1]"]
    assert await desk.texts("/conversations/c/messages") == ["one \ufffd", "three"]
    assert (await desk.reads("/conversations/c"))["title"] == "x\ufffd"


@pytest.mark.parametrize(
    ("body", "path", "seen"),
    [
        ([], "body", "no conversation"),
        ({"conversations": []}, "conversations", "no conversation"),
        ({"conversations": [{"id": "c", "messages": []}]}, "conversations", "1 in the form of our own form (messages)"),
        ([{"id": "c", "mapping": {}}, {"id": "d", "mapping": {}}], "body", "2 in the form of ChatGPT's and DeepSeek's"),
        ([{"uuid": "c", "chat_messages": []}], "body", "Claude's (chat_messages)"),
        ([{"id": "c", "chat": {"history": {"messages": {}}}}], "body", "Open WebUI's"),
        ([{"name": "x", "entries": []}], "[0].messages", "the fields entries, name"),
        ({"tasks": [], "notes": 1}, "conversations", "the fields notes, tasks"),
        ("text", "conversations", "a text"),
    ],
)
async def test_an_import_that_took_nothing_says_so_and_names_the_shape_it_saw(desk: Desk, body, path, seen):
    response = await desk.send("POST", "/conversations/import", content=json.dumps(body))

    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["path"] == path
    assert seen in error["message"]
    assert await desk.ids() == []


async def test_a_deepseek_export_and_a_lone_conversation_are_taken_as_they_are(desk: Desk):
    at = "2025-03-30T04:49:37.018000+08:00"
    question = {"inserted_at": at, "fragments": [{"type": "REQUEST", "content": "My knee?"}]}
    answer = {
        "inserted_at": at,
        "fragments": [{"type": "THINK", "content": "Hm"}, {"type": "RESPONSE", "content": "Rest."}],
    }
    mapping = {
        "root": {"id": "root", "parent": None, "children": ["1"], "message": None},
        "1": {"id": "1", "parent": "root", "children": ["2"], "message": question},
        "2": {"id": "2", "parent": "1", "children": [], "message": answer},
    }
    exported = {"id": "deep", "title": "Knee", "inserted_at": at, "updated_at": at, "mapping": mapping}

    response = await desk.send("POST", "/conversations/import", content=json.dumps([exported]))
    alone = await desk.send("POST", "/conversations/import", content=json.dumps(past("own", said("a", "x", 0))))

    assert response.json() == {"conversations": 1, "messages": 2, "known": 0, "rejected": []}
    assert await desk.texts("/conversations/deep/messages") == ["My knee?", "Rest."]
    assert alone.json()["messages"] == 1


async def test_a_form_is_refused_by_its_name(desk: Desk):
    headers = desk.person.headers | {"content-type": "application/x-www-form-urlencoded"}

    response = await desk.client.post("/api/conversations/import", headers=headers, content=b"x=1")

    assert response.status_code == 415


async def test_the_same_import_from_many_sides_at_once_is_stored_once(desk: Desk):
    conversations = [past(f"c{n}", *(said(f"m{k}", f"Text {k}", k) for k in range(10))) for n in range(5)]
    orders = [random.Random(seed).sample(conversations, 5) for seed in range(12)]

    answers = await asyncio.gather(*(desk.imports(*order) for order in orders))

    assert [answer.status_code for answer in answers] == [202] * 12
    assert sum(answer.json()["messages"] for answer in answers) == 50
    for n in range(5):
        assert await chain(desk, f"c{n}") == [("m0", None), *((f"m{k}", f"m{k - 1}") for k in range(1, 10))]


async def test_a_call_that_is_cut_off_half_way_leaves_nothing_and_works_again(desk: Desk, owner: Any):
    """Its database session is ended in the middle of its transaction."""
    conversations = [past(f"c{n}", *(said(f"m{k}", f"Text {k}", k) for k in range(100))) for n in range(5)]
    await desk.imports(past("c4", said("held", "x", 0)))
    async with owner.transaction():
        await owner.execute(
            "select from conversations where user_id = %s and client_id = 'c4' for update", (desk.person.user_id,)
        )
        cut = asyncio.create_task(desk.imports(*conversations))
        await eventually(lambda: ended_in_the_middle(owner))
        answer = await cut
    assert answer.status_code == 503
    assert await desk.ids() == ["c4"]

    again = await desk.imports(*conversations)

    assert again.json() == {"conversations": 5, "messages": 500, "known": 0, "rejected": []}


async def ended_in_the_middle(owner: Any) -> bool:
    """Whether the import's session has come to what the test holds; then it is ended."""
    ended = await owner.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where pg_backend_pid() = any (pg_blocking_pids(pid))"
    )
    return bool(await ended.fetchall())


def node(id_: str, parent: str | None, text: Any = None, role: str = "user", at: float | None = None, **message: Any):
    if text is None:
        return {"id": id_, "message": None, "parent": parent, "children": []}
    content = text if isinstance(text, dict) else {"content_type": "text", "parts": [text]}
    return {
        "id": id_,
        "parent": parent,
        "children": [],
        "message": {"id": id_, "author": {"role": role}, "content": content, "create_time": at, **message},
    }


def export(id_: str, *nodes: dict[str, Any], current: str) -> dict[str, Any]:
    return {
        "conversation_id": id_, "id": id_, "title": "From ChatGPT", "create_time": 1_700_000_000.25,
        "update_time": 1_700_000_100.5, "mapping": {each["id"]: each for each in nodes}, "current_node": current,
        "moderation_results": [], "plugin_ids": None,
    }  # fmt: skip


async def test_a_chatgpt_export_is_taken_as_it_is(desk: Desk):
    told = export(
        "gpt",
        node("root", None),
        node("sys", "root", "You are ChatGPT", "system"),
        node("q", "sys", "My knee?", at=1_700_000_001.5),
        node("tool-call", "q", {"content_type": "code", "text": "search()"}, "assistant", recipient="browser"),
        node("tool", "tool-call", "results", "tool"),
        node("a1", "tool", "Rest it.", "assistant", at=1_700_000_010),
        node("a2", "tool", "Ice it.", "assistant", at=1_700_000_020),
        node("q2", "a2", {"content_type": "multimodal_text", "parts": [
            {"content_type": "image_asset_pointer", "asset_pointer": "file://x"}, "And this?"]}),
        node("a3", "q2", "That too.", "assistant", at=1_700_000_005),
        current="a3",
    )  # fmt: skip

    response = await desk.send("POST", "/conversations/import", content=json.dumps([told]))

    assert response.json() == {"conversations": 1, "messages": 5, "known": 0, "rejected": []}
    assert await chain(desk, "gpt") == [("q", None), ("a2", "q"), ("q2", "a2"), ("a3", "q2")]
    items = (await desk.reads("/conversations/gpt/messages"))["items"]
    assert [item["parts"][0]["text"] for item in items] == ["My knee?", "Ice it.", "[image]\nAnd this?", "That too."]
    assert items[1]["siblings"] == ["a1", "a2"]
    assert items[0]["metadata"]["created_at"] == "2023-11-14T22:13:21.500000Z"
    head = await desk.reads("/conversations/gpt")
    assert (head["title"], head["current_message_id"]) == ("From ChatGPT", "a3")
    again = await desk.send("POST", "/conversations/import", content=json.dumps({"conversations": [told]}))
    assert (again.json()["messages"], again.json()["known"]) == (0, 5)
