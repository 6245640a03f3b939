"""WorkListener-ups make it quicker; without them everything is done all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any
from uuid import UUID

import pytest
from psycopg import AsyncConnection
from structlog.testing import capture_logs

from coach.database import listening as module
from coach.database.pool import Database
from coach.database.wake import CHANNEL, POLL, WorkListener, notify_work
from coach.pipeline.worker import Worker
from coach.retrieval.wordllama import WordllamaEmbedder

DEAF = "postgresql://nobody@127.0.0.1:1/none"


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[WorkListener]:
    wake = WorkListener(url)
    task = asyncio.create_task(wake.run())
    yield wake
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


LONG, SOON = 30.0, 15.0
"""Seconds: what is not heard is waited for to the end, and a busy machine needs far less to hear."""


async def heard(wake: WorkListener, timeout: float = LONG) -> float:
    began = monotonic()
    await wake.wait_for_work(timeout)
    return monotonic() - began


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110 - another's state sets no event
            await asyncio.sleep(0.01)


async def kill_listener(owner: AsyncConnection[Any]) -> None:
    async with asyncio.timeout(10):
        while True:
            found = await owner.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'coach listener' and datname = current_database()"
            )
            if await found.fetchall():
                return
            await asyncio.sleep(0.05)


async def test_what_is_announced_ends_the_wait(worker_url: str, db: Database, new_user: Any) -> None:
    async with listening(worker_url) as wake:
        await heard(wake)  # the beginning counts as an announcement
        waiting = asyncio.create_task(heard(wake))
        async with db.as_user(await new_user()) as tx:
            await notify_work(tx)
            await asyncio.sleep(0.2)
            assert not waiting.done(), "before the commit there is nothing to find"
        assert await waiting < SOON


async def test_what_is_announced_during_work_is_not_slept_over(worker_url: str, owner: AsyncConnection[Any]) -> None:
    async with listening(worker_url) as wake:
        await heard(wake)
        await notify_work(owner)
        await until(wake._announced.is_set)
        assert await heard(wake) < SOON
        assert await heard(wake, 0.3) >= 0.3, "once heard, an announcement is used up"


async def test_a_killed_listener_listens_again_and_looks_at_once(worker_url: str, owner: AsyncConnection[Any]) -> None:
    async with listening(worker_url) as wake:
        await heard(wake)
        await kill_listener(owner)
        assert await heard(wake) < SOON, "what was announced meanwhile went unheard"
        await asyncio.sleep(0.1)
        await notify_work(owner)
        assert await heard(wake) < SOON


async def test_without_a_connection_it_sleeps_and_complains_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.02)
    with capture_logs() as lines:
        async with listening(DEAF) as wake:
            await until(lambda: lines)
            assert await heard(wake, 0.5) >= 0.5
    assert [line["event"] for line in lines] == ["listener_disconnected"]


async def test_nothing_of_ours_notifies_on_its_own(owner: AsyncConnection[Any], new_user: Any) -> None:
    """A trigger that does makes all commits of the cluster wait for each other."""
    await owner.execute(f"listen {CHANNEL}".encode())
    user = await new_user()
    await owner.execute("insert into tasks (user_id, name) values (%s, 'Buy shoes')", (user,))
    assert [note async for note in owner.notifies(timeout=0.3)] == []


@pytest.fixture
def changes(db: Database) -> Callable[[UUID, int], Any]:
    async def change(user: UUID, count: int) -> None:
        async with db.as_user(user) as tx:
            await tx.execute(
                "insert into tasks (user_id, name) select %s, 'Task ' || n from generate_series(1, %s) n", (user, count)
            )

    return change


@pytest.mark.parametrize("way", ["killed", "deaf"])
async def test_without_a_listener_all_is_embedded_within_the_poll_and_five_seconds(
    worker_url: str, owner: AsyncConnection[Any], new_user: Any, changes: Any, way: str
) -> None:
    embedder, worker_db = WordllamaEmbedder(), Database(worker_url)
    await embedder.embed_query("")
    await worker_db.open()
    user = await new_user()
    async with listening(DEAF if way == "deaf" else worker_url) as wake:
        worker = Worker(worker_db, embedder, wait=wake.wait_for_work)
        working = asyncio.create_task(worker.run())
        for _ in range(3):
            if way == "killed":
                await kill_listener(owner)
            began = monotonic()
            await changes(user, 100)
            await _embedded(owner, user)
            assert monotonic() - began < POLL + 5
        worker.stop()
        await working
    await worker_db.close()


async def _embedded(owner: AsyncConnection[Any], user: UUID) -> None:
    async with asyncio.timeout(20):
        while True:
            found = await owner.execute("select count(*) from embedding_queue where user_id = %s", (user,))
            if await found.fetchone() == (0,):
                return
            await asyncio.sleep(0.05)
