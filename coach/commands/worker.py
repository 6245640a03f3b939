"""``coach worker``: what a server does beside serving, in a process of its own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import cache

import structlog

from coach.database.opening import opened
from coach.database.operators import operators_database
from coach.models.base import ChatModel
from coach.models.configure import build_model
from coach.pipeline.background import background
from coach.retrieval.embedders import build_embedder
from coach.sessions.late import Model
from coach.settings import Settings, load_settings
from coach.telemetry import configure_logging

log = structlog.get_logger(__name__)


def run() -> int:
    """Work until a signal comes; the exit code. A second signal does not wait for what runs."""
    settings = load_settings()
    configure_logging(settings.log_level)
    asyncio.run(_work(settings))
    return 0


async def _work(settings: Settings) -> None:
    told, again = asyncio.Event(), asyncio.Event()

    def tell() -> None:
        (again if told.is_set() else told).set()

    for which in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(which, tell)
    embedder = build_embedder(settings)
    async with (
        opened(settings) as urls,
        operators_database(urls.worker) as db,
        aclosing(embedder),
        _model_when_needed(settings) as model,
    ):
        worker = background(db, urls.listen, embedder, model, settings)
        worker.start()
        await told.wait()
        log.info("draining", grace=settings.drain_grace)
        stopping = asyncio.create_task(worker.stop(settings.drain_grace))
        hurried = asyncio.create_task(again.wait())
        await asyncio.wait([stopping, hurried], return_when=asyncio.FIRST_COMPLETED)
        for task in (stopping, hurried):
            task.cancel()
        await asyncio.wait([stopping, hurried])


@asynccontextmanager
async def _model_when_needed(settings: Settings) -> AsyncIterator[Model]:
    """Few workers ever ask a model, and its import takes seconds: it is made when it is first asked for."""
    async with AsyncExitStack() as stack:

        @cache
        def model() -> ChatModel:
            made = build_model(settings)
            stack.push_async_callback(made.aclose)
            return made

        yield model
