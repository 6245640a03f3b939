"""The search over what is remembered of one user: by meaning and by words, fused."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from coach.database.queries import load
from coach.database.round_trips import Statement
from coach.retrieval.base import Domain, Source, Vector, halfvec
from coach.values.text import storable

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


class Scope(Struct, frozen=True):
    """Which rows a search may find. ``exclude`` names messages to leave out, such as those that the prompt shows.

    A ranking is for somebody who searches: it has the same question asked before, which answers nothing, and what is
    below the relevance gate.
    """

    limit: int = 8
    domains: Collection[Domain] | None = None
    exclude: Collection[UUID] = ()
    is_ranking: bool = False


WIDE = Scope()


def search_statement(user_id: UUID, question: str, vector: Vector | None, model: str, scope: Scope) -> Statement:
    """For the best sources, best first, each a ``Found``; none where ``record_rag_snippets`` is withdrawn.

    ``vector`` is the question's, of ``model``; without one the words decide alone. Figures in decision 0004.
    """
    readable_question = storable(question)
    return _sql.combined_context.statement(
        Found,
        user_id=user_id,
        question=readable_question,
        embedding=None if vector is None else halfvec(vector),
        model=model,
        domains=None if scope.domains is None else list(scope.domains),
        limit=scope.limit,
        exclude=list(scope.exclude),
        echo=None if scope.is_ranking else readable_question,
    )
