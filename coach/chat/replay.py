"""A turn read from its rows: for a repeat, for a late reader, for a reader in another process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from coach.chat.events import Event, Failed, Finished, Interrupted, Started, TextDelta
from coach.chat.ledger import Ledger
from coach.chat.log import SILENCE
from coach.chat.parts import Part, restore
from coach.chat.readers import TurnReaders
from coach.chat.settling import ORPHANED_AFTER, close_orphan
from coach.database.pool import Database
from coach.database.queries import load
from coach.errors import NotFound
from coach.models.base import FinishReason, Usage

_sql = load("chat")

POLL_SECONDS = 0.25
"""How often a reader looks at a turn that runs in another process."""

REPLAYED_AT_ONCE = 16_384
"""Characters of one batch: a long answer is encoded in steps between which others get their turn."""


class StoredTurn(Struct, frozen=True):
    """One row of ``stored_turn``. ``context`` is None while a running turn has not read its context yet."""

    answer_key: str
    conversation_key: str
    question_key: str
    status: str
    finish_reason: str | None
    context: dict[str, Any] | None
    text: str
    heartbeat: datetime
    interaction_id: UUID | None
    model: str | None
    prompt: str | None
    error: str | None
    input_tokens: int | None
    output_tokens: int | None
    first_token_ms: int | None
    processing_ms: int | None

    def opening(self) -> Started:
        return Started(
            message_id=self.answer_key,
            conversation_id=self.conversation_key,
            user_message_id=self.question_key,
            interaction_id=str(self.interaction_id or ""),
            model=self.model or "",
            prompt=self.prompt or "",
        )

    def ending(self) -> Finished | Interrupted | Failed | None:
        match self.status:
            case "streaming":
                return None
            case "complete":
                usage = Usage(self.input_tokens or 0, self.output_tokens or 0)
                reason = msgspec.convert(self.finish_reason or "other", FinishReason)
                return Finished(reason, usage, self.first_token_ms or 0, self.processing_ms or 0)
            case "interrupted":
                return Interrupted(self.error or "stopped")
            case _:
                return Failed(*problem_of(self.context))


class StoredTurns:
    """Reads turns from the database."""

    def __init__(self, db: Database, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        self._db, self._ledger, self._clock = db, ledger, clock

    async def follow(
        self, user_id: UUID, answer_id: UUID, readers: TurnReaders | None = None
    ) -> AsyncGenerator[Sequence[Event], None]:
        """Yield the turn from its first event. If it runs in another process, follow it to its end.

        An empty batch comes after each ``SILENCE``. Closes an orphan. With ``readers`` this reader keeps it alive.
        """
        if readers is not None:
            await readers.follow(user_id, answer_id)
        stored = await self._read(user_id, answer_id)
        yield [stored.opening(), await self._ledger.quota(user_id, self._clock())]
        told_parts, told_text, told_at = list[Part](), 0, monotonic()
        while True:
            batch: list[Event] = []
            new_parts = [part for part in restore(stored.context) if part not in told_parts]
            told_parts += new_parts
            batch += new_parts
            told = stored.text if stored.context is not None else ""
            for at in range(told_text, len(told), REPLAYED_AT_ONCE):
                yield [*batch, TextDelta(told[at : at + REPLAYED_AT_ONCE])]
                batch, told_at = [], monotonic()
                await asyncio.sleep(0)
            told_text = max(told_text, len(told))
            ending = stored.ending()
            if ending is not None:
                batch.append(ending)
            if batch or monotonic() - told_at > SILENCE:
                told_at = monotonic()
                yield batch
            if ending is not None:
                return
            await self._wait(user_id, answer_id, stored)
            if readers is not None:
                await readers.follow(user_id, answer_id)
            stored = await self._read(user_id, answer_id)

    async def snapshot(self, user_id: UUID, answer_id: UUID) -> list[Event]:
        """The events so far, without a terminal one while the turn runs."""
        stored = await self._read(user_id, answer_id)
        ending = stored.ending()
        said = [TextDelta(stored.text)] if stored.text else []
        return [stored.opening(), *said, *([ending] if ending is not None else [])]

    async def _wait(self, user_id: UUID, answer_id: UUID, stored: StoredTurn) -> None:
        now = self._clock()
        if now - stored.heartbeat > ORPHANED_AFTER and await close_orphan(self._db, user_id, answer_id, now):
            return
        await asyncio.sleep(POLL_SECONDS)

    async def _read(self, user_id: UUID, answer_id: UUID) -> StoredTurn:
        async with self._db.as_user(user_id) as tx:
            stored = await _sql.stored_turn.one(tx, StoredTurn, user_id=user_id, answer_id=answer_id)
        if stored is None:
            raise NotFound("This turn was deleted.")
        return stored


def problem_of(context: Any) -> tuple[str, str]:
    """Slug and detail of a failed turn's problem, from whatever is stored of it."""
    found = context.get("problem") if isinstance(context, dict) else None
    if isinstance(found, list) and len(found) == 2:
        return str(found[0]), str(found[1])
    return "model-unavailable", "No answer came."
