"""Waiting for the first sign of a model that may have to be loaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")

LOADING_AFTER = 3.0
"""Seconds of nothing, after which a model is said to be loading."""


@asynccontextmanager
async def beginning(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """``work`` as a task, for whoever has to say something before it is done. It ends with the block at the latest."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=LOADING_AFTER)
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
