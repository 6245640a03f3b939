"""After a turn: both of its messages get their vectors, so that later turns can remember them."""

from __future__ import annotations

from functools import partial
from uuid import UUID

import structlog

from coach.chat.ledger import Opened
from coach.database.pool import Database
from coach.database.queries import load
from coach.errors import DatabaseUnavailable, EmbedderUnavailable
from coach.pipeline.wake import notify_work
from coach.retrieval.base import Embedder, halfvec

_sql = load("chat")
_log = structlog.get_logger(__name__)


class MessageMemory:
    """Embeds messages that are stored already. What cannot be embedded now is left for the worker."""

    def __init__(self, db: Database, embedder: Embedder) -> None:
        self._db, self._embedder = db, embedder

    async def remember(self, turn: Opened, answer: str) -> None:
        """Embed question and answer of a turn that has ended."""
        said = {turn.question_id: turn.text, turn.answer_id: answer}
        try:
            await self._embed(turn.user_id, {id_: text for id_, text in said.items() if text})
        except (EmbedderUnavailable, DatabaseUnavailable) as error:
            _log.warning("messages_left_to_worker", turn=str(turn.answer_id), error=type(error).__name__)

    async def _embed(self, user_id: UUID, texts: dict[UUID, str]) -> None:
        vectors = await self._embedder.embed_documents(list(texts.values()))
        remember = partial(
            _sql.remember_messages,
            user_id=user_id,
            model=self._embedder.model,
            ids=list(texts),
            texts=list(texts.values()),
            vectors=[halfvec(vector) for vector in vectors],
        )
        async with self._db.asking(user_id, remember) as (tx, is_left):
            if is_left:  # their model is being changed: the worker has both, and finds the messages in its queue
                await _sql.hasten_messages(tx, user_id=user_id, ids=list(texts))
                await notify_work(tx)
