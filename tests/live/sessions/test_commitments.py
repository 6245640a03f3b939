"""Commitments over HTTP: accepted into one task, edited, rejected; and nobody else's."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest

from tests.live.sessions.conftest import Couch


@pytest.fixture
async def proposed(couch: Couch) -> dict[str, Any]:
    """Two proposals: one with a day and a project, one without."""
    return await propose(couch)


async def propose(couch: Couch) -> dict[str, Any]:
    await couch.starts("free", "Let us talk.")
    await couch.says("I will book the MRI by 2031-05-02. I'll call Tom.", {"type": "end"})
    ended = await couch.until(status="ended")
    first: dict[str, Any] = ended["commitments"][0]
    return first


async def project(owner: Any, couch: Couch, name: str = "Knee") -> str:
    id_ = uuid4()
    await owner.execute(
        "insert into projects (user_id, id, name) values (%s, %s, %s)", (couch.person.user_id, id_, name)
    )
    return str(id_)


async def tasks(owner: Any, couch: Couch) -> list[tuple[Any, ...]]:
    rows = await owner.execute(
        "select id::text, name, due_date::text, project_id::text from tasks where user_id = %s",
        (couch.person.user_id,),
    )
    found: list[tuple[Any, ...]] = await rows.fetchall()
    return found


async def test_accepted_it_becomes_a_task(couch: Couch, proposed: dict[str, Any], owner: Any):
    accepted = await couch.send("POST", f"/commitments/{proposed['id']}/accept")

    assert accepted.status_code == 200
    assert accepted.json()["status"] == "accepted"
    assert await tasks(owner, couch) == [(accepted.json()["task_id"], "Book the MRI", "2031-05-02", None)]
    assert (await couch.session())["proposed"] == 1
    await owner.execute("update tasks set completed = true where user_id = %s", (couch.person.user_id,))
    assert (await couch.session())["commitments"][0]["status"] == "done"


async def test_the_project_that_was_named_is_the_tasks(couch: Couch, owner: Any):
    knee = await project(owner, couch, "The Knee")
    await couch.starts("free", "Let us talk.")
    await couch.says("I will book the MRI for the knee.", {"type": "end"})
    commitment = (await couch.until(status="ended"))["commitments"][0]
    assert (commitment["project_id"], commitment["project"]) == (knee, "The Knee")

    await couch.send("POST", f"/commitments/{commitment['id']}/accept")
    assert [task[3] for task in await tasks(owner, couch)] == [knee]


async def test_a_project_that_is_gone_by_then_is_left_out(couch: Couch, proposed: dict[str, Any], owner: Any):
    knee = await project(owner, couch)
    path = f"/commitments/{proposed['id']}"
    assert (await couch.send("PATCH", path, json={"project_id": knee})).json()["project"] == "Knee"
    await owner.execute("delete from projects where id = %s", (knee,))

    accepted = await couch.send("POST", f"{path}/accept")

    assert accepted.json()["project_id"] is None
    assert len(await tasks(owner, couch)) == 1


async def test_accepted_with_overrides(couch: Couch, proposed: dict[str, Any], owner: Any):
    knee = await project(owner, couch)
    overrides = {"title": "  MRI,\n today ", "due_date": None, "project_id": knee}

    accepted = await couch.send("POST", f"/commitments/{proposed['id']}/accept", json=overrides)

    assert accepted.status_code == 200
    assert await tasks(owner, couch) == [(accepted.json()["task_id"], "MRI, today", None, knee)]


async def test_accepted_by_many_at_once_it_is_one_task(couch: Couch, proposed: dict[str, Any], owner: Any):
    path = f"/commitments/{proposed['id']}/accept"
    bodies = [{}, *({"title": f"Title {n}"} for n in range(11))]

    answers = await asyncio.gather(*(couch.send("POST", path, json=body) for body in bodies))

    assert Counter(answer.status_code for answer in answers) == {200: 12}
    assert len({answer.text for answer in answers}) == 1
    assert len(await tasks(owner, couch)) == 1


async def test_accepted_by_two_who_wait_for_each_other_it_is_one_task(
    couch: Couch, proposed: dict[str, Any], owner: Any
):
    path = f"/commitments/{proposed['id']}/accept"
    async with owner.transaction():
        await owner.execute("select from commitments where id = %s for update", (proposed["id"],))
        both = asyncio.gather(couch.send("POST", path), couch.send("POST", path))
        for _ in range(500):
            waiting = await owner.execute("select count(*) from pg_locks where not granted")
            if (await waiting.fetchone())[0] >= 2:
                break
            await asyncio.sleep(0.01)
    first, second = await both

    assert first.json() == second.json()
    assert len(await tasks(owner, couch)) == 1


async def test_it_is_accepted_once_even_if_its_task_was_deleted(couch: Couch, proposed: dict[str, Any], owner: Any):
    path = f"/commitments/{proposed['id']}/accept"
    first = await couch.send("POST", path)
    await owner.execute("delete from tasks where user_id = %s", (couch.person.user_id,))

    assert (await couch.send("POST", path)).json() == first.json()
    assert await tasks(owner, couch) == []


async def test_an_edit_changes_what_it_names(couch: Couch, proposed: dict[str, Any]):
    path = f"/commitments/{proposed['id']}"
    edited = (await couch.send("PATCH", path, json={"title": "x" * 200})).json()
    assert (edited["title"], edited["due_date"]) == ("x" * 200, "2031-05-02")
    moved = (await couch.send("PATCH", path, json={"due_date": None})).json()
    assert (moved["title"], moved["due_date"], moved["status"]) == ("x" * 200, None, "proposed")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"title": ""}, "title"),
        ({"title": " \n "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": "a\0b"}, "title"),
        ({"title": None}, "title"),
        ({"due_date": "2031-02-30"}, "due_date"),
        ({"due_date": "soon"}, "due_date"),
        ({"due_date": "1899-12-31"}, "due_date"),
        ({"due_date": "2201-01-01"}, "due_date"),
        ({"project_id": "knee"}, "project_id"),
        ({"project_id": str(uuid4())}, "project_id"),
        ({"status": "accepted"}, "status"),
    ],
)
@pytest.mark.parametrize(("method", "end"), [("PATCH", ""), ("POST", "/accept")])
async def test_what_is_wrong_is_named_and_nothing_changes(
    couch: Couch, proposed: dict[str, Any], owner: Any, method: str, end: str, body: dict[str, Any], path: str
):  # fmt: skip
    refused = await couch.send(method, f"/commitments/{proposed['id']}{end}", json=body)

    assert refused.status_code == 422
    assert [error["path"] for error in refused.json()["errors"]] == [path]
    assert (await couch.session())["commitments"][0] == proposed
    assert await tasks(owner, couch) == []


async def test_a_commitment_cannot_take_another_users_project(
    couch: Couch, proposed: dict[str, Any], owner: Any, person: Any
):
    theirs = await project(owner, Couch(await person()))

    refused = await couch.send("POST", f"/commitments/{proposed['id']}/accept", json={"project_id": theirs})

    assert refused.status_code == 422
    assert await tasks(owner, couch) == []


async def test_what_was_decided_stays_decided(couch: Couch, proposed: dict[str, Any], owner: Any):
    first, second = (each["id"] for each in (await couch.session())["commitments"])
    for _ in range(2):
        assert (await couch.send("POST", f"/commitments/{first}/reject")).json()["status"] == "rejected"
        assert (await couch.send("POST", f"/commitments/{second}/accept")).json()["status"] == "accepted"

    for method, path in (
        ("POST", f"/commitments/{first}/accept"),
        ("POST", f"/commitments/{second}/reject"),
        ("PATCH", f"/commitments/{first}"),
        ("PATCH", f"/commitments/{second}"),
    ):
        refused = await couch.send(method, path, json={"title": "Other"})
        assert refused.status_code == 409, path
    assert len(await tasks(owner, couch)) == 1


async def test_anothers_rows_answer_404_and_stay(couch: Couch, person: Any, owner: Any):
    others = Couch(await person())
    commitment = await propose(others)
    session = await others.session()
    nudge = uuid4()
    await owner.execute(
        "insert into nudges (user_id, id, kind, body) values (%s, %s, 'broken_streak', 'x')",
        (others.person.user_id, nudge),
    )
    before = await others.reads("/nudges")

    for method, path in (
        ("GET", f"/sessions/{session['id']}"),
        ("PATCH", f"/commitments/{commitment['id']}"),
        ("POST", f"/commitments/{commitment['id']}/accept"),
        ("POST", f"/commitments/{commitment['id']}/reject"),
        ("POST", f"/nudges/{nudge}/dismiss"),
    ):
        options = {"json": {"title": "Mine"}} if method == "PATCH" else {}
        for id_ in (path, *(path.replace(path.split("/")[2], absent) for absent in (str(uuid4()), "nonsense"))):
            refused = await couch.send(method, id_, **options)
            assert refused.status_code == 404, id_
            assert refused.json()["type"] == "/problems/not-found"

    assert (await couch.reads("/sessions"))["items"] == []
    assert (await couch.reads(f"/sessions?conversation_id={others.conversation}"))["items"] == []
    assert (await couch.reads("/nudges"))["items"] == []
    assert await others.session() == session
    assert await others.reads("/nudges") == before
    assert len(before["items"]) == 1


async def test_a_session_under_another_users_conversation_id_is_the_callers_own(couch: Couch, person: Any):
    """Conversation ids are unique per person only."""
    others = Couch(await person())
    await others.starts("grow")

    refused = await couch.asks("On.", {"type": "advance"})

    assert refused.status == 409
    assert (await others.session())["stage"] == "goal"


async def test_nudges_come_in_pages_and_go_when_dismissed(couch: Couch, owner: Any):
    for number in range(3):
        await owner.execute(
            "insert into nudges (user_id, kind, subject, body, created_at) "
            "values (%s, 'overdue_commitment', %s, %s, now() + make_interval(secs => %s))",
            (couch.person.user_id, str(number), str(number), number),
        )  # fmt: skip
    first = await couch.reads("/nudges?limit=2")
    rest = await couch.reads(f"/nudges?limit=2&cursor={first['next_cursor']}")
    assert [item["body"] for item in first["items"] + rest["items"]] == ["2", "1", "0"]
    assert rest["next_cursor"] is None

    for _ in range(2):
        assert (await couch.send("POST", f"/nudges/{first['items'][0]['id']}/dismiss")).status_code == 204
    assert [item["body"] for item in (await couch.reads("/nudges"))["items"]] == ["1", "0"]
    for query in ("limit=0", "limit=201", "cursor=x"):
        assert (await couch.send("GET", f"/nudges?{query}")).status_code == 422
