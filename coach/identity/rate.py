"""How fast a user may ask."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

from coach.errors import RateLimited

MAX_REMEMBERED = 50_000


class RateLimiter:
    """A bucket a user, in this process: ``per_minute`` requests on average, ``burst`` of them at once.

    Generous on purpose. It keeps a client in a loop from crowding out others. The quota limits what costs money.
    """

    def __init__(
        self, per_minute: int = 1_200, burst: int = 300, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_minute, self._burst, self._clock = per_minute, burst, clock
        self._buckets: OrderedDict[UUID, tuple[float, float]] = OrderedDict()

    def take(self, user_id: UUID) -> None:
        """Count one request.

        :raises RateLimited: says after how many seconds the next one is granted.
        """
        now, rate = self._clock(), self._per_minute / 60
        left, at = self._buckets.pop(user_id, (float(self._burst), now))
        left = min(float(self._burst), left + (now - at) * rate)
        granted = left >= 1
        self._buckets[user_id] = (left - 1 if granted else left, now)
        if len(self._buckets) > MAX_REMEMBERED:
            self._buckets.popitem(last=False)
        if not granted:
            raise RateLimited(
                (1 - left) / rate,
                f"More than {self._per_minute} requests a minute; slow down a little.",
                per_minute=self._per_minute,
            )
