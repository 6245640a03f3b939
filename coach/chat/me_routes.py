"""The month's quota, and what the user may ask."""

from __future__ import annotations

from litestar import Router, get
from litestar.di import NamedDependency

from coach.chat.events import Quota
from coach.chat.suggestions import Suggestions, suggest
from coach.chat.turns import Turns
from coach.database.pool import Database
from coach.http.declared import declares
from coach.identity.guards import CurrentUser


@get("/quota", summary="This month's quota", **declares())
async def quota(user_id: CurrentUser, turns: NamedDependency[Turns]) -> Quota:
    """Running turns count as used. Months are UTC calendar months."""
    return await turns.ledger.quota(user_id, turns.clock())


@get("/suggestions", summary="Questions that fit your rows", **declares())
async def suggestions(
    user_id: CurrentUser, db: NamedDependency[Database], turns: NamedDependency[Turns]
) -> Suggestions:
    """Four of them, from live facts and the largest areas; in an empty account, sentences to begin with."""
    return await suggest(db, user_id, turns.clock())


me_router = Router("/api/me", route_handlers=[quota, suggestions], tags=["The user's own"])
