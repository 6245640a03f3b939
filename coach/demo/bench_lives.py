"""Lives for the turn bench: accounts made and filled in one go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from coach.database.pool import Database
from coach.demo.population import settle
from coach.retrieval.wordllama import WordllamaEmbedder


async def copy_life(db: Database, users: Sequence[UUID], now: datetime) -> list[UUID]:
    """Accounts with these ids, each with a life as of ``now``. ``db`` is an operator's."""
    async with db.as_operator() as tx:
        await tx.cursor().executemany("insert into auth.users (id) values (%s)", [(person,) for person in users])
    await settle(db, WordllamaEmbedder(), users, now.date())
    return list(users)
