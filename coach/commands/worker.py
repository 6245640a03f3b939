"""``coach worker``: what a server does beside serving, in a process of its own."""

from __future__ import annotations

import asyncio
import signal

import structlog

from coach.pipeline.background import background
from coach.services import open_services
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
    async with open_services(settings, needs_operators=True) as services:
        worker = background(services)
        worker.start()
        await told.wait()
        log.info("draining", grace=settings.drain_grace)
        stopping = asyncio.create_task(worker.stop(settings.drain_grace))
        hurried = asyncio.create_task(again.wait())
        await asyncio.wait([stopping, hurried], return_when=asyncio.FIRST_COMPLETED)
        for task in (stopping, hurried):
            task.cancel()
        await asyncio.wait([stopping, hurried])
