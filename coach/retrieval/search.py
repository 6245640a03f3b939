"""The search over what is remembered of one user: by meaning and by words, fused."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from coach.database.pool import Transaction
from coach.database.queries import load
from coach.retrieval.base import Domain, Embedder, Source, Vector, halfvec

_sql = load("retrieval")


class Searcher:
    """Finds this user's rows for a question. The statement is ``search_combined_context``; figures in decision 0004."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def search(
        self,
        tx: Transaction,
        user_id: UUID,
        question: str,
        vector: Vector | None,
        *,
        limit: int = 10,
        domains: Collection[Domain] | None = None,
        exclude: Collection[UUID] = (),
        model: str | None = None,
    ) -> list[Source]:
        """The ``limit`` best sources, best first; none where ``record_rag_snippets`` is withdrawn.

        ``vector`` is the question's, of ``model`` or else of this searcher's embedder; without one the words decide
        alone. ``exclude`` names rows of memory to leave out, such as the question itself.
        """
        rows = _sql.combined_context(
            tx,
            user_id=user_id,
            question=readable(question),
            embedding=None if vector is None else halfvec(vector),
            model=model or self._embedder.model,
            domains=None if domains is None else list(domains),
            limit=limit,
            exclude=list(exclude),
        )
        return [
            Source(
                source_id=f"{domain}:{id_}",
                domain=domain,
                id=str(id_),
                title=title,
                text=text,
                score=score,
                updated_at=updated_at,
                conversation_id=conversation,
                message_id=message,
            )
            async for domain, id_, title, text, score, updated_at, conversation, message in rows
        ]


def readable(text: str) -> str:
    """What PostgreSQL takes as text: without NUL, and without the halves of characters."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()
