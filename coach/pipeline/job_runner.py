"""Periodic and one-off jobs, on pgqueuer.

A due time only ever queues the job, under its name as key: of many workers one queues it, and none that waits or runs
is queued again. Failures are then the queue's: tried again later, and after the last attempt held, where ``held`` shows
them. The next success of a periodic job clears what is held of it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import stamina
import structlog
from msgspec import Struct
from pgqueuer.core.applications import PgQueuer
from pgqueuer.core.executors import EntrypointExecutor
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Context, CronExpressionEntrypoint, Schedule
from pgqueuer.domain.models import Job as QueuedJob
from psycopg import Error as DatabaseError
from psycopg.errors import UniqueViolation

from coach.database.pool import Database
from coach.database.queries import load
from coach.errors import CoachError, DatabaseUnavailable
from coach.pipeline.jobs_driver import queries
from coach.values.clock import utc_now

_sql = load("operations")
_log = structlog.get_logger(__name__)

POLL = timedelta(seconds=5)
LOST_AFTER = timedelta(seconds=30)
"""Without a sign of life for so long, a job is taken up by another worker."""

ATTEMPTS = 5
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=10)

Work = Callable[[Database, datetime], Awaitable[None]]


class JobFailed(CoachError):
    """A job did not do what it is for."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A job by name. ``cron`` is in UTC; without one it runs only when queued."""

    name: str
    work: Work
    cron: str | None = None
    attempts: int = ATTEMPTS
    first_pause: timedelta = FIRST_PAUSE


class HeldJob(Struct, frozen=True):
    """One that failed as often as it may. ``error`` names the fault's class, never a value."""

    id: int
    name: str
    attempts: int
    failed_at: datetime
    error: str


class JobRunner:
    """The runner of one worker process. Ends with an error when the database goes: whoever runs it starts a new one."""

    def __init__(
        self, db: Database, jobs: Sequence[Job], *, clock: Callable[[], datetime] = utc_now, poll: timedelta = POLL
    ) -> None:
        self._db, self._jobs, self._clock, self._poll = db, jobs, clock, poll
        self._queries = queries(db)
        self._pgq = PgQueuer(self._queries.driver, channel=self._queries.qbe.settings.channel, queries=self._queries)
        for job in jobs:
            self._register(job)

    async def run(self) -> None:
        """Queue what becomes due and do what is queued, until ``stop``."""
        await self._drop_former_times()
        # Without aggregation: it keeps figures that nobody reads.
        await self._pgq.run(
            dequeue_timeout=self._poll, heartbeat_timeout=LOST_AFTER, log_aggregation_interval=timedelta()
        )

    def stop(self) -> None:
        """Begin nothing more; ``run`` returns when what is being done is done."""
        self._pgq.shutdown.set()

    def _register(self, job: Job) -> None:
        async def do(_: QueuedJob) -> None:
            await job.work(self._db, self._clock())

        async def due(_: Schedule) -> None:
            # The schedule has moved on already. A lost connection must not skip a night's run.
            async for attempt in stamina.retry_context(on=DatabaseUnavailable, attempts=None, timeout=None):
                with attempt:
                    await enqueue(self._db, job.name)

        runner = partial(JobExecutor, declared=job, db=self._db)
        self._pgq.entrypoint(job.name, on_failure="hold", accepts_context=False, executor_factory=runner)(do)
        if job.cron is not None:
            self._pgq.schedule(job.name, job.cron, accepts_context=False)(due)

    async def _drop_former_times(self) -> None:
        """Delete the row of a job whose schedule changed. An unchanged job keeps its next time."""
        ours, now = {job.name for job in self._jobs}, set(self._pgq.sm.registry)
        rows = await self._queries.peek_schedule()
        former = {
            row.id
            for row in rows
            if row.entrypoint in ours and CronExpressionEntrypoint(row.entrypoint, row.expression) not in now
        }
        if former:
            await self._queries.delete_schedule(former, set())


@dataclasses.dataclass
class JobExecutor(EntrypointExecutor):
    """Runs a job; a failure is tried again later, then held. What pgqueuer stores of it is our own words."""

    declared: Job = dataclasses.field(kw_only=True)
    db: Database = dataclasses.field(kw_only=True)

    async def execute(self, job: QueuedJob, context: Context) -> None:
        try:
            await super().execute(job, context)
        except asyncio.CancelledError:
            # The process stops before the job is done. pgqueuer would remove the job as cancelled, so it is queued
            # again.
            raise RetryRequested(reason="The worker stopped.") from None
        except Exception as error:  # noqa: BLE001 - whatever broke: it is tried again, then held and shown
            await self._failed(job, error)
        else:
            async with self.db.as_operator() as tx:
                await _sql.delete_held_jobs.run(tx, name=self.declared.name, except_id=job.id)

    async def _failed(self, job: QueuedJob, error: Exception) -> None:
        said, attempt = _described(error), job.attempts + 1
        # Frames only: a database error quotes the row it broke on.
        frames = traceback.format_tb(error.__traceback__)
        _log.error("job_failed", job=self.declared.name, attempt=attempt, error=said, frames=frames)
        if attempt < self.declared.attempts:
            pause = min(self.declared.first_pause * 2**job.attempts, LONGEST_PAUSE)
            raise RetryRequested(delay=pause, reason=said) from None
        async with self.db.as_operator() as tx:
            await _sql.delete_held_jobs.run(tx, name=self.declared.name, except_id=job.id)
            await _sql.log_held.run(tx, name=self.declared.name, error=said)
        raise JobFailed(said) from None


def _described(error: Exception) -> str:
    """What of an error may be kept: our own words, or a class and PostgreSQL's code for it."""
    if isinstance(error, CoachError):
        return str(error)
    code = error.sqlstate if isinstance(error, DatabaseError) else None
    return f"{type(error).__name__} {code}" if code else type(error).__name__


async def enqueue(db: Database, name: str) -> bool:
    """Queue a job once; false where it waits or runs already. ``db`` logs in as a worker."""
    ids = await queries(db).enqueue(name, None, dedupe_key=name, on_conflict="skip")
    return ids[0] is not None


async def held(db: Database) -> list[HeldJob]:
    """What failed for good, newest first."""
    async with db.as_operator() as tx:
        return await _sql.held_jobs.rows(tx, HeldJob)


async def release(db: Database) -> int:
    """Give every held job new attempts; returns how many there were."""
    released = 0
    for job in await queries(db).list_failed_jobs():
        # A job that is queued already stays held until that run has ended.
        with suppress(UniqueViolation):
            await queries(db).requeue_jobs([job.id])
            released += 1
    return released
