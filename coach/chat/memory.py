"""Embeds both messages of an ended turn, so that later turns can retrieve them."""

from __future__ import annotations

import structlog

from coach.chat.opened import Opened
from coach.database.pool import Database
from coach.database.queries import load
from coach.database.wake import notify_work
from coach.errors import DatabaseUnavailable, EmbedderUnavailable
from coach.retrieval.base import Embedder, halfvec

_sql = load("chat")
_log = structlog.get_logger(__name__)


class MessageMemory:
    """Embeds stored messages. The worker embeds what cannot be embedded now."""

    def __init__(self, db: Database, embedder: Embedder) -> None:
        self._db, self._embedder = db, embedder

    async def remember(self, turn: Opened, answer: str) -> None:
        """Embed question and answer of a turn that has ended."""
        try:
            await self._embed(turn, answer)
        except (EmbedderUnavailable, DatabaseUnavailable) as error:
            _log.warning("messages_left_to_worker", turn=str(turn.answer_id), error=type(error).__name__)

    async def _embed(self, turn: Opened, answer: str) -> None:
        question, *answered = await self._embedder.embed_documents([turn.text, answer] if answer else [turn.text])
        remembered = _sql.remember_messages.statement(
            user_id=turn.user_id,
            model=self._embedder.model,
            question_id=turn.question_id,
            question=turn.text,
            question_vector=halfvec(question),
            answer_id=turn.answer_id,
            answer=answer,
            answer_vector=halfvec(answered[0]) if answered else None,
        )
        (((is_left,),),) = await self._db.once(turn.user_id, remembered)
        if is_left:  # the user's model is being changed: the worker has both models and finds the messages in its queue
            async with self._db.as_user(turn.user_id) as tx:
                await load("memory").make_messages_due.run(
                    tx, user_id=turn.user_id, ids=[turn.question_id, turn.answer_id], now=turn.started
                )
                await notify_work(tx)
