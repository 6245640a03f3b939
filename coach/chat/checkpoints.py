"""What survives a killed server: the text so far and a heartbeat of every running turn, written twice a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import structlog
from psycopg.types.json import Jsonb

from coach.chat.answer import Answer
from coach.chat.ledger import Opened
from coach.database.pool import Database
from coach.database.queries import load
from coach.database.round_trips import asked
from coach.errors import DatabaseUnavailable

_sql = load("chat")
_log = structlog.get_logger(__name__)

CHECKPOINT_SECONDS = 0.5
CHECKPOINT_BYTES = 2_048
"""What a killed server may lose."""
AT_ONCE = 50
"""Turns in one transaction: a few hundred kB of text."""


class Kept:
    """One running turn, and what of it is written."""

    def __init__(
        self, turn: Opened, answer: Answer, context: Callable[[], dict[str, object] | None], stop: Callable[[], None]
    ) -> None:
        self.turn, self.answer, self.stop = turn, answer, stop
        self._context = context
        self._has_context = False
        self._saved = 0

    @property
    def has_grown(self) -> bool:
        return self.answer.bytes - self._saved >= CHECKPOINT_BYTES

    def fresh_context(self) -> Jsonb | None:
        context = None if self._has_context else self._context()
        return None if context is None else Jsonb(context)

    def written(self, size: int, *, has_context: bool) -> None:
        self._saved, self._has_context = size, self._has_context or has_context


class Checkpoints:
    """Writes all running turns of this process together; hears there whether somebody asked one to stop.

    One task for all: a transaction for each turn took as much time as its whole stream. It is never cancelled: the
    pool's ``wait_for`` drops a cancellation that meets a connection (Python 3.11), and when each turn had a task of its
    own, one in some hundred turns hung on it at 50 at once.
    """

    def __init__(self, db: Database, clock: Callable[[], Any]) -> None:
        self._db, self._clock = db, clock
        self._kept: dict[UUID, Kept] = {}
        self._grown = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def keep(
        self, turn: Opened, answer: Answer, context: Callable[[], dict[str, object] | None], stop: Callable[[], None]
    ) -> AsyncIterator[Kept]:
        """``context`` gives receipt and sources once they are known; ``stop`` is called when a stop was requested."""
        kept = self._kept[turn.answer_id] = Kept(turn, answer, context, stop)
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat(), name="checkpoints")
        try:
            yield kept
        finally:
            del self._kept[turn.answer_id]

    def grew(self, kept: Kept) -> None:
        """Call after each piece: a fast model writes 2 KB before its next half second is over."""
        if kept.has_grown:
            self._grown.set()

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        all_due = loop.time() + CHECKPOINT_SECONDS
        while self._kept:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(all_due):
                    await self._grown.wait()
            self._grown.clear()
            due = list(self._kept.values())
            if loop.time() < all_due:
                due = [kept for kept in due if kept.has_grown]
            else:
                all_due = loop.time() + CHECKPOINT_SECONDS
            for start in range(0, len(due), AT_ONCE):
                try:
                    await self._write(due[start : start + AT_ONCE])
                except DatabaseUnavailable:
                    # The turns go on: an end is stored with retries, and the next beat tries again.
                    _log.warning("checkpoint_failed", turns=len(due) - start)
                    break

    async def _write(self, due: Sequence[Kept]) -> None:
        texts = [kept.answer.text for kept in due]
        sizes = [kept.answer.bytes for kept in due]
        contexts = [kept.fresh_context() for kept in due]
        write = asked(
            _sql.checkpoint,
            user_ids=[kept.turn.user_id for kept in due],
            message_ids=[kept.turn.answer_id for kept in due],
            contents=texts,
            contexts=contexts,
            now=self._clock(),
        )
        ((stopping,),) = await self._db.once_for_several(write)
        for kept, size, context in zip(due, sizes, contexts, strict=True):
            kept.written(size, has_context=context is not None)
            if kept.turn.answer_id in stopping and kept.turn.answer_id in self._kept:
                kept.stop()
