"""Background tasks: they are kept referenced, closed with a grace period, and a failure that is not awaited is logged.

The event loop keeps weak references only, and Python 3.11 can drop a cancellation: ``asyncio.wait_for`` swallows one
that meets its result. So what is ended here is cancelled again until it has ended.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import structlog

from coach.errors import CoachError

T = TypeVar("T")
_log = structlog.get_logger(__name__)

LAST_CALL = 2.0
"""Seconds that cancelled tasks have to let go of what they hold."""

AGAIN = 1.0
"""Seconds between two cancellations of a task: the first one's rollback must not be cut off by the second."""


class BackgroundTasks:
    """What was begun and is not waited for. ``failure`` is the event that is logged when one of them fails."""

    def __init__(self, failure: str) -> None:
        self._failure = failure
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """How many have not ended."""
        return len(self._tasks)

    def start(
        self, work: Coroutine[Any, Any, T], *, is_awaited: bool = False, **about: str | int | None
    ) -> asyncio.Task[T]:
        """Begin ``work`` now. ``about`` stands in the log beside a failure; never what a user wrote.

        ``is_awaited``: the caller awaits the task and hears of its failure, so that the log need not.
        """
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, is_awaited, about))
        return task

    async def wait(self, seconds: float) -> None:
        """Until those that run now have ended, but no longer than that."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)

    async def aclose(self, grace: float = 0.0) -> None:
        """Wait ``grace`` seconds for what runs, then cut off the rest."""
        if grace > 0:
            await self.wait(grace)
        await end(self._tasks)

    def _ended(self, is_awaited: bool, about: dict[str, str | int | None], task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not is_awaited:
            log_failure(self._failure, error, **about)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, T], failure: str) -> AsyncIterator[asyncio.Task[T]]:
    """``work`` runs while inside and is cut off at the end; a failure of its own is logged as the event ``failure``."""
    tasks = BackgroundTasks(failure)
    try:
        yield tasks.start(work)
    finally:
        await tasks.aclose()


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them and wait until they have ended, at most ``LAST_CALL`` seconds. Their failures are not raised."""
    left = {task for task in tasks if not task.done()}
    loop = asyncio.get_running_loop()
    until = loop.time() + LAST_CALL
    while left and loop.time() < until:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN)


def log_failure(event: str, error: BaseException, **about: str | int | None) -> None:
    """Without the message, which may quote a row: what can be expected in one line, all else with its frames."""
    if isinstance(error, CoachError | TimeoutError):
        _log.warning(event, error=type(error).__name__, **about)
    else:
        frames = traceback.format_tb(error.__traceback__)
        _log.error(event, error=type(error).__name__, frames=frames, **about)
