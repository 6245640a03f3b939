"""Periodic jobs on a real database: once, caught up once, tried again, held in sight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest
from psycopg import AsyncConnection

from coach.database.pool import Database
from coach.pipeline.background import background
from coach.pipeline.job_runner import Job, JobFailed, JobRunner, enqueue, held, release
from coach.pipeline.jobs import jobs_of, refresh_views
from coach.pipeline.jobs_driver import queries
from coach.services import open_services
from coach.settings import Settings, load_settings

QUICK = timedelta(seconds=0.1)
YEARLY = "0 0 1 1 *"


@pytest.fixture(autouse=True)
async def no_jobs(owner: AsyncConnection[Any]) -> None:
    await owner.execute("truncate coach_jobs.pgqueuer, coach_jobs.pgqueuer_log, coach_jobs.pgqueuer_schedules")


@pytest.fixture
def settings(database_url: str, worker_url: str) -> Settings:
    return load_settings(database_url=database_url, worker_database_url=worker_url, jwt_secret="s" * 40)


class Work:
    """A job that counts, and fails as often as it is told to."""

    def __init__(self, name: str = "count", failures: int = 0, **options: Any) -> None:
        self.runs, self.failures = 0, failures
        self.job = Job(name, self, **({"first_pause": QUICK} | options))

    async def __call__(self, _db: Database, _now: Any) -> None:
        self.runs += 1
        if self.runs <= self.failures:
            raise ValueError("what Ann wrote in her journal")

    async def ran(self, times: int = 1) -> None:
        async def enough() -> bool:
            return self.runs >= times

        await until(enough)


@asynccontextmanager
async def running(db: Database, *works: Work, workers: int = 1) -> AsyncIterator[list[JobRunner]]:
    runners = [JobRunner(db, [work.job for work in works], poll=QUICK) for _ in range(workers)]
    tasks = [asyncio.create_task(one.run()) for one in runners]
    yield runners
    for one in runners:
        one.stop()
    await asyncio.wait_for(asyncio.gather(*tasks), 10)


async def until(happened: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(15):
        while True:
            if result := await happened():
                return result
            await asyncio.sleep(0.02)


async def scheduled(owner: AsyncConnection[Any], crons: list[str]) -> None:
    """Until these are the times, and no others."""

    async def are_there() -> bool:
        rows = await (await owner.execute("select expression from coach_jobs.pgqueuer_schedules")).fetchall()
        return [expression for (expression,) in rows] == crons

    await until(are_there)


async def test_the_tables_are_what_the_installed_pgqueuer_declares(owner_url: str) -> None:
    database = Database(owner_url)
    await database.open()
    plan = await queries(database).plan_upgrade()
    await database.close()

    # Its trigger would notify; nothing else is missing, and nothing more is there.
    assert all("fn_pgqueuer_changed" in statement for statement in plan.statements), plan.statements
    assert not plan.notes


async def test_a_time_missed_while_nothing_ran_is_caught_up_once_by_one_of_three_workers(
    worker_db: Database, owner: AsyncConnection[Any]
) -> None:
    works = [Work(f"yearly-{n}", cron=YEARLY) for n in range(5)]
    async with running(worker_db, *works):
        await scheduled(owner, [YEARLY] * 5)
        await asyncio.sleep(0.3)
    assert [work.runs for work in works] == [0] * 5, "nothing is due on the first start"
    await owner.execute("update coach_jobs.pgqueuer_schedules set next_run = now() - interval '90 days'")

    async with running(worker_db, *works, workers=3):
        for work in works:
            await work.ran()
        await asyncio.sleep(0.5)

    assert [work.runs for work in works] == [1] * 5
    due = await (await owner.execute("select min(next_run) > now() from coach_jobs.pgqueuer_schedules")).fetchone()
    assert due == (True,)


async def test_every_second_is_run_once_whichever_of_three_workers_sees_it(
    worker_db: Database, owner: AsyncConnection[Any]
) -> None:
    work, began = Work(cron="* * * * * */2"), monotonic()
    async with running(worker_db, work, workers=3):
        await work.ran(3)
    passed = monotonic() - began

    picked = await (
        await owner.execute("select count(*) from coach_jobs.pgqueuer_log where status = 'picked'")
    ).fetchone()
    assert picked == (work.runs,)
    assert 3 <= work.runs <= passed / 2 + 1, "no time counts twice, and each that has come is one more"


async def test_a_changed_time_replaces_the_old_one(worker_db: Database, owner: AsyncConnection[Any]) -> None:
    for cron in (YEARLY, "0 0 2 1 *"):
        async with running(worker_db, Work(cron=cron)):
            await scheduled(owner, [cron])


async def test_a_failure_is_tried_again(worker_db: Database) -> None:
    work = Work(failures=2)
    async with running(worker_db, work):
        await enqueue(worker_db, "count")
        await work.ran(3)
        await until(lambda: _gone(worker_db))

    assert await held(worker_db) == []


async def test_what_keeps_failing_is_held_in_sight_without_what_the_error_quotes(
    worker_db: Database, owner: AsyncConnection[Any]
) -> None:
    work = Work("broken", failures=99, attempts=3)
    async with running(worker_db, work):
        await enqueue(worker_db, "broken")
        (job,) = await until(lambda: held(worker_db))

    assert work.runs == 3
    assert (job.name, job.attempts, job.error) == ("broken", 3, "ValueError")
    told = await (
        await owner.execute("select status, error_message from coach.system_log where webhook_type = 'job_held'")
    ).fetchall()
    assert told == [("error", "ValueError")]
    kept = await (await owner.execute("select string_agg(traceback::text, '') from coach_jobs.pgqueuer_log")).fetchone()
    assert "Ann" not in str(kept)


async def test_of_a_periodic_job_one_failure_is_held_and_its_next_success_clears_it(worker_db: Database) -> None:
    work = Work("shaky", failures=2, attempts=1)
    async with running(worker_db, work):
        for _ in range(2):
            await enqueue(worker_db, "shaky")
            await until(lambda: _gone(worker_db))
        assert len(await until(lambda: held(worker_db))) == 1

        await enqueue(worker_db, "shaky")
        await work.ran(3)
        await until(lambda: _gone(worker_db))

    assert await held(worker_db) == []


async def test_an_operator_releases_what_is_held(worker_db: Database) -> None:
    work = Work("mended", failures=1, attempts=1)
    async with running(worker_db, work):
        await enqueue(worker_db, "mended")
        await until(lambda: held(worker_db))

        assert await release(worker_db) == 1
        await work.ran(2)

    assert await held(worker_db) == []
    assert await release(worker_db) == 0


async def test_what_is_queued_or_running_is_not_queued_again(worker_db: Database) -> None:
    assert await enqueue(worker_db, "count")
    assert not await enqueue(worker_db, "count")


async def test_another_worker_takes_up_the_job_of_a_dead_one(worker_db: Database, owner: AsyncConnection[Any]) -> None:
    work = Work()
    await enqueue(worker_db, "count")
    await owner.execute(
        "update coach_jobs.pgqueuer set status = 'picked', queue_manager_id = gen_random_uuid(),"
        " heartbeat = now() - interval '31 seconds'"
    )
    async with running(worker_db, work):
        await work.ran()


async def test_a_job_that_is_cut_off_by_a_stop_stays_in_the_queue(
    worker_db: Database, owner: AsyncConnection[Any]
) -> None:
    began = asyncio.Event()

    async def endless(_db: Database, _now: Any) -> None:
        began.set()
        await asyncio.sleep(60)

    jobs = JobRunner(worker_db, [Job("endless", endless)], poll=QUICK)
    runner = asyncio.create_task(jobs.run())
    await enqueue(worker_db, "endless")
    await asyncio.wait_for(began.wait(), 10)
    jobs.stop()
    for task in asyncio.all_tasks():
        if "_dispatch" in str(task.get_coro()):
            task.cancel()
    await asyncio.wait_for(runner, 10)

    rows = await (await owner.execute("select status::text from coach_jobs.pgqueuer")).fetchall()
    assert rows == [("queued",)]


async def test_views_are_refreshed_and_one_that_fails_is_named(
    worker_db: Database, owner: AsyncConnection[Any]
) -> None:
    await refresh_views(worker_db, datetime.now(UTC))
    rows = await (
        await owner.execute("select distinct status from coach.system_log where webhook_type = 'view_refresh'")
    ).fetchall()
    assert rows == [("completed",)]

    await owner.execute(
        "create materialized view coach.broken as select 1 / count(*) as n from coach.erasure_receipts with no data"
    )
    with pytest.raises(JobFailed, match=r"^Not refreshed: broken;"):
        await refresh_views(worker_db, datetime.now(UTC))
    await owner.execute("drop materialized view coach.broken")


async def test_the_times_of_all_jobs(settings: Settings) -> None:
    async with open_services(settings) as services:
        times = {job.name: job.cron for job in jobs_of(services)}
    assert times == {
        "settle_abandoned_turns": "* * * * *",
        "make_nudges": "*/15 * * * *",
        "conclude_sessions": "* * * * *",
        "judge_sessions": "* * * * *",
        "prune_pushes": "*/5 * * * *",
        "prune_idempotency_keys": "23 * * * *",
        "refresh_behavior_views": "17 3 * * *",
        "prune_job_log": "47 3 * * *",
    }


async def test_a_new_job_is_one_line_of_the_table(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the worker of a process runs is what ``jobs_of`` names."""
    work = Work("made_up", cron="* * * * * */1")
    monkeypatch.setattr("coach.pipeline.background.jobs_of", lambda services: (*jobs_of(services), work.job))
    async with open_services(settings) as services:
        worker = background(services)
        worker.start()
        await work.ran()
        await worker.stop(5)


async def _gone(db: Database) -> bool:
    return not await queries(db).browse_queue(statuses=["queued", "picked"])
