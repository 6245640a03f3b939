"""The pipeline over HTTP: a user's own rows, and under /admin those of all users."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct

from coach.chat.quota import month_of
from coach.database.pool import Database
from coach.errors import InvalidInput
from coach.http.declared import declares
from coach.http.lists import DEFAULT_LIMIT, Cursor, Limit
from coach.identity.guards import CurrentUser
from coach.pipeline import status
from coach.pipeline.job_runner import enqueue, release
from coach.pipeline.jobs import REFRESH_VIEWS
from coach.pipeline.status import AuditPage, MyPipeline, Pipeline, UsagePage
from coach.values.clock import utc_now


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
    return await status.my_pipeline(db, user_id, utc_now())


@get("/audit", summary="What was done with your data", **declares())
async def audit(
    user_id: CurrentUser, db: NamedDependency[Database], limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> AuditPage:
    """Newest first."""
    return await status.audit(db, user_id, limit, cursor)


@get("/pipeline", summary="How the pipeline stands", **declares())
async def pipeline(operators: NamedDependency[Database]) -> Pipeline:
    """Depth, age of the oldest, rate, dead letters (the latest hundred) and held jobs."""
    return await status.pipeline(operators, utc_now())


@post("/pipeline/retry", status_code=200, summary="Try again what was given up", **declares())
async def retry(operators: NamedDependency[Database]) -> Retried:
    """Gives dead letters and held jobs new attempts."""
    return Retried(await status.retry_dead_letters(operators, utc_now()), await release(operators))


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
    return await status.usage(operators, _month(month), limit, cursor)


def _month(text: str | None) -> date:
    if text is None:
        return month_of(utc_now())
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise InvalidInput("month", "must be a month such as 2026-03.") from None


my_pipeline_router = Router("/api/me", route_handlers=[my_pipeline, audit], tags=["The user's own"])
admin_router = Router("/admin", route_handlers=[pipeline, retry, refresh_views, usage], tags=["Operators"])
