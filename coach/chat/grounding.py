"""The context of a turn, read while the turn opens. Messages that the prompt shows anyway are left out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from coach.chat.opened import Opened
from coach.chat.opening import HISTORY_DEPTH
from coach.chat.schemas import ChatRequest
from coach.database.pool import Database
from coach.metrics import RETRIEVAL
from coach.retrieval.base import Context
from coach.retrieval.context import Retrieved, Retriever
from coach.retrieval.search import Scope
from coach.values.fair import FairGate

SOURCES = 8

AT_ONCE = 3
"""Retrievals of a process: of 400 turns at once each would otherwise take as long as all of them."""


class Grounding:
    """Reads a question's context while its turn opens. Both take about as long."""

    def __init__(self, db: Database, retriever: Retriever, clock: Callable[[], datetime]) -> None:
        self._db, self._retriever, self._clock = db, retriever, clock
        self._gate = FairGate(AT_ONCE)

    async def retrieve(self, user_id: UUID, request: ChatRequest, *, may_embed: bool) -> Retrieved:
        """Ask for as many more sources as the client holds messages. The prompt shows those messages, so they are no
        sources."""
        question = await self._retriever.question(request.text, may_embed=may_embed)
        scope = Scope(SOURCES + min(len(request.known_ids), HISTORY_DEPTH))
        async with self._gate.passing(user_id):
            retrieved = await self._retriever.retrieve(self._db, user_id, question, scope, self._clock())
        RETRIEVAL.observe(retrieved.took_ms / 1000)
        return retrieved

    async def context(self, turn: Opened, retrieved: Retrieved) -> Context:
        """Combined context of a turn that has been opened."""
        shown = {turn.question_id, turn.answer_id, *(message.id for message in turn.history)}
        if retrieved.is_enough(SOURCES, shown):
            return retrieved.context(SOURCES, shown)
        # The client did not say which messages it holds: the conversation's own took the places of the sources.
        scope = Scope(SOURCES, exclude=shown)
        return await self._retriever.combined_context(self._db, turn.user_id, retrieved.question, scope, self._clock())
