"""The worker as operators run it: inside a server, beside one, killed, and without the rights it needs."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from psycopg import AsyncConnection

from coach.testing.stub_script import Answer, Stall
from tests.integration.test_ledger import Desk
from tests.live.processes import CoachProcess, run_coach
from tests.live.test_shutdown import reading
from tests.live.test_streams import kept

FOX = "Photograph the fox family behind the allotment at dawn"


@pytest.fixture
def working(worker_url):
    """The environment of a server with a worker inside."""
    return {"COACH_WORKER_DATABASE_URL": worker_url}


@pytest.fixture
async def ann(new_user, token_for):
    user = await new_user()
    return user, {"authorization": f"Bearer {token_for(user)}"}


@pytest.fixture
def start_worker(worker_url):
    """``start_worker(COACH_CHAT_MODEL="offline")``: `coach worker` as a process."""
    started = []

    def start(**settings):
        environment = os.environ | {"COACH_DATABASE_URL": worker_url} | settings
        started.append(CoachProcess(["worker"], environment, Path(os.devnull)))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def found(ann):
    """``await found(url)``: whether a search by other words has the fox, and by its vector."""
    _, headers = ann

    async def look(url):
        async with httpx.AsyncClient(timeout=20) as client:
            response = await client.get(f"{url}/api/search", params={"q": FOX, "domain": "task"}, headers=headers)
        return any("fox family" in item["snippet"] for item in response.json()["items"])

    return look


async def until(happened, seconds=30.0):
    began = time.monotonic()
    while not await happened():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def add_task(db, user, name=FOX):
    async with db.as_user(user) as tx:
        await tx.execute("insert into tasks (user_id, name) values (%s, %s)", (user, name))


async def vectors(owner, user):
    rows = await owner.execute(
        "select text_snippet from user_metadata_embeddings where user_id = %s order by updated_at", (user,)
    )
    return [text for (text,) in await rows.fetchall()]


async def test_an_edit_made_in_sql_is_found_through_a_server_with_its_worker_inside(
    start_server, working, db, owner, ann, found
):
    server = start_server(**working)
    await add_task(db, ann[0])

    await until(lambda: found(server.url))
    await until(lambda: embedded(owner, ann[0]))

    async with httpx.AsyncClient() as client:
        left = (await client.get(f"{server.url}/api/me/pipeline", headers=ann[1])).json()
        told = (await client.get(f"{server.url}/api/me/audit", headers=ann[1])).json()
    assert left == {"waiting": 0, "failed": 0, "oldest_seconds": 0}
    assert "metadata_embedding_completed" in {event["webhook_type"] for event in told["items"]}
    assert await asyncio.to_thread(server.stop, signal.SIGTERM) == 0
    assert server.lines("worker_stopped")[0]["cut_off"] == []


async def embedded(owner, user):
    return any("fox family" in text for text in await vectors(owner, user))


async def test_with_two_processes_each_has_a_worker_and_nothing_is_embedded_twice(
    start_server, working, db, owner, ann
):
    server = start_server(workers=2, **working)
    assert len(server.lines("worker_started")) == 2
    for n in range(20):
        await add_task(db, ann[0], f"Task number {n}")

    async def all_there():
        return len(await vectors(owner, ann[0])) == 20

    await until(all_there)
    assert await asyncio.to_thread(server.stop, signal.SIGTERM) == 0


async def test_without_a_worker_rows_wait_for_one_that_runs_by_itself(
    start_server, start_worker, working, db, owner, ann
):
    server = start_server("--no-worker", **working)
    assert not server.lines("worker_started")
    await add_task(db, ann[0])
    await asyncio.sleep(2.5)
    assert await vectors(owner, ann[0]) == []

    worker = start_worker()
    await until(lambda: embedded(owner, ann[0]))
    worker.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(worker.wait, 20) == 0


async def test_a_login_that_may_not_act_for_all_users_is_refused_in_one_line(database_url):
    done = await asyncio.to_thread(run_coach, ["worker"], os.environ | {"COACH_DATABASE_URL": database_url})

    assert done.returncode == 2
    assert "COACH_WORKER_DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_server_whose_login_may_not_serves_without_a_worker_and_says_so(start_server, owner, ann, token_for):
    server = start_server()
    operator = {"authorization": f"Bearer {token_for(None, role='service_role')}"}

    assert len(server.lines("server_has_no_worker")) == 1
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{server.url}/api/me/pipeline", headers=ann[1])).status_code == 200
        assert (await client.get(f"{server.url}/admin/pipeline", headers=operator)).status_code == 503


async def test_after_sigkill_the_next_server_interrupts_the_turn_with_its_text_and_frees_its_unit(
    start_server, working, model_stub, owner, ann
):
    provider = working | {
        "COACH_OPENAI_BASE_URL": model_stub.url,
        "COACH_OPENAI_API_KEY": "stub",
        "COACH_CHAT_MODEL": "stub",
        "COACH_EMBEDDING_MODEL": "wordllama",
    }
    model_stub.always(Stall(after=5))
    server = start_server(**provider)
    answer = await reading(server.url, ann[1])
    await kept(owner, ann[0], "".join(Answer(tokens=5).pieces))
    server.process.kill()
    await asyncio.wait([answer])
    assert await quota(owner, ann[0]) == (0, 1)

    start_server(**provider)

    async def freed():
        return await quota(owner, ann[0]) == (1, 0)

    # Ten seconds without a heartbeat and a look every five, less those that the start has taken.
    assert await until(freed, 40) < 20
    rows = await owner.execute(
        "select status, message_content from ai_conversation_memory where user_id = %s and message_role = 'assistant'",
        (ann[0],),
    )
    assert await rows.fetchall() == [("interrupted", "".join(Answer(tokens=5).pieces))]


async def quota(owner, user):
    rows = await owner.execute("select used, reserved from ai_quota_months where user_id = %s", (user,))
    return await rows.fetchone()


async def test_a_server_killed_while_it_closes_a_turn_leaves_it_to_the_next_within_seconds(
    start_server, working, db, owner, owner_url, ann
):
    desk = Desk(db, ann[0], owner)
    desk.now = datetime.now(UTC) - timedelta(seconds=20)
    await desk.opens("m1")

    async with await AsyncConnection.connect(owner_url) as month:
        await month.execute("select from ai_quota_months where user_id = %s for update", (ann[0],))
        server = start_server(**working)
        await until(lambda: in_the_middle(owner), 70)
        server.process.kill()
    start_server(**working)

    async def freed():
        return await desk.quota() == (0, 0)

    assert await until(freed) < 8


async def in_the_middle(owner):
    rows = await owner.execute(
        "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    return rows.rowcount > 0


async def test_whichever_of_two_processes_is_asked_tells_the_figures_of_both(start_server, ann):
    server = start_server(workers=2)
    body = {"messages": [{"role": "user", "parts": [{"type": "text", "text": "Hello"}]}]}
    for _ in range(8):
        async with httpx.AsyncClient(timeout=20) as client:  # a connection each, so that both get some
            assert (await client.post(f"{server.url}/api/chat", json=body, headers=ann[1])).status_code == 200

    told = set()
    for _ in range(8):
        async with httpx.AsyncClient() as client:
            lines = (await client.get(f"{server.url}/metrics")).text.splitlines()
        told |= {line for line in lines if line.startswith("coach_turns_total")}
    assert told == {'coach_turns_total{outcome="complete"} 8.0'}
