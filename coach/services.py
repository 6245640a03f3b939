"""What a process opens once: one value for the server, the worker, commands, benches and tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from coach.chat.cap import AnswerCap
from coach.chat.prompt import Prompts
from coach.chat.running import RunningTurn
from coach.chat.turns import Turns
from coach.conversations.titles import Titles
from coach.database.opening import Urls, opened
from coach.database.operators import operators_database
from coach.database.pool import Database
from coach.database.schema_files import Schema, read_schema
from coach.errors import Misconfigured, Unavailable
from coach.identity.guards import Authenticator
from coach.identity.jwks import JwksKeys
from coach.identity.rate import RateLimiter
from coach.identity.tokens import Verifier
from coach.identity.users import Accounts
from coach.models.configure import Models
from coach.openai_api.ui_tasks import UiTasks
from coach.realtime.hub import Hub
from coach.realtime.pushes import Pushes
from coach.realtime.tickets import Tickets
from coach.resources import SQL
from coach.retrieval.base import Embedder
from coach.retrieval.context import Retriever
from coach.retrieval.embedders import Embedders, build_embedder
from coach.retrieval.openai import OpenAIEmbedder
from coach.retrieval.wordllama import WordllamaEmbedder
from coach.sessions.sessions import Sessions
from coach.settings import Settings
from coach.values.clock import utc_now

NO_OPERATORS = "This server has no login that may act for all users: set COACH_WORKER_DATABASE_URL."


@dataclass(frozen=True)
class Services:
    """All of them, open. ``operators`` acts for all users; a server can do without, and then it is None.

    ``schema`` is what a database must have applied. ``embedders`` finds the embedder of another model
    than the serving one, while one replaces the other.
    """

    settings: Settings
    clock: Callable[[], datetime]
    urls: Urls
    schema: Schema
    db: Database
    operators: Database | None
    authenticator: Authenticator
    models: Models
    embedder: Embedder
    embedders: Embedders
    retriever: Retriever
    hub: Hub
    pushes: Pushes
    tickets: Tickets
    sessions: Sessions
    turns: Turns
    ui_tasks: UiTasks

    async def warm_up(self) -> None:
        """Make what would keep the first question waiting: the models' clients, the table of word vectors.

        :raises Misconfigured: a model cannot be had.
        """
        self.models.connect()
        if isinstance(self.embedder, WordllamaEmbedder):
            await self.embedder.embed_query("")
        elif isinstance(self.embedder, OpenAIEmbedder):
            await self.embedder.connect()

    def require_operators(self) -> Database:
        """What acts for all users.

        :raises Unavailable: this process has no login that may.
        """
        if self.operators is None:
            raise Unavailable(NO_OPERATORS)
        return self.operators


AllServices = NamedDependency[SkipValidation[Services]]
"""What a handler takes to be given all of them."""


@asynccontextmanager
async def open_services(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = utc_now,
    rate: RateLimiter | None = None,
    needs_operators: bool = False,
) -> AsyncIterator[Services]:
    """Open in the order of need, close in reverse. What costs seconds (models, word vectors) waits for its first use.

    Without ``needs_operators`` a login that may not act for all users is left out, unless a variable sets it.

    :raises Misconfigured: a setting that cannot work. :raises DatabaseUnavailable: no answer.
    """
    async with AsyncExitStack() as stack:
        urls = await stack.enter_async_context(opened(settings))
        db = Database(urls.server, max_size=settings.pool_size)
        await db.open()
        stack.push_async_callback(db.close)
        operators = await _open_operators(stack, settings, urls, needs_operators)
        authenticator = Authenticator(build_verifier(settings), Accounts(db), rate or RateLimiter())
        models, embedder, embedders = Models(settings), build_embedder(settings), Embedders(settings)
        hub = Hub(clock)
        pushes = Pushes(db, hub, urls.listen, clock)
        titles = Titles(db, models.default, clock)
        sessions = Sessions(db, models.default, clock, pushes.push_soon)
        for closed_at_the_end in (authenticator.verifier, models, embedder, embedders, pushes, titles, sessions):
            stack.push_async_callback(closed_at_the_end.aclose)
        pushes.start()
        retriever = Retriever(embedder, embedders)
        stack.push_async_callback(retriever.aclose)
        turns = Turns(
            db,
            models=models,
            embedder=embedder,
            retriever=retriever,
            prompts=Prompts(),
            monthly_limit=settings.monthly_limit,
            at_once=settings.turns_at_once,
            timeout=settings.turn_timeout,
            cap=AnswerCap(settings.answer_max_tokens, settings.answer_max_bytes),
            clock=clock,
            completed=partial(_follow_up, titles, sessions, pushes),
            session_moved=sessions.session_moved,
        )
        yield Services(
            settings=settings,
            clock=clock,
            urls=urls,
            schema=read_schema(SQL),
            db=db,
            operators=operators,
            authenticator=authenticator,
            models=models,
            embedder=embedder,
            embedders=embedders,
            retriever=retriever,
            hub=hub,
            pushes=pushes,
            tickets=Tickets(db, clock),
            sessions=sessions,
            turns=turns,
            ui_tasks=UiTasks(models.default),
        )


async def _open_operators(stack: AsyncExitStack, settings: Settings, urls: Urls, is_needed: bool) -> Database | None:
    try:
        return await stack.enter_async_context(operators_database(urls.worker))
    except Misconfigured:
        if is_needed or settings.worker_database_url is not None:
            raise
        return None


def build_verifier(settings: Settings) -> Verifier:
    """Whatever is configured of shared secret and published keys."""
    return Verifier(
        secret=settings.jwt_secret.get_secret_value() if settings.jwt_secret else None,
        keys=JwksKeys(settings.jwks_url) if settings.jwks_url else None,
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
    )


def _follow_up(titles: Titles, sessions: Sessions, pushes: Pushes, running: RunningTurn) -> None:
    """After a whole answer. A caller that keeps the conversation itself also names it itself."""
    pushes.quota_taken(running.turn.user_id, running.turn.quota)
    sessions.consider(running.turn)
    if running.request.caller is None:
        titles.consider(running.turn.user_id, running.turn.conversation_id)
