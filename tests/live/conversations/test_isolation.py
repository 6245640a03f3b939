"""Another person's conversations and memories answer as if they were absent, on every route, and stay as they are."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from coach.database.pool import Database
from tests.live.conftest import ApiUser
from tests.live.conversations.conftest import Desk, past, said

ROUTES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "/conversations/c", None),
    ("PATCH", "/conversations/c", {"title": "Mine now"}),
    ("PATCH", "/conversations/c", {"archived": True}),
    ("DELETE", "/conversations/c", None),
    ("GET", "/conversations/c/messages", None),
    ("GET", "/conversations/c/messages?leaf=b", None),
    ("POST", "/conversations/c/messages/b/feedback", {"rating": "down"}),
    ("PATCH", "/memory/conversation/{memory}", {"content": "Mine now"}),
    ("DELETE", "/memory/conversation/{memory}", None),
]


@pytest.fixture
async def others(person: Any) -> Desk:
    """Somebody else, with a conversation and a memory."""
    desk = Desk(await person())
    await desk.imports(past("c", said("a", "My secret is blue", 0), said("b", "I see.", 1, "assistant"), title="Blue"))
    return desk


async def everything(desk: Desk) -> list[Any]:
    return [
        await desk.reads(path)
        for path in ("/conversations", "/conversations/c", "/conversations/c/messages", "/memory")
    ]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=[f"{m} {p}" for m, p, _ in ROUTES])
async def test_anothers_rows_answer_404_and_stay(
    desk: Desk, others: Desk, method: str, path: str, body: dict[str, Any] | None
):
    memory = (await others.reads("/memory"))["items"][0]["id"]
    before = await everything(others)

    options = {"json": body} if body else {}
    response = await desk.send(method, path.replace("{memory}", memory), **options)

    nowhere = path.replace("{memory}", str(desk.person.user_id)).replace("conversations/c", "conversations/absent")
    absent = await desk.send(method, nowhere, **options)
    assert response.status_code == absent.status_code == 404
    assert {**response.json(), "instance": ""} == {**absent.json(), "instance": ""}
    assert await everything(others) == before


async def test_lists_and_searches_show_only_ones_own(desk: Desk, others: Desk):
    for path in ("/conversations", "/conversations?q=secret", "/conversations?q=Blue", "/memory"):
        assert (await desk.reads(path))["items"] == [], path
        assert len((await others.reads(path))["items"]) > 0, path


async def test_the_search_function_finds_nothing_of_another_user(desk: Desk, others: Desk, db: Database):
    async def found(asks: Desk) -> list[Any]:
        async with db.as_user(asks.person.user_id) as tx:
            query = "select * from coach.conversations_with_words(%s, 'secret', '{}', '{}')"
            return await (await tx.execute(query, (others.person.user_id,))).fetchall()

    assert await found(desk) == []
    assert len(await found(others)) == 1


async def test_the_same_ids_are_different_conversations(desk: Desk, others: Desk):
    before = await everything(others)

    await desk.imports(past("c", said("a", "Mine is red", 0)))
    await desk.send("DELETE", "/conversations/c")

    assert await everything(others) == before


async def test_a_cursor_of_another_user_is_refused(desk: Desk, others: Desk):
    await desk.imports(past("c", said("a", "x", 0)))
    cursor = (await others.reads("/conversations/c/messages?limit=1"))["next_cursor"]

    assert (await desk.send("GET", f"/conversations/c/messages?cursor={cursor}")).status_code == 422


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=[f"{m} {p}" for m, p, _ in ROUTES])
@pytest.mark.parametrize("role", [None, "service_role"])
async def test_without_a_users_token_no_route_is_reached(
    client: httpx.AsyncClient, ann: ApiUser, token_for: Any, method: str, path: str, body: Any, role: str | None
):
    headers = {} if role is None else {"authorization": f"Bearer {token_for(ann.user_id, role=role)}"}

    response = await client.request(method, f"/api{path}", headers=headers, json=body)

    assert response.status_code == (401 if role is None else 403)
