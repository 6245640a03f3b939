"""Nudges over HTTP, for users without an open socket."""

from __future__ import annotations

from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from coach.database.pool import Database
from coach.errors import NotFound
from coach.http.declared import declares
from coach.http.lists import DEFAULT_LIMIT, Cursor, Limit
from coach.identity.guards import CurrentUser
from coach.nudges import repository
from coach.nudges.repository import NudgePage
from coach.values.clock import utc_now

Db = NamedDependency[Database]


@get("/", summary="Your nudges", **declares())
async def nudges(user_id: CurrentUser, db: Db, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> NudgePage:
    """Newest first, without those that were dismissed or are past. None where consent was withdrawn."""
    return await repository.listed(db, user_id, limit, cursor, utc_now())


@post("/{nudge_id:str}/dismiss", status_code=204, summary="Dismiss a nudge", **declares(problems=(NotFound,)))
async def dismiss(nudge_id: FromPath[str], user_id: CurrentUser, db: Db) -> None:
    """The nudge does not come again this week (a streak: today). Dismissing twice is the same."""
    await repository.dismiss(db, user_id, nudge_id, utc_now())


nudges_router = Router("/api/nudges", route_handlers=[nudges, dismiss], tags=["Nudges"])
