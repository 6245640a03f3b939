"""The application: the only place that wires things together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes

import structlog
from litestar import Litestar, Request, Router
from litestar.datastructures import State
from litestar.di import Provide

from coach.chat.me_routes import me_router
from coach.chat.prompt import Prompts
from coach.chat.routes import chat_router
from coach.chat.turns import RunningTurn, Turns
from coach.conversations.memory_routes import memory_router
from coach.conversations.routes import conversations_router
from coach.conversations.titles import Titles
from coach.database.migrations import migrations
from coach.database.opening import Urls, opened
from coach.database.operators import operators_database
from coach.database.pool import Database
from coach.errors import InvalidInput, Misconfigured, Unavailable
from coach.http.edge import Edge
from coach.http.limits import OTHER_BODY, RateLimiter
from coach.http.problems import HANDLERS
from coach.identity.guards import current_user, user_guard
from coach.identity.jwks import JwksKeys
from coach.identity.tokens import Verifier
from coach.identity.users import Accounts
from coach.models.configure import build_models
from coach.nudges.routes import nudges_router
from coach.openai_api.chores import Chores
from coach.openai_api.errors import under_v1
from coach.openai_api.routes import v1_router
from coach.pipeline.background import Background, background
from coach.pipeline.routes import admin_router, my_pipeline_router
from coach.privacy.routes import preferences_router
from coach.public.health import config, health_router
from coach.public.metrics import metrics
from coach.public.openapi import openapi_config
from coach.public.pages import HANDLERS as PAGES
from coach.realtime.hub import Hub
from coach.realtime.pushes import Pushes
from coach.realtime.socket import chat_socket, ws_ticket
from coach.realtime.tickets import Tickets
from coach.resources import SQL
from coach.retrieval.base import Embedder
from coach.retrieval.context import Retriever
from coach.retrieval.embedders import Embedders, build_embedder
from coach.retrieval.routes import search_router
from coach.retrieval.wordllama import WordllamaEmbedder
from coach.sessions.routes import commitments_router, sessions_router
from coach.sessions.sessions import Sessions, SocketSessions
from coach.settings import Settings
from coach.values.clock import utc_now

log = structlog.get_logger(__name__)


def build_app(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = utc_now,
    rate: RateLimiter | None = None,
    embeds: bool = True,
) -> Litestar:
    """The ASGI application. Its lifespan opens the database, embedder, models and turns, and closes them again.

    With ``embeds`` a worker runs inside of it, where the worker's login allows.

    :raises Misconfigured: no way to check a token is configured.
    """
    if settings.jwt_secret is None and settings.jwks_url is None:
        raise Misconfigured(
            "COACH_JWT_SECRET: neither it nor COACH_JWKS_URL is set, so nobody could sign in. "
            "Example: COACH_JWT_SECRET=$(openssl rand -base64 48)"
        )
    app = Litestar(
        route_handlers=[*PAGES, config, health_router, metrics, chat_socket, _users_routes(), _operators_routes()],
        exception_handlers=under_v1(HANDLERS),
        lifespan=[partial(_running, settings=settings, clock=clock, embeds=embeds)],
        openapi_config=openapi_config(),
        request_max_body_size=OTHER_BODY,
        logging_config=None,
        state=State({"settings": settings, "rate": rate or RateLimiter()}),
    )
    # Around everything, the framework's own answers included: a 404 has a request id and a log line too.
    app.asgi_handler = Edge(app.asgi_handler, settings.allowed_origins)
    return app


def _users_routes() -> Router:
    """All that a signed-in person may reach."""
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
        guards=[user_guard],
        before_request=_refuse_broken_query,
        dependencies={
            "user_id": Provide(current_user),
            "db": _from_state("db", Database),
            "turns": _from_state("turns", Turns),
            "chores": _from_state("chores", Chores),
            "embedder": _from_state("embedder", Embedder),
            "retriever": _from_state("retriever", Retriever),
        },
    )


def _operators_routes() -> Router:
    """What a token of the role ``service_role`` reaches, and no user's."""
    return Router(
        "/",
        route_handlers=[admin_router],
        before_request=_refuse_broken_query,
        dependencies={"operators": Provide(_operators_database, sync_to_thread=False)},
    )


def _operators_database(state: State) -> Database:
    operators: Database | None = state.operators
    if operators is None:
        raise Unavailable("This server has no login that may act for all users: set COACH_WORKER_DATABASE_URL.")
    return operators


def _from_state(name: str, kind: Any) -> Provide:
    def provide(state: State) -> Any:
        return state[name]

    return Provide(provide, sync_to_thread=False)


def _refuse_broken_query(request: Request[Any, Any, Any]) -> None:
    """The framework would put replacement characters for what is not UTF-8, and PostgreSQL takes no NUL."""
    try:
        text = unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError:
        raise InvalidInput("query", "is not valid UTF-8.") from None
    if "\0" in text:
        raise InvalidInput("query", "must not contain a NUL character.")


@asynccontextmanager
async def _running(
    app: Litestar, *, settings: Settings, clock: Callable[[], datetime], embeds: bool
) -> AsyncIterator[None]:
    """Open in the order of need, close in reverse; the turns have been drained before (``coach/server.py``)."""
    state = app.state
    async with AsyncExitStack() as stack:
        urls = await stack.enter_async_context(opened(settings))
        state.db = db = Database(urls.server, max_size=settings.pool_size)
        await db.open()
        stack.push_async_callback(db.close)
        state.migrations = tuple(migration.name for migration in migrations(SQL / "migrations"))
        state.accounts = Accounts(db)
        state.verifier = verifier(settings)
        stack.push_async_callback(state.verifier.aclose)
        state.embedder = embedder = build_embedder(settings)
        stack.push_async_callback(embedder.aclose)
        if isinstance(embedder, WordllamaEmbedder):
            # It reads its table when first asked: 0.3 s that no one's first question should wait for.
            await embedder.embed_query("")
        state.models = models = build_models(settings)
        for model in models.values():
            stack.push_async_callback(model.aclose)
        state.retriever = Retriever(embedder, Embedders(settings))
        titles = Titles(db, next(iter(models.values())), clock)
        stack.push_async_callback(titles.aclose)
        state.hub = hub = Hub(clock)
        pushes = await _sockets(stack, state, db, urls, clock)
        sessions = Sessions(db, next(iter(models.values())), clock, pushes.push_soon)
        stack.push_async_callback(sessions.aclose)
        state.turns = turns = Turns(
            db,
            models=models,
            embedder=embedder,
            retriever=state.retriever,
            prompts=Prompts(),
            monthly_limit=settings.monthly_limit,
            timeout=settings.turn_timeout,
            clock=clock,
            completed=partial(_completed, titles, sessions, pushes),
            stepped=sessions.stepped,
        )
        state.session_hooks = SocketSessions(sessions, turns)
        state.chores = Chores(next(iter(models.values())))
        state.operators = operators = await _operators(stack, settings, urls)
        worker = None
        if embeds and operators is not None:
            worker = background(operators, urls.listen, embedder, lambda: next(iter(models.values())), settings)
        state.drain = drain = partial(_drain, turns, hub, worker)
        if worker is not None:
            worker.start()
        # For servers other than ours, which do not drain: nothing may run on when the pool closes.
        stack.push_async_callback(drain, 0.0)
        yield


async def _operators(stack: AsyncExitStack, settings: Settings, urls: Urls) -> Database | None:
    """What acts for all users: the worker inside, and what operators ask. A server can do without."""
    try:
        return await stack.enter_async_context(operators_database(urls.worker))
    except Misconfigured as error:
        if settings.worker_database_url is not None:
            raise
        log.warning("no_worker_inside", reason=str(error))
        return None


async def _sockets(
    stack: AsyncExitStack, state: State, db: Database, urls: Urls, clock: Callable[[], datetime]
) -> Pushes:
    """What sockets need besides the turns."""
    settings: Settings = state.settings
    state.allowed_origins = frozenset(origin.encode() for origin in settings.allowed_origins)
    state.tickets = Tickets(db, clock)
    state.pushes = pushes = Pushes(db, state.hub, urls.listen, clock)
    stack.push_async_callback(pushes.aclose)
    pushes.start()
    return pushes


def _completed(titles: Titles, sessions: Sessions, pushes: Pushes, running: RunningTurn) -> None:
    """A caller that keeps the conversation itself also names it itself."""
    pushes.quota_taken(running.turn.user_id, running.turn.quota)
    sessions.consider(running.turn)
    if running.request.caller is None:
        titles.consider(running.turn.user_id, running.turn.conversation_id)


async def _drain(turns: Turns, hub: Hub, worker: Background | None, grace: float) -> None:
    """Sockets go when they have nothing more to tell, and at the latest after the last turn."""
    hub.drain()
    await asyncio.gather(turns.drain(grace), *([worker.stop(grace)] if worker is not None else []))
    await hub.aclose()


def verifier(settings: Settings) -> Verifier:
    """Whatever is configured of shared secret and published keys."""
    return Verifier(
        secret=settings.jwt_secret.get_secret_value() if settings.jwt_secret else None,
        keys=JwksKeys(settings.jwks_url) if settings.jwks_url else None,
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
    )
