"""The events of one running turn, for any number of readers, each at its own pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from coach.chat.events import Event, Terminal

SILENCE = 15.0
"""Seconds after which a reader gets an empty batch, so that its client can be sent a ping."""

AT_ONCE = 256
"""Events of one batch."""


class EventLog:
    """Append-only. A late reader gets everything from the first event on. There is no queue for each reader: a slow
    reader costs only its position, and the log forgets a reader that leaves.
    """

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._waiting: set[asyncio.Future[None]] = set()
        self.terminal: Terminal | None = None

    @property
    def ended(self) -> bool:
        return self.terminal is not None

    def publish(self, *events: Event) -> None:
        """Add events; after a terminal one nothing more is taken."""
        for event in events:
            if self.terminal is None:
                self._events.append(event)
                self.terminal = event if isinstance(event, Terminal) else None
        waiting, self._waiting = self._waiting, set()
        for reader in waiting:
            _wake(reader)

    async def read(self, silence: float = SILENCE) -> AsyncGenerator[Sequence[Event], None]:
        """Yield batches of waiting events up to the terminal one, and an empty batch after each ``silence``."""
        position = 0
        while True:
            batch = self._events[position : position + AT_ONCE]
            position += len(batch)
            if batch:
                yield batch
                if position < len(self._events):
                    await asyncio.sleep(0)  # a late reader has much to encode: the others get their turn
            elif self.ended:
                return
            elif not await self._changes(silence):
                yield ()

    async def _changes(self, seconds: float) -> bool:
        """A future and a timer of its own: an event with a time limit around it takes three times as long."""
        loop = asyncio.get_running_loop()
        change = loop.create_future()
        self._waiting.add(change)
        timer = loop.call_later(seconds, _wake, change)
        try:
            await change
        finally:
            timer.cancel()
            was_silent = change in self._waiting
            self._waiting.discard(change)
        return not was_silent


def _wake(reader: asyncio.Future[None]) -> None:
    if not reader.done():
        reader.set_result(None)
