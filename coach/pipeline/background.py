"""The worker: embedding, jobs, orphans and the listener are tasks of one process, in a server or alone. If one fails,
it is logged, counted and started again. The others and the server go on.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Protocol

import structlog

from coach.database.wake import WorkListener
from coach.errors import DatabaseUnavailable
from coach.metrics import WORKER_CRASHES
from coach.pipeline.job_runner import JobRunner
from coach.pipeline.jobs import jobs_of
from coach.pipeline.orphans import OrphanCloser
from coach.pipeline.worker import Worker
from coach.services import Services
from coach.values.background import BackgroundTasks

_log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
STEADY = 60.0
"""Seconds after which a part counts as having worked, so that its next fault is its first again."""


class Part(Protocol):
    """Something that runs until it is told to stop."""

    async def run(self) -> None:
        """Work; returns soon after ``stop``, with what was begun finished or given back."""

    def stop(self) -> None: ...


class Background:
    """Keeps parts running. A part that died is created again, after a pause that grows."""

    def __init__(self, wake: WorkListener, makers: Mapping[str, Callable[[], Part]]) -> None:
        self._wake, self._makers = wake, makers
        self._parts: dict[str, Part] = {}
        self._stopping = asyncio.Event()
        self._tasks, self._listening = BackgroundTasks("worker_ended"), BackgroundTasks("listener_ended")

    def start(self) -> None:
        self._listening.start(self._wake.run())
        for name in self._makers:
            self._tasks.start(self._keep(name), part=name)
        _log.info("worker_started", parts=list(self._makers))

    async def stop(self, grace: float) -> None:
        """Begin nothing more, wait ``grace`` seconds for what runs, cut off the rest. A second call does nothing."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        for part in self._parts.values():
            part.stop()
        self._wake.wake()
        await self._tasks.wait(grace)
        _log.info("worker_stopped", cut_off=list(self._parts))
        await self._tasks.aclose()
        await self._listening.aclose()

    async def _keep(self, name: str) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            began = monotonic()
            await self._once(name)
            if monotonic() - began > STEADY:
                pause = FIRST_PAUSE
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _once(self, name: str) -> None:
        try:
            part = self._parts[name] = self._makers[name]()
            await part.run()
        except DatabaseUnavailable as error:
            _log.warning("worker_part_waits", part=name, detail=str(error))
        except Exception as error:  # noqa: BLE001 - whatever broke in it: the server goes on, and so does the next one
            frames = traceback.format_tb(error.__traceback__)
            _log.error("worker_part_died", part=name, error=type(error).__name__, frames=frames)
            WORKER_CRASHES.labels(name).inc()
        finally:
            self._parts.pop(name, None)


def background(services: Services) -> Background:
    """The worker of this process.

    :raises Unavailable: its login may not act for all users.
    """
    operators = services.require_operators()
    wake = WorkListener(services.urls.listen)
    # Make one for the life of the process: each new one would declare its model as the target.
    embedding = Worker(operators, services.embedder, build=services.embedders, wait=wake.wait_for_work)
    makers: Mapping[str, Callable[[], Part]] = {
        "embedding": lambda: embedding,
        "jobs": lambda: JobRunner(operators, jobs_of(services)),
        "orphans": lambda: OrphanCloser(operators),
    }
    return Background(wake, makers)
