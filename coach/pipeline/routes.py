"""The pipeline over HTTP: a user's own rows, and under /admin those of all users."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated
from uuid import UUID

from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct

from coach.chat.quota import month_of
from coach.database.pool import Database
from coach.database.queries import load
from coach.database.wake import notify_work
from coach.errors import InvalidInput
from coach.http.declared import declares
from coach.http.lists import DEFAULT_LIMIT, Cursor, Limit, newest_first, page, position_of
from coach.identity.guards import CurrentUser
from coach.pipeline.job_runner import enqueue, held, release
from coach.pipeline.jobs import REFRESH_VIEWS
from coach.pipeline.status import (
    AuditEntry,
    AuditPage,
    DeadLetter,
    MyPipeline,
    Pipeline,
    UsagePage,
    UsageTotal,
    UserUsage,
    queue_age,
    queue_rows,
)
from coach.values.clock import utc_now

_sql = load("operations")

RATE_WINDOW = timedelta(minutes=5)
LETTERS = 100


class Retried(Struct):
    """How many dead letters and held jobs got new attempts."""

    rows: int
    jobs: int


class Queued(Struct):
    """``queued`` is false where it waits or runs already."""

    job: str
    queued: bool


@get("/pipeline", summary="What waits to be embedded", **declares())
async def my_pipeline(user_id: CurrentUser, db: NamedDependency[Database]) -> MyPipeline:
    """Changed rows and new messages that a search by meaning does not find yet."""
    async with db.as_user(user_id) as tx:
        found = await _sql.my_pipeline.one(tx, MyPipeline, user_id=user_id, now=utc_now())
    return found or MyPipeline(0, 0, 0.0)


@get("/audit", summary="What was done with your data", **declares())
async def audit(
    user_id: CurrentUser, db: NamedDependency[Database], limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> AuditPage:
    """Newest first."""
    async with db.as_user(user_id) as tx:
        rows = await _sql.audit.rows(tx, AuditEntry, user_id=user_id, **newest_first(limit, cursor))
    return AuditPage(*page(rows, limit, lambda entry: (entry.triggered_at, entry.id)))


@get("/pipeline", summary="How the pipeline stands", **declares())
async def pipeline(operators: NamedDependency[Database]) -> Pipeline:
    """Depth, age of the oldest, rate, dead letters (the latest hundred) and held jobs."""
    now = utc_now()
    rows, oldest = await queue_rows(operators), await queue_age(operators, now)
    async with operators.as_operator() as tx:
        done = await _sql.embedded_since.value(tx, since=now - RATE_WINDOW)
        letters = await _sql.dead_letters.rows(tx, DeadLetter, limit=LETTERS)
    rate = done / (RATE_WINDOW / timedelta(minutes=1))
    return Pipeline(rows.waiting, rows.failed, oldest, rate, letters, await held(operators))


@post("/pipeline/retry", status_code=200, summary="Try again what was given up", **declares())
async def retry(operators: NamedDependency[Database]) -> Retried:
    """Gives dead letters and held jobs new attempts."""
    async with operators.as_operator() as tx:
        retried = await _sql.retry_dead_letters.run(tx, now=utc_now())
        await notify_work(tx)
    return Retried(retried, await release(operators))


@post("/refresh-views", status_code=202, summary="Refresh the behaviour views", **declares())
async def refresh_views(operators: NamedDependency[Database]) -> Queued:
    """By a worker, within seconds; a failure stands among the held jobs of `GET /admin/pipeline`."""
    return Queued(REFRESH_VIEWS, await enqueue(operators, REFRESH_VIEWS))


@get("/usage", summary="Who used how much", **declares())
async def usage(
    operators: NamedDependency[Database],
    month: Annotated[str | None, QueryParameter(description="As 2026-03; this one if left out.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> UsagePage:
    """Turns, tokens and cost of a UTC calendar month, by user."""
    of_month, after = _month(month), position_of(cursor, UUID) if cursor else None
    async with operators.as_operator() as tx:
        total = await _sql.usage_total.one(tx, UsageTotal, month=of_month)
        rows = await _sql.usage.rows(tx, UserUsage, month=of_month, after=after, limit=limit + 1)
    return UsagePage(of_month, total or UsageTotal(0, 0, 0, 0, 0.0), *page(rows, limit, lambda user: user.user_id))


def _month(text: str | None) -> date:
    if text is None:
        return month_of(utc_now())
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise InvalidInput("month", "must be a month such as 2026-03.") from None


my_pipeline_router = Router("/api/me", route_handlers=[my_pipeline, audit], tags=["The user's own"])
admin_router = Router("/admin", route_handlers=[pipeline, retry, refresh_views, usage], tags=["Operators"])
