"""A killed server's turns are closed by the next worker, whatever that server was doing when it was killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from coach.chat.settling import ORPHANED_AFTER
from coach.database.pool import Database
from coach.pipeline.background import background
from coach.pipeline.orphans import OrphanCloser
from coach.services import open_services
from coach.settings import load_settings
from coach.values.clock import utc_now
from tests.integration.pipeline.conftest import until
from tests.integration.test_ledger import Desk

NAME = "settle_abandoned_turns"
BOUND = 20.0
"""Seconds for a turn whose heartbeat is missed in two: then a look within 5, and what a busy machine needs."""

LEFT = {
    "nothing": "select",
    "a job that waits": f"""
        insert into coach_jobs.pgqueuer (priority, status, entrypoint, dedupe_key, execute_after)
        values (0, 'queued', '{NAME}', '{NAME}', now() + interval '1 hour')""",
    "a job that is due before the turn is an orphan": f"""
        insert into coach_jobs.pgqueuer (priority, status, entrypoint, dedupe_key)
        values (0, 'queued', '{NAME}', '{NAME}')""",
    "a job in the middle": f"""
        insert into coach_jobs.pgqueuer (priority, status, entrypoint, dedupe_key, queue_manager_id)
        values (0, 'picked', '{NAME}', '{NAME}', gen_random_uuid())""",
    "a due time that was being queued": f"""
        insert into coach_jobs.pgqueuer_schedules (expression, entrypoint, status, next_run)
        values ('* * * * *', '{NAME}', 'picked', now())""",
}


@pytest.fixture
async def worker_inside(database_url: str, worker_url: str, owner: Any) -> AsyncIterator[Any]:
    """``start()``: the worker of a server that has just come up."""
    await owner.execute("truncate coach_jobs.pgqueuer, coach_jobs.pgqueuer_schedules")
    settings = load_settings(database_url=database_url, worker_database_url=worker_url, jwt_secret="s" * 40)
    async with open_services(settings) as services:
        worker = background(services)
        yield worker
        await worker.stop(5)


@pytest.mark.parametrize("left", LEFT)
async def test_whatever_a_killed_server_left_behind(
    left: str, worker_inside: Any, db: Database, new_user: Any, owner: Any
) -> None:
    desk = Desk(db, await new_user(), owner)
    desk.now = utc_now() - ORPHANED_AFTER + timedelta(seconds=1)
    await desk.opens("m1")
    await owner.execute("update turn_checkpoints set content = 'So far' where user_id = %s", (desk.user,))
    await owner.execute(LEFT[left])

    worker_inside.start()

    async def freed() -> bool:
        return await desk.quota() == (1, 0)

    await until(freed, BOUND)


@asynccontextmanager
async def watching(db: Database) -> AsyncIterator[None]:
    orphans = OrphanCloser(db, every=0.05)
    task = asyncio.create_task(orphans.run())
    yield
    orphans.stop()
    await asyncio.wait_for(task, 20)


async def orphaned(db: Database, user: Any, owner: Any) -> Desk:
    desk = Desk(db, user, owner)
    await desk.opens("m1")
    return desk


async def settled(desk: Desk) -> None:
    async def freed() -> bool:
        return await desk.quota() == (0, 0)

    await until(freed)


async def test_an_orphan_that_cannot_be_closed_delays_no_other(
    worker_db: Database, db: Database, new_user: Any, owner: Any
) -> None:
    troubled = await orphaned(db, await new_user(), owner)
    await owner.execute(
        'update ai_interactions set feature_details = feature_details || \'{"quota_limit": "many"}\''
        " where user_id = %s",
        (troubled.user,),
    )
    with capture_logs() as lines:
        async with watching(worker_db):
            for _ in range(3):
                await settled(await orphaned(db, await new_user(), owner))

    assert [line["event"] for line in lines].count("user_step_failed") == 1
    assert await troubled.quota() == (0, 1)


async def test_a_database_that_is_away_is_waited_for(worker_url: str, db: Database, new_user: Any, owner: Any) -> None:
    desk = await orphaned(db, await new_user(), owner)
    database = Database(worker_url)
    with capture_logs() as lines:
        async with watching(database):
            await asyncio.sleep(0.2)
            await database.open()
            await settled(desk)
    await database.close()

    assert "orphans_wait_for_database" in {line["event"] for line in lines}
