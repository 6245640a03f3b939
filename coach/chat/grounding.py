"""What a turn is answered from: read while the turn opens, cut to what its prompt does not show anyway."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from uuid import UUID

import structlog

from coach.chat.ledger import HISTORY_DEPTH, Opened
from coach.chat.schemas import ChatRequest
from coach.database.pool import Database
from coach.errors import EmbedderUnavailable
from coach.metrics import RETRIEVAL
from coach.retrieval.base import Context, Embedder, Vector
from coach.retrieval.context import Looked, Retriever

_log = structlog.get_logger(__name__)

SOURCES = 8


class Grounding:
    """Looks for a question's context before its turn is open; what opens one takes as long as what is looked up."""

    def __init__(self, db: Database, embedder: Embedder, retriever: Retriever, clock: Callable[[], datetime]) -> None:
        self._db, self._embedder, self._retriever, self._clock = db, embedder, retriever, clock

    async def look(self, user_id: UUID, request: ChatRequest) -> Looked:
        """As many more than are wanted as the client holds messages: those the prompt shows, so they are no sources."""
        vector = await self._embed(request.text)
        limit = SOURCES + min(len(request.known_ids), HISTORY_DEPTH)
        looked = await self._retriever.look(self._db, user_id, request.text, vector, limit=limit, now=self._clock())
        RETRIEVAL.observe(looked.took_ms / 1000)
        return looked

    async def context(self, turn: Opened, looked: Looked) -> Context:
        """Combined context of a turn that has been opened."""
        shown = {turn.question_id, turn.answer_id, *(id_ for id_, _, _ in turn.history)}
        if looked.is_enough(SOURCES, shown):
            return looked.context(SOURCES, shown)
        return await self._again(turn, looked.vector, shown)

    async def _again(self, turn: Opened, vector: Vector | None, shown: Collection[UUID]) -> Context:
        """Of a client that did not tell what it holds: the conversation itself had taken the places."""
        return await self._retriever.combined_context(
            self._db, turn.user_id, turn.text, vector, limit=SOURCES, exclude=shown, now=self._clock()
        )

    async def _embed(self, text: str) -> Vector | None:
        """None where the embedder is away: the turn goes on with text search."""
        try:
            return await self._embedder.embed_query(text)
        except EmbedderUnavailable as error:
            _log.warning("question_not_embedded", error=type(error).__name__)
            return None
