"""A change of model: the new one's vectors fill in beside the old ones, which serve until a user's are complete."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import structlog
from msgspec import Struct

from coach.database.operators import yielding_transaction
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import EmbedderUnavailable
from coach.pipeline.embedding import Outcome, embed
from coach.pipeline.queue import LEASE
from coach.retrieval.base import Embedder, halfvec
from coach.values.clock import utc_now

_sql, _people, _letters = load("reembed"), load("pipeline"), load("operations")
_log = structlog.get_logger(__name__)

FILL = 250
WAIT = timedelta(seconds=1)
"""Pause before a user is looked at again whose missing texts are in the queue."""


class Text(Struct, frozen=True):
    """One text that the serving model has a vector of and the target model has not."""

    id: UUID
    text: str
    is_message: bool
    spoken: str | None = None


class Reembedding:
    """Fills in and switches, one user at a time. The model of the worker that started last is the target of all."""

    def __init__(self, db: Database, embedder: Embedder) -> None:
        self._db, self._embedder = db, embedder
        self._declared = False
        self._stood_aside = False

    async def is_current(self) -> bool:
        """Whether this process's model is the target; at the first call it becomes it."""
        async with self._db.as_operator() as tx:
            if not self._declared:
                if await _sql.declare_target.run(tx, model=self._embedder.model):
                    # This model may accept a text that another model refused.
                    await _letters.retry_dead_letters.run(tx, now=utc_now())
                await _sql.register_all.run(tx)
            target = await _sql.target.value(tx)
        self._declared = True
        if target != self._embedder.model and not self._stood_aside:
            _log.warning("worker_model_is_not_target", model=self._embedder.model, target=target)
        self._stood_aside = target != self._embedder.model
        return not self._stood_aside

    async def step(self) -> bool:
        """Fill in some texts of a user with another serving model, or switch them. False if there is no such user."""
        target, token, now = self._embedder.model, uuid4(), utc_now()
        async with yielding_transaction(self._db) as tx:
            row = await _sql.claim_user.one(tx, tuple, target=target, token=token, now=now, until=now + LEASE)
            if row is None:
                return False
            user_id, serving = row
            await _sql.drop_other_snippets.run(tx, user_id=user_id, serving=serving, target=target)
            await _sql.drop_other_messages.run(tx, user_id=user_id, serving=serving, target=target)
        if serving != target:
            texts = await self._unfilled(user_id, serving)
            if texts:
                await self._fill(user_id, serving, texts)
                await self._leave(user_id, token)
                return True
        await self._switch(user_id)
        return True

    async def _unfilled(self, user_id: UUID, serving: str) -> list[Text]:
        target = self._embedder.model
        async with self._db.as_operator() as tx:
            return await _sql.unfilled.rows(
                tx, Text, user_id=user_id, serving=serving, target=target, even_queued=False, limit=FILL
            )

    async def _fill(self, user_id: UUID, serving: str, texts: list[Text]) -> None:
        """Store beside the serving vectors those whose text is still the same; a refused one is left to the queue."""
        target = self._embedder.model
        outcomes = await embed(
            self._embedder, [f"{text.spoken}: {text.text}" if text.spoken else text.text for text in texts]
        )
        async with yielding_transaction(self._db) as tx:
            # What is queued or stored here, a withdrawal waits for.
            await _people.lock_consents.value(tx, user_id=user_id)
            if await _people.lock_serving_model.value(tx, user_id=user_id, model=serving) != serving:
                return
            for text, outcome in sorted(zip(texts, outcomes, strict=True), key=_in_lock_order):
                if isinstance(outcome, EmbedderUnavailable):
                    await _reject(tx, user_id, text, serving)
                    continue
                fill = _sql.fill_message if text.is_message else _sql.fill_snippet
                await fill.run(
                    tx,
                    user_id=user_id,
                    id=text.id,
                    text=text.text,
                    serving=serving,
                    target=target,
                    embedding=halfvec(outcome),
                )

    async def _leave(self, user_id: UUID, token: UUID) -> None:
        async with self._db.as_operator() as tx:
            await _sql.leave_user.run(tx, user_id=user_id, token=token)

    async def _switch(self, user_id: UUID) -> None:
        """Switch the user if no vector is missing, all or nothing. Every transaction that stores a vector locks this
        row."""
        target = self._embedder.model
        async with yielding_transaction(self._db) as tx:
            serving = await _sql.lock_serving.value(tx, user_id=user_id)
            if serving is None:
                return
            if serving != target:
                if await _sql.unfilled.rows(
                    tx, Text, user_id=user_id, serving=serving, target=target, even_queued=True, limit=1
                ):
                    await _sql.leave_waiting.run(tx, user_id=user_id, until=utc_now() + WAIT)
                    return
                await _sql.switch_messages.run(tx, user_id=user_id, target=target)
                await _sql.drop_refused.run(tx, user_id=user_id, target=target)
            await _sql.drop_other_snippets.run(tx, user_id=user_id, serving=target, target=target)
            await _sql.drop_other_messages.run(tx, user_id=user_id, serving=target, target=target)
            await _sql.drop_target_vectors.run(tx, user_id=user_id, target=target)
            await _sql.serve.run(tx, user_id=user_id, target=target, now=utc_now())


def _in_lock_order(filled: tuple[Text, Outcome]) -> int:
    """Messages, queue, vectors, as sql/migrations/0012_processing.sql has it."""
    text, outcome = filled
    return 1 if isinstance(outcome, EmbedderUnavailable) else 0 if text.is_message else 2


async def _reject(tx: Transaction, user_id: UUID, text: Text, serving: str) -> None:
    if text.is_message:
        await _sql.reject_message.run(tx, user_id=user_id, id=text.id, now=utc_now())
        return
    await _sql.reject_snippet.run(tx, user_id=user_id, id=text.id, serving=serving, now=utc_now())
    await _sql.drop_ownerless_snippet.run(tx, user_id=user_id, id=text.id, serving=serving)
