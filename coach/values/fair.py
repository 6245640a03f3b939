"""Who may pass when not all can: by turns, so that nobody who wants much holds up others who want little."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class FairGate:
    """Lets ``places`` inside at once. Of those who wait it takes one of the ``key`` (a user) that was let in longest
    ago: who wants much waits for all who want little, and nobody for ever."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}
        self._let_in: dict[Hashable, int] = {}
        self._count = 0

    @asynccontextmanager
    async def passing(self, key: Hashable) -> AsyncIterator[None]:
        """Inside from here on; waits for a place first."""
        await self.enter(key)
        try:
            yield
        finally:
            self.leave()

    async def enter(self, key: Hashable, within: float | None = None) -> None:
        """Take a place, to be given up with ``leave``.

        :raises TimeoutError: there was none ``within`` so many seconds.
        """
        if self._free:
            self._free -= 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(place)
        try:
            async with asyncio.timeout(within):
                await place
        except BaseException:
            if place.done() and not place.cancelled():
                self.leave()  # it was given the place in the same moment
            raise

    def leave(self) -> None:
        """Give the place to whoever is next."""
        while self._waiting:
            key = min(self._waiting, key=lambda each: self._let_in.get(each, 0))
            queue = self._waiting[key]
            place = queue.popleft()
            if not queue:
                del self._waiting[key]
            if not place.done():  # who left meanwhile has cancelled it
                self._count += 1
                self._let_in[key] = self._count
                place.set_result(None)
                return
        self._free += 1
        self._let_in.clear()  # nobody waits: all are equal again

    def waiting(self, key: Hashable) -> int:
        """How many of this key wait."""
        return sum(not place.done() for place in self._waiting.get(key, ()))

    def __len__(self) -> int:
        """How many wait."""
        return sum(map(self.waiting, self._waiting))
