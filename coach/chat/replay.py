"""A turn as its rows tell it: for a repeat, for a reader that comes late, for a reader in another process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from coach.chat.attended import Attendance
from coach.chat.events import ContextRead, Event, Failed, Finished, Interrupted, SourceFound, Started, TextDelta
from coach.chat.ledger import Ledger
from coach.chat.log import SILENCE
from coach.chat.settling import ORPHANED_AFTER, close_orphan
from coach.database.pool import Database
from coach.database.queries import load
from coach.errors import NotFound
from coach.models.base import FinishReason, Usage
from coach.retrieval.base import Receipt, Source

_sql = load("chat")

POLL_SECONDS = 0.25
"""How often a reader looks at a turn that runs in another process."""


class StoredContext(Struct, frozen=True):
    """Receipt and sources, as they stand in ``context_window`` and in a checkpoint."""

    receipt: Receipt = Receipt()
    sources: tuple[Source, ...] = ()
    trigger: str = ""
    problem: tuple[str, str] | None = None

    def plain(self) -> dict[str, object]:
        """As jsonb."""
        return {"receipt": msgspec.to_builtins(self.receipt), "sources": msgspec.to_builtins(self.sources)}


class StoredTurn(Struct, frozen=True):
    """One row of ``stored_turn``."""

    answer_key: str
    conversation_key: str
    question_key: str
    status: str
    finish_reason: str | None
    context_window: dict[str, Any]
    updated_at: datetime
    text: str
    running_context: dict[str, Any] | None
    heartbeat: datetime
    interaction_id: UUID | None
    model: str | None
    details: dict[str, Any] | None
    error: str | None
    input_tokens: int | None
    output_tokens: int | None
    first_token_ms: int | None
    processing_ms: int | None

    @property
    def context(self) -> StoredContext | None:
        """None while a running turn has not read its context yet."""
        if self.status == "streaming":
            return msgspec.convert(self.running_context, StoredContext) if self.running_context else None
        return msgspec.convert(self.context_window, StoredContext)

    def opening(self) -> Started:
        details = self.details or {}
        return Started(
            message_id=self.answer_key,
            conversation_id=self.conversation_key,
            user_message_id=self.question_key,
            interaction_id=str(self.interaction_id or ""),
            model=self.model or "",
            prompt=str(details.get("prompt", "")),
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
                slug, detail = (self.context and self.context.problem) or ("model-unavailable", "No answer came.")
                return Failed(slug, detail)


class Replays:
    """Reads turns from the database."""

    def __init__(self, db: Database, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        self._db, self._ledger, self._clock = db, ledger, clock

    async def follow(
        self, user_id: UUID, answer_id: UUID, attendance: Attendance | None = None
    ) -> AsyncGenerator[Sequence[Event], None]:
        """The turn from its first event; of one that still runs elsewhere what comes, until it has ended.

        An empty batch comes after each ``SILENCE``. Ends a turn itself whose heartbeat has stopped for too long. With
        ``attendance`` this reader keeps it alive.
        """
        if attendance is not None:
            await attendance.follow(user_id, answer_id)
        stored = await self._read(user_id, answer_id)
        yield [stored.opening(), await self._ledger.quota(user_id, self._clock())]
        told_context, told_text, told_at = False, 0, monotonic()
        while True:
            batch: list[Event] = []
            if not told_context and (context := stored.context) is not None:
                told_context = True
                batch += [ContextRead(context.receipt), *map(SourceFound, context.sources)]
            if told_context and len(stored.text) > told_text:
                batch.append(TextDelta(stored.text[told_text:]))
                told_text = len(stored.text)
            ending = stored.ending()
            if ending is not None:
                batch.append(ending)
            if batch or monotonic() - told_at > SILENCE:
                told_at = monotonic()
                yield batch
            if ending is not None:
                return
            await self._wait(user_id, answer_id, stored)
            if attendance is not None:
                await attendance.follow(user_id, answer_id)
            stored = await self._read(user_id, answer_id)

    async def snapshot(self, user_id: UUID, answer_id: UUID) -> list[Event]:
        """The turn as it stands; no terminal event while it runs."""
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
            row = await _sql.stored_turn(tx, user_id=user_id, answer_id=answer_id)
        if row is None:
            raise NotFound("This turn was deleted.")
        return StoredTurn(*row)
