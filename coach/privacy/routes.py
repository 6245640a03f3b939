"""Preferences over HTTP."""

from __future__ import annotations

from litestar import Router, get, patch
from litestar.di import NamedDependency

from coach.database.pool import Database
from coach.errors import NotFound
from coach.http.declared import declares
from coach.identity.guards import CurrentUser
from coach.privacy import preferences
from coach.privacy.schemas import Preferences, PreferencesChange

Db = NamedDependency[Database]


@get("/preferences", summary="Your consents, retention and quiet hours", **declares())
async def read(user_id: CurrentUser, db: Db) -> Preferences:
    """Where nothing was ever chosen, the defaults."""
    return await preferences.read(db, user_id)


@patch(
    "/preferences",
    summary="Give or withdraw consents, set retention and quiet hours",
    **declares(
        PreferencesChange,
        example={"track_search_queries": True, "data_retention_days": 180, "quiet_from": "22:30"},
        problems=(NotFound,),
    ),
)
async def change(sent: NamedDependency[PreferencesChange], user_id: CurrentUser, db: Db) -> Preferences:
    """What is left out stays. What a withdrawn consent purges is gone with the answer to this."""
    return await preferences.change(db, user_id, sent)


preferences_router = Router("/api/me", route_handlers=[read, change], tags=["The user's own"])
