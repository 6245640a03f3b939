"""The combined context of a question: the user's rows that bear on it, the live facts, and the receipt."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import UTC, datetime
from uuid import UUID

from coach.database.pool import Database
from coach.retrieval.base import Context, Domain, Embedder, Receipt, Vector
from coach.retrieval.search import Searcher


class Retriever:
    def __init__(self, embedder: Embedder) -> None:
        self._searcher = Searcher(embedder)

    async def combined_context(
        self,
        db: Database,
        user_id: UUID,
        question: str,
        vector: Vector | None,
        *,
        limit: int = 8,
        domains: Collection[Domain] | None = None,
        exclude: Collection[UUID] = (),
        now: datetime | None = None,
    ) -> Context:
        started = time.perf_counter()
        now = now or datetime.now(UTC)
        async with db.as_user(user_id) as tx:
            sources = await self._searcher.search(
                tx, user_id, question, vector, limit=limit, domains=domains, exclude=exclude
            )
        took = round((time.perf_counter() - started) * 1000)
        return Context(
            sources=tuple(sources),
            receipt=Receipt(used=tuple(source.source_id for source in sources), retrieval_ms=took),
        )
