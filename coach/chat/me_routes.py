"""The month's quota."""

from __future__ import annotations

from litestar import Router, get
from litestar.di import NamedDependency

from coach.chat.events import Quota
from coach.chat.turns import Turns
from coach.identity.guards import CurrentUser


@get("/quota", summary="This month's quota")
async def quota(user_id: CurrentUser, turns: NamedDependency[Turns]) -> Quota:
    """Running turns count as used. Months are UTC calendar months."""
    return await turns.ledger.quota(user_id, turns.clock())


me_router = Router("/api/me", route_handlers=[quota], tags=["The user's own"])
