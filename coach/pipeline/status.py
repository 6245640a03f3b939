"""How the pipeline stands: what users, operators and probes are told."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from msgspec import Struct

from coach.database.pool import Database
from coach.database.queries import load
from coach.pipeline.job_runner import HeldJob

_sql = load("operations")


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


async def queue_age(db: Database, now: datetime) -> float:
    """Seconds for which the longest waiting row has been due."""
    async with db.as_operator() as tx:
        return float(await _sql.queue_age.value(tx, now=now) or 0.0)


async def queue_rows(db: Database) -> QueueRows:
    async with db.as_operator() as tx:
        return await _sql.queue_rows.one(tx, QueueRows) or QueueRows(0, 0)
