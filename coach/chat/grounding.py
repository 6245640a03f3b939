"""What a turn is answered from: read while the turn opens, cut to what its prompt does not show anyway."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from uuid import UUID

from coach.chat.opened import Opened
from coach.chat.opening import HISTORY_DEPTH
from coach.chat.schemas import ChatRequest
from coach.database.pool import Database
from coach.metrics import RETRIEVAL
from coach.retrieval.base import Context
from coach.retrieval.context import Looked, Question, Retriever

SOURCES = 8


class Grounding:
    """Looks for a question's context before its turn is open; what opens one takes as long as what is looked up."""

    def __init__(self, db: Database, retriever: Retriever, clock: Callable[[], datetime]) -> None:
        self._db, self._retriever, self._clock = db, retriever, clock

    async def look(self, user_id: UUID, request: ChatRequest, *, may_embed: bool) -> Looked:
        """As many more than are wanted as the client holds messages: those the prompt shows, so they are no sources."""
        question = await self._retriever.question(request.text, may_embed=may_embed)
        limit = SOURCES + min(len(request.known_ids), HISTORY_DEPTH)
        looked = await self._retriever.look(self._db, user_id, question, limit=limit, now=self._clock())
        RETRIEVAL.observe(looked.took_ms / 1000)
        return looked

    async def context(self, turn: Opened, looked: Looked) -> Context:
        """Combined context of a turn that has been opened."""
        shown = {turn.question_id, turn.answer_id, *(message.id for message in turn.history)}
        if looked.is_enough(SOURCES, shown):
            return looked.context(SOURCES, shown)
        return await self._again(turn, looked.question, shown)

    async def _again(self, turn: Opened, question: Question, shown: Collection[UUID]) -> Context:
        """Of a client that did not tell what it holds: the conversation itself had taken the places."""
        return await self._retriever.combined_context(
            self._db, turn.user_id, question, limit=SOURCES, exclude=shown, now=self._clock()
        )
