"""How the pipeline stands: for a user, for operators, for probes."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from uuid import UUID

from msgspec import Struct

from coach.database.pool import Database
from coach.database.queries import load
from coach.http.lists import newest_first, page, position_of
from coach.pipeline.job_runner import HeldJob, held

_sql = load("operations")

RATE_WINDOW = timedelta(minutes=5)
LETTERS = 100


class MyPipeline(Struct):
    """How many rows of the user wait to be embedded, how many are dead letters, and the age of the oldest waiting
    one."""

    waiting: int
    failed: int
    oldest_seconds: float


class AuditEntry(Struct):
    """One event that concerned the user: embedding, quota warnings. ``row_count``: of how many rows it tells."""

    id: UUID
    webhook_type: str
    table_name: str | None
    status: str
    error_message: str | None
    row_count: int | None
    triggered_at: datetime
    processed_at: datetime | None


class AuditPage(Struct):
    """Newest first."""

    items: list[AuditEntry]
    next_cursor: str | None = None


class QueueRows(Struct, frozen=True):
    """Rows that wait to be embedded, and those that were given up."""

    waiting: int
    failed: int


class DeadLetter(Struct):
    """A row that was tried as often as it may be. ``error`` holds nothing of its content."""

    user_id: UUID
    entity_table: str
    entity_id: UUID
    attempts: int
    error: str | None
    since: datetime


class Pipeline(Struct):
    """``depth`` waits to be embedded, the longest for ``oldest_seconds``; ``rate_per_minute`` is of the last five."""

    depth: int
    failed: int
    oldest_seconds: float
    rate_per_minute: float
    dead_letters: list[DeadLetter]
    held_jobs: list[HeldJob]


class UserUsage(Struct):
    """A user's month. ``limit`` is the user's own; null means COACH_MONTHLY_LIMIT."""

    user_id: UUID
    used: int
    reserved: int
    limit: int | None
    input_tokens: int
    output_tokens: int
    cost_usd: float


class UsageTotal(Struct):
    users: int
    used: int
    input_tokens: int
    output_tokens: int
    cost_usd: float


class UsagePage(Struct):
    month: date
    total: UsageTotal
    items: list[UserUsage]
    next_cursor: str | None = None


async def my_pipeline(db: Database, user_id: UUID, now: datetime) -> MyPipeline:
    async with db.as_user(user_id) as tx:
        found = await _sql.my_pipeline.one(tx, MyPipeline, user_id=user_id, now=now)
    return found or MyPipeline(0, 0, 0.0)


async def audit(db: Database, user_id: UUID, limit: int, cursor: str | None) -> AuditPage:
    async with db.as_user(user_id) as tx:
        rows = await _sql.audit.rows(tx, AuditEntry, user_id=user_id, **newest_first(limit, cursor))
    return AuditPage(*page(rows, limit, lambda entry: (entry.triggered_at, entry.id)))


async def pipeline(db: Database, now: datetime) -> Pipeline:
    rows, oldest = await queue_rows(db), await queue_age(db, now)
    async with db.as_operator() as tx:
        done = await _sql.embedded_since.value(tx, since=now - RATE_WINDOW)
        letters = await _sql.dead_letters.rows(tx, DeadLetter, limit=LETTERS)
    rate = done / (RATE_WINDOW / timedelta(minutes=1))
    return Pipeline(rows.waiting, rows.failed, oldest, rate, letters, await held(db))


async def usage(db: Database, month: date, limit: int, cursor: str | None) -> UsagePage:
    after = position_of(cursor, UUID) if cursor else None
    async with db.as_operator() as tx:
        total = await _sql.usage_total.one(tx, UsageTotal, month=month)
        rows = await _sql.usage.rows(tx, UserUsage, month=month, after=after, limit=limit + 1)
    return UsagePage(month, total or UsageTotal(0, 0, 0, 0, 0.0), *page(rows, limit, lambda user: user.user_id))


async def queue_age(db: Database, now: datetime) -> float:
    """Seconds for which the longest waiting row has been due."""
    async with db.as_operator() as tx:
        return float(await _sql.queue_age.value(tx, now=now) or 0.0)


async def queue_rows(db: Database) -> QueueRows:
    async with db.as_operator() as tx:
        return await _sql.queue_rows.one(tx, QueueRows) or QueueRows(0, 0)


async def retry_dead_letters(db: Database, now: datetime) -> int:
    """Give every dead letter new attempts and notify the workers; returns how many there were."""
    from coach.database.wake import notify_work

    async with db.as_operator() as tx:
        retried = await _sql.retry_dead_letters.run(tx, now=now)
        await notify_work(tx)
    return retried
