"""The search over what is remembered of one user: by meaning and by words, fused."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from coach.database.pool import Transaction
from coach.database.queries import load
from coach.database.round_trips import Statement
from coach.retrieval.base import Domain, Embedder, Source, Vector, halfvec

_sql = load("retrieval")


class Found(Struct, frozen=True):
    """One row that a search found, and the evidence for it.

    ``similarity`` is its cosine to the question, None without vectors; ``words`` weighs the words that both have by
    their rarity among the user's rows (one rare word is about 3); ``has_all_words`` says that it has all of them.
    """

    domain: Domain
    id: UUID
    title: str
    text: str
    score: float
    similarity: float | None
    words: float
    has_all_words: bool
    updated_at: datetime
    conversation_id: str | None
    message_id: str | None

    @property
    def source(self) -> Source:
        return Source(
            source_id=f"{self.domain}:{self.id}",
            domain=self.domain,
            id=str(self.id),
            title=self.title,
            text=self.text,
            score=self.score,
            updated_at=self.updated_at,
            conversation_id=self.conversation_id,
            message_id=self.message_id,
        )


class Searcher:
    """Finds this user's rows for a question. The statement is ``search_combined_context``; figures in decision 0004."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def search(
        self, tx: Transaction, user_id: UUID, question: str, vector: Vector | None, **narrowed: Any
    ) -> list[Source]:
        """What ``asking`` asks for, best first."""
        found = await self.asking(user_id, question, vector, **narrowed).send(tx)
        return [row.source for row in await found.fetchall()]

    def asking(
        self,
        user_id: UUID,
        question: str,
        vector: Vector | None,
        *,
        limit: int = 10,
        domains: Collection[Domain] | None = None,
        exclude: Collection[UUID] = (),
        model: str | None = None,
        includes_same_question: bool = True,
    ) -> Statement:
        """For the ``limit`` best sources, best first; none where ``record_rag_snippets`` is withdrawn.

        ``vector`` is the question's, of ``model`` or else of this searcher's embedder; without one the words decide
        alone. ``exclude`` names rows of memory to leave out, such as the question itself. Without
        ``includes_same_question`` the same question asked before is left out as well. Its rows are ``Found``.
        """
        readable_question = without_surrogates(question)
        return _sql.combined_context.statement(
            Found,
            user_id=user_id,
            question=readable_question,
            embedding=None if vector is None else halfvec(vector),
            model=model or self._embedder.model,
            domains=None if domains is None else list(domains),
            limit=limit,
            exclude=list(exclude),
            echo=None if includes_same_question else readable_question,
        )


def without_surrogates(text: str) -> str:
    """What PostgreSQL takes as text: without NUL, and without the halves of characters."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()
