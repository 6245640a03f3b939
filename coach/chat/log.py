"""The events of one running turn, for any number of readers, each at its own pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from coach.chat.events import Event, Terminal


class EventLog:
    """Append-only; a reader that comes late gets everything from the first event on.

    There is no queue a reader: one that is slow costs nothing but its position, and one that leaves is forgotten.
    """

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._changed = asyncio.Event()
        self.ended = False

    def publish(self, *events: Event) -> None:
        """Add events; after a terminal one nothing more is taken."""
        for event in events:
            if not self.ended:
                self._events.append(event)
                self.ended = isinstance(event, Terminal)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def read(self) -> AsyncGenerator[Sequence[Event], None]:
        """Batches of all that wait together, until the terminal event."""
        position = 0
        while True:
            batch = self._events[position:]
            position += len(batch)
            if batch:
                yield batch
            elif self.ended:
                return
            else:
                await self._changed.wait()
