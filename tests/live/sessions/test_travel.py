"""Sessions that travel: over the socket, past a killed server, and to the worker that finds them unfinished."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from coach.database.pool import Database
from coach.nudges.repository import make_nudges
from coach.sessions.concluding import conclude_overdue_sessions
from tests.live.conftest import ApiUser
from tests.live.sessions.conftest import Couch, prompt_of
from tests.live.sockets.conftest import opens, problem_of

__all__ = ["opens"]


async def test_over_the_socket_a_session_begins_goes_on_and_ends_and_each_change_is_pushed(ann: ApiUser, opens: Any):
    wire, other = await opens(ann), await opens(ann)

    await wire.asks("r1", "A half marathon.", body={"session": {"type": "start", "kind": "grow"}})
    frame = await wire.push("session")
    assert (frame["session"]["kind"], frame["session"]["stage"], frame["session"]["status"]) == (
        "grow", "goal", "active",
    )  # fmt: skip
    assert frame["session"]["conversation_id"] == "c1"
    assert (await other.push("session"))["session"]["id"] == frame["session"]["id"]

    # Without a message there is nothing to answer.
    await wire.sends(type="send", requestId="r2", id="c1", messages=[], body={"session": {"type": "advance"}})
    frames = await wire.until(lambda f: f["requestId"] == "r2")
    assert frames[-1]["type"] == "no-active"
    assert (await other.push("session"))["session"]["stage"] == "reality"

    await wire.asks("r3", "I will call Tom.", body={"session": {"type": "end"}})
    while (frame := await other.push("session"))["session"]["status"] != "ended":
        assert frame["session"]["status"] == "ending"
    assert [each["title"] for each in frame["session"]["commitments"]] == ["Call Tom"]


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        ({"id": "c1", "body": {"session": {"type": "end"}}}, "/problems/not-found"),
        ({"id": "a b", "body": {"session": {"type": "end"}}}, "/problems/invalid-input"),
        ({"id": "c1", "body": {"session": {"type": "start", "kind": "swot"}}}, "/problems/invalid-input"),
    ],
)
async def test_an_impossible_bare_command_gets_an_error(ann: ApiUser, opens: Any, frame: dict[str, Any], problem: str):
    wire = await opens(ann)

    await wire.sends(type="send", requestId="r1", messages=[], **frame)

    told = (await wire.until(lambda f: f["requestId"] == "r1"))[-1]
    assert problem_of(told)["type"] == problem, told


async def test_a_nudge_reaches_the_socket(ann: ApiUser, opens: Any, owner: Any, operator: Database):
    wire = await opens(ann)
    await owner.execute(
        "insert into user_analytics_preferences (user_id, quiet_from, quiet_until) values (%s, '00:00', '00:00')",
        (ann.user_id,),
    )
    await owner.execute(
        "with made as (insert into tasks (user_id, name, due_date) values (%s, 'Call', '2020-01-01') returning *) "
        "insert into commitments (user_id, title, due_date, status, task_id) "
        "select user_id, name, due_date, 'accepted', id from made",
        (ann.user_id,),
    )

    await make_nudges(operator, datetime.now(UTC))

    assert (await wire.push("nudge"))["nudge"]["kind"] == "overdue_commitment"


async def test_a_killed_server_loses_nothing_of_a_session(ann: ApiUser, start_server: Any):
    first = start_server("--no-worker")
    async with httpx.AsyncClient(base_url=first.url, timeout=30) as client:
        before = Couch(ApiUser(ann.user_id, client, ann.token))
        await before.starts()
        await before.says("On.", {"type": "advance"})
        stood = await before.session()
    first.stop(signal.SIGKILL)

    second = start_server("--no-worker")
    async with httpx.AsyncClient(base_url=second.url, timeout=30) as client:
        after = Couch(ApiUser(ann.user_id, client, ann.token))
        assert await after.session() == stood
        assert prompt_of(await after.says("I run twice a week.")) == "session_grow_reality@1"
        await after.says("I will call Tom.", {"type": "end"})
        assert (await after.until(status="ended"))["commitments"]


async def test_what_no_server_summed_up_the_worker_does(couch: Couch, owner: Any, operator: Database):
    await couch.starts("free", "I train for Kiel.")
    await couch.says("I will call Tom.")
    at = datetime.now(UTC)
    await owner.execute("update coaching_sessions set ended_at = %s where user_id = %s", (at, couch.person.user_id))

    await conclude_overdue_sessions(operator, at + timedelta(minutes=2))
    assert (await couch.session())["status"] == "ending"
    for _ in range(2):
        await conclude_overdue_sessions(operator, at + timedelta(minutes=3))

    ended = await couch.session()
    assert ended["status"] == "ended"
    assert "Kiel" in ended["summary"]
    assert [each["title"] for each in ended["commitments"]] == ["Call Tom"]
