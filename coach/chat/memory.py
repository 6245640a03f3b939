"""After a turn: both of its messages get their vectors, so that later turns can remember them."""

from __future__ import annotations

from uuid import UUID

import structlog

from coach.chat.ledger import Opened
from coach.database.pool import Database
from coach.database.queries import load
from coach.errors import DatabaseUnavailable, EmbedderUnavailable
from coach.retrieval.base import Embedder, halfvec

_sql = load("chat")
_log = structlog.get_logger(__name__)


class MessageMemory:
    """Embeds messages that are stored already. What cannot be embedded now is left for the worker."""

    def __init__(self, db: Database, embedder: Embedder) -> None:
        self._db, self._embedder = db, embedder

    async def remember(self, turn: Opened) -> None:
        """Embed question and answer of a turn that has ended; nothing of an incognito one."""
        if turn.incognito:
            return
        try:
            await self._embed(turn.user_id, [turn.question_id, turn.answer_id])
        except (EmbedderUnavailable, DatabaseUnavailable) as error:
            _log.warning("messages_left_to_worker", turn=str(turn.answer_id), error=type(error).__name__)

    async def _embed(self, user_id: UUID, ids: list[UUID]) -> None:
        async with self._db.as_user(user_id) as tx:
            consent = await _sql.consents_to_memory(tx, user_id=user_id)
            if consent is not None and not consent[0]:
                return
            rows = [row async for row in _sql.messages_without_vector(tx, user_id=user_id, ids=ids)]
        if not rows:
            return
        vectors = await self._embedder.embed_documents([text for _, text in rows])
        async with self._db.as_user(user_id) as tx:
            # Asked again, and held: a consent withdrawn while the embedder worked lets no vector in.
            consent = await _sql.consents_to_memory(tx, user_id=user_id)
            if consent is not None and not consent[0]:
                return
            for (id_, text), vector in zip(rows, vectors, strict=True):
                await _sql.store_vector(
                    tx,
                    user_id=user_id,
                    id=id_,
                    content=text,
                    embedding=halfvec(vector),
                    model=self._embedder.model,
                )
