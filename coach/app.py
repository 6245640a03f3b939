"""The application: its routes over the services, and how it is run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes

import structlog
from litestar import Litestar, Request, Router
from litestar.di import Provide

from coach.chat.me_routes import me_router
from coach.chat.routes import chat_router
from coach.conversations.memory_routes import memory_router
from coach.conversations.routes import conversations_router
from coach.errors import (
    DatabaseUnavailable,
    Forbidden,
    InvalidInput,
    Misconfigured,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from coach.http.edge import Edge
from coach.http.limits import OTHER_BODY
from coach.http.problems import HANDLERS
from coach.identity.guards import current_user, operators_guard, users_guard
from coach.identity.rate import RateLimiter
from coach.nudges.routes import nudges_router
from coach.openai_api.errors import under_v1
from coach.openai_api.routes import v1_router
from coach.pipeline.background import Background, background
from coach.pipeline.routes import admin_router, my_pipeline_router
from coach.privacy.routes import preferences_router
from coach.public.health import config, health_router
from coach.public.metrics import metrics
from coach.public.openapi import openapi_config
from coach.public.pages import page
from coach.realtime.accepting import Sockets, ws_ticket
from coach.retrieval.routes import search_router
from coach.services import NO_OPERATORS, Services, open_services
from coach.sessions.routes import commitments_router, sessions_router
from coach.settings import Settings
from coach.values.clock import utc_now

_log = structlog.get_logger(__name__)
_OF_ALL = (InvalidInput, Unauthenticated, Forbidden, Unavailable, DatabaseUnavailable)
"""What every route behind the authenticator may answer."""


@dataclass(frozen=True)
class RunningApp:
    """The ASGI application, and ``drain``, which ends its turns, sockets and worker within a number of seconds."""

    asgi: Litestar
    drain: Callable[[float], Awaitable[None]]


@asynccontextmanager
async def run_app(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = utc_now,
    rate: RateLimiter | None = None,
    embeds: bool = True,
) -> AsyncIterator[RunningApp]:
    """Keep the application open while inside. With ``embeds`` a worker runs too, if the worker's login allows it.

    :raises Misconfigured: no way to check a token is configured, or a setting cannot work.
    :raises DatabaseUnavailable: no answer.
    """
    if settings.jwt_secret is None and settings.jwks_url is None:
        raise Misconfigured(
            "COACH_JWT_SECRET: neither it nor COACH_JWKS_URL is set, so nobody could sign in. "
            "Example: COACH_JWT_SECRET=$(openssl rand -base64 48)"
        )
    async with open_services(settings, clock=clock, rate=rate) as services:
        await services.warm_up()
        if embeds and services.operators is None:
            _log.warning("server_has_no_worker", reason=NO_OPERATORS)
        worker = background(services) if embeds and services.operators is not None else None
        if worker is not None:
            worker.start()
        drain = partial(_drain, services, worker)
        try:
            yield RunningApp(build_app(services), drain)
        finally:
            # ``coach/server.py`` has drained already. Any other server has not, and nothing may run on after it.
            await drain(0.0)


async def _drain(services: Services, worker: Background | None, grace: float) -> None:
    """A socket closes when it has nothing more to send, at the latest after the last turn."""
    services.hub.drain()
    await asyncio.gather(services.turns.drain(grace), *([worker.stop(grace)] if worker is not None else []))
    await services.hub.aclose()


def build_app(services: Services) -> Litestar:
    """The ASGI application over open services."""
    sockets = Sockets(
        services.authenticator,
        services.hub,
        services.turns,
        services.tickets,
        services.sessions.apply,
        services.settings.allowed_origins,
    )
    app = Litestar(
        route_handlers=[
            page,
            config,
            health_router,
            metrics,
            sockets.handler,
            _users_routes(services),
            _operators_routes(services),
        ],
        dependencies={"services": _provide(lambda: services)},
        exception_handlers=under_v1(HANDLERS),
        openapi_config=openapi_config(),
        request_max_body_size=OTHER_BODY,
        logging_config=None,
    )
    # Wraps everything, the framework's own answers included, so that a 404 has a request id and a log line too.
    app.asgi_handler = Edge(app.asgi_handler, services.settings.allowed_origins)
    return app


def _users_routes(services: Services) -> Router:
    """All that a signed-in user may reach."""
    return Router(
        "/",
        route_handlers=[
            chat_router,
            commitments_router,
            conversations_router,
            me_router,
            memory_router,
            my_pipeline_router,
            nudges_router,
            preferences_router,
            search_router,
            sessions_router,
            v1_router,
            ws_ticket,
        ],
        guards=[users_guard(services.authenticator)],
        opt={"problems": (*_OF_ALL, RateLimited)},
        before_request=_refuse_broken_query,
        dependencies={
            "user_id": Provide(current_user),
            "db": _provide(lambda: services.db),
            "turns": _provide(lambda: services.turns),
            "tickets": _provide(lambda: services.tickets),
            "ui_tasks": _provide(lambda: services.ui_tasks),
            "embedder": _provide(lambda: services.embedder),
            "retriever": _provide(lambda: services.retriever),
        },
    )


def _operators_routes(services: Services) -> Router:
    """What a token of the role ``service_role`` reaches, and no user's."""
    return Router(
        "/",
        route_handlers=[admin_router],
        guards=[operators_guard(services.authenticator)],
        opt={"problems": _OF_ALL},
        before_request=_refuse_broken_query,
        dependencies={"operators": _provide(services.require_operators)},
    )


def _provide(find: Callable[[], object]) -> Provide:
    """A function, not a method: the framework copies a handler with all that it is bound to."""

    def provide() -> Any:
        return find()

    return Provide(provide, sync_to_thread=False)


def _refuse_broken_query(request: Request[Any, Any, Any]) -> None:
    """Refuse what is not UTF-8, where the framework would insert replacement characters, and NUL, which PostgreSQL
    refuses."""
    try:
        text = unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError:
        raise InvalidInput("query", "is not valid UTF-8.") from None
    if "\0" in text:
        raise InvalidInput("query", "must not contain a NUL character.")
