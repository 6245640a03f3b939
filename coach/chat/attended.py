"""A reader that keeps a turn alive: when the last of them leaves before the end, the turn is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from coach.chat.events import Event

if TYPE_CHECKING:
    from coach.chat.turns import RunningTurn

ABANDONED_AFTER = 0.6
"""Seconds. The stock SDKs try again 0.38 to 0.5 s after a lost connection, and then find the turn still running."""


class Attended(AsyncGenerator[Sequence[Event], None]):
    """Reads a running turn's log. Counted from its making on: one that is closed unread has left as well."""

    def __init__(self, running: RunningTurn, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._running, self._spawn, self._events = running, spawn, running.log.read()
        self._has_left = False
        running.readers += 1

    async def asend(self, value: None) -> Sequence[Event]:
        return await self._events.asend(value)

    async def athrow(self, *error: Any) -> Sequence[Event]:
        return await self._events.athrow(*error)

    async def aclose(self) -> None:
        if self._has_left:
            return
        self._has_left = True
        self._running.readers -= 1
        await self._events.aclose()
        if not (self._running.readers or self._running.log.ended):
            self._spawn(_abandon(self._running))


async def _abandon(running: RunningTurn) -> None:
    await asyncio.sleep(ABANDONED_AFTER)
    if not running.readers:
        running.stop("disconnected")
