"""What needs no token: health, and what a user interface has to know before anyone signs in."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Literal

import psycopg
import structlog
from litestar import Router, get
from msgspec import UNSET, Struct, UnsetType

from coach.chat.features import FEATURES
from coach.chat.schemas import MAX_TEXT
from coach.database.migrations import APPLIED
from coach.database.pool import Database
from coach.errors import DatabaseUnavailable, Unavailable
from coach.http.declared import declares
from coach.http.limits import CHAT_BODY, OTHER_BODY
from coach.kinds.registry import Shown, shown_kinds
from coach.pipeline.status import queue_age
from coach.services import AllServices
from coach.values.clock import utc_now

log = structlog.get_logger(__name__)
PATIENCE = 3.0


class Health(Struct):
    status: Literal["live", "ready"]


class Readiness(Health):
    """``queue_seconds``: how long the row that waits longest has been due for embedding; left out where unknown."""

    queue_seconds: int | UnsetType = UNSET


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
    kinds: tuple[Shown, ...]


@get("/live", summary="Is the process there", **declares())
async def live() -> Health:
    """Answers as long as the process does."""
    return Health("live")


@get("/ready", summary="Can it answer questions", **declares(problems=(Unavailable,)))
async def ready(services: AllServices) -> Readiness:
    """503 while the database cannot be reached, lacks a migration or a function file, or the server is shutting down.

    A long queue makes no server unready: it would be taken out of service for what its worker has not done.
    """
    try:
        async with asyncio.timeout(PATIENCE), services.db.as_login_role() as tx:
            rows = await (await tx.execute(APPLIED)).fetchall()
    except (TimeoutError, psycopg.Error, DatabaseUnavailable) as error:
        log.warning("not_ready", reason=type(error).__name__)
        raise Unavailable("Not ready.") from None
    if missing := services.schema.lacking(rows):
        log.warning("not_ready", reason="migrations", missing=sorted(missing)[:10])
        raise Unavailable("Not ready.")
    return Readiness("ready", await _queue_seconds(services.operators))


async def _queue_seconds(operators: Database | None) -> int | UnsetType:
    if operators is None:
        return UNSET
    try:
        async with asyncio.timeout(PATIENCE):
            return round(await queue_age(operators, utc_now()))
    except (TimeoutError, psycopg.Error, DatabaseUnavailable) as error:
        log.warning("queue_not_measured", reason=type(error).__name__)
        return UNSET


@get("/api/config", summary="What there is", tags=["Operators"], **declares())
async def config(services: AllServices) -> Config:
    """Features, models, limits and ways to sign in."""
    return Config(
        name="Aurum Coach",
        version=version("aurum-coach"),
        features=FEATURES,
        models=tuple(services.models),
        limits=Limits(MAX_TEXT, CHAT_BODY, OTHER_BODY, services.settings.monthly_limit),
        sign_in=("token",),
        kinds=shown_kinds(),
    )


health_router = Router("/health", route_handlers=[live, ready], tags=["Operators"])
