"""What needs no token: health, and what a user interface has to know before anyone signs in."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Literal

import psycopg
import structlog
from litestar import Router, get
from litestar.datastructures import State
from msgspec import Struct

from coach.chat.schemas import FEATURES, MAX_TEXT
from coach.database.pool import Database
from coach.errors import DatabaseUnavailable, Unavailable
from coach.http.limits import CHAT_BODY, OTHER_BODY
from coach.settings import Settings

log = structlog.get_logger(__name__)
PATIENCE = 3.0


class Health(Struct):
    status: Literal["live", "ready"]


class Limits(Struct):
    """Characters of one message, bytes of bodies, turns a month unless a user's own limit says otherwise."""

    message_characters: int
    chat_bytes: int
    body_bytes: int
    monthly_turns: int


class Config(Struct):
    """What a user interface needs to start. The first model is the default."""

    name: str
    version: str
    features: tuple[str, ...]
    models: tuple[str, ...]
    limits: Limits
    sign_in: tuple[str, ...]


@get("/live", summary="Is the process there")
async def live() -> Health:
    """Answers as long as the process does."""
    return Health("live")


@get("/ready", summary="Can it answer questions")
async def ready(state: State) -> Health:
    """503 while the database cannot be reached, lacks a migration, or the server is shutting down."""
    db: Database = state.db
    try:
        async with asyncio.timeout(PATIENCE), db.bare() as tx:
            rows = await (await tx.execute("select name from coach.migrations")).fetchall()
    except (TimeoutError, psycopg.Error, DatabaseUnavailable) as error:
        log.warning("not_ready", reason=type(error).__name__)
        raise Unavailable("Not ready.") from None
    if missing := set(state.migrations) - {name for (name,) in rows}:
        log.warning("not_ready", reason="migrations", missing=len(missing))
        raise Unavailable("Not ready.")
    return Health("ready")


@get("/api/config", summary="What there is", tags=["Operators"])
async def config(state: State) -> Config:
    """Features, models, limits and ways to sign in."""
    settings: Settings = state.settings
    return Config(
        name="Aurum Coach",
        version=version("aurum-coach"),
        features=FEATURES,
        models=tuple(state.models),
        limits=Limits(MAX_TEXT, CHAT_BODY, OTHER_BODY, settings.monthly_limit),
        sign_in=("token",),
    )


health_router = Router("/health", route_handlers=[live, ready], tags=["Operators"])
