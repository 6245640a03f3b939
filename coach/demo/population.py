"""Many users with lives, for load tests: the same story with other names, times and measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from uuid import UUID

import numpy as np

from coach.database.pool import Database
from coach.demo.generate import generate
from coach.demo.load import load
from coach.identity.users import ensure_user
from coach.retrieval.base import DIMENSIONS, Embedder, Vector

HISTORY_DAYS = 28
"""A year of metrics is 1.06 MB of JSON a user, stored in 115 kB; four weeks are 82 kB in 13, and enough."""

Progress = Callable[[int, int], None]


class Recalling:
    """An embedder that embeds each text once, since users of one story share most of its texts.

    It keeps them all: the story in its eight casts has 2,180 texts, whose vectors take 13 MB.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[str, Vector] = {}

    @property
    def model(self) -> str:
        return self._embedder.model

    async def embed_query(self, text: str) -> Vector:
        vector: Vector = (await self.embed_documents([text]))[0]
        return vector

    async def embed_documents(self, texts: Sequence[str]) -> Vector:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, await self._embedder.embed_documents(new), strict=True))
        vectors: Vector = np.empty((len(texts), DIMENSIONS), np.float32)
        for row, text in enumerate(texts):
            vectors[row] = self._known[text]
        return vectors

    async def aclose(self) -> None:
        await self._embedder.aclose()


def name_of(number: int) -> str:
    return f"demo-{number:04}"


async def populate(
    db: Database,
    embedder: Embedder,
    count: int,
    today: date,
    timezone: str = "Europe/Berlin",
    *,
    progress: Progress = lambda done, of: None,
) -> list[UUID]:
    """See to it that ``demo-0001`` and so on exist and have a life; those who have one keep it.

    ``db`` is an operator's. ``progress`` hears how many are done, of how many.
    """
    users = []
    async with db.as_operator() as tx:
        for number in range(1, count + 1):
            users.append(await ensure_user(tx, name_of(number)))  # noqa: PERF401 - one after the other on one connection
    await settle(db, embedder, users, today, timezone, progress=progress)
    return users


async def settle(
    db: Database,
    embedder: Embedder,
    users: Sequence[UUID],
    today: date,
    timezone: str = "Europe/Berlin",
    *,
    progress: Progress = lambda done, of: None,
) -> None:
    """Give each account a life, the first one seed 1; those who have one keep it."""
    recalling = Recalling(embedder)
    for seed, user_id in enumerate(users, 1):
        await load(db, recalling, user_id, generate(seed, today, timezone, history_days=HISTORY_DAYS))
        progress(seed, len(users))
