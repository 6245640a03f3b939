"""The answer while it comes: its text, its pace, and the checkpoints that survive a killed server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

import structlog
from psycopg.types.json import Jsonb

from coach.chat.ledger import Opened
from coach.database.pool import Database
from coach.database.queries import load
from coach.errors import DatabaseUnavailable
from coach.models.base import Completion, FinishReason, Usage

_sql = load("chat")
_log = structlog.get_logger(__name__)

CHECKPOINT_SECONDS = 0.5
CHECKPOINT_BYTES = 2_048
"""What a killed server may lose."""


class Answer:
    """Text so far. ``completion`` is there once the model has said how it ended; ``began`` is a ``monotonic`` time."""

    def __init__(self, began: float) -> None:
        self._pieces: list[str] = []
        self._began = began
        self._unsaved = 0
        self.ended = False
        self.grown = asyncio.Event()
        self.first_token_ms: int | None = None
        self.completion: Completion | None = None

    def append(self, text: str) -> None:
        if self.first_token_ms is None:
            self.first_token_ms = self.elapsed_ms
        self._pieces.append(text)
        self._unsaved += len(text.encode())
        if self._unsaved >= CHECKPOINT_BYTES:
            self.grown.set()

    @property
    def elapsed_ms(self) -> int:
        """Since the question arrived."""
        return round((monotonic() - self._began) * 1000)

    @property
    def text(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    @property
    def usage(self) -> Usage | None:
        return self.completion.usage if self.completion else None

    @property
    def reason(self) -> FinishReason:
        return self.completion.reason if self.completion else "other"

    def end(self) -> None:
        """Nothing more will come: no further checkpoint is wanted."""
        self.ended = True
        self.grown.set()

    def saved(self) -> str:
        """The text, which the caller is about to write."""
        self._unsaved = 0
        if not self.ended:
            self.grown.clear()
        return self.text


class Checkpoints:
    """Writes an answer's text and a heartbeat while it runs; hears there whether somebody asked it to stop."""

    def __init__(self, db: Database, clock: Callable[[], Any]) -> None:
        self._db, self._clock = db, clock

    @asynccontextmanager
    async def keep(
        self, turn: Opened, answer: Answer, context: Callable[[], dict[str, object] | None], stop: Callable[[], None]
    ) -> AsyncIterator[None]:
        """``context`` gives receipt and sources once they are known; ``stop`` is called when a stop was requested.

        The beat is told to end, not cancelled: the pool's ``wait_for`` drops a cancellation that meets a connection
        (Python 3.11), and a beat that went on held its turn open for minutes, one in some hundred at 50 at once.
        """
        beat = asyncio.create_task(self._beat(turn, answer, context, stop), name=f"checkpoints {turn.answer_id}")
        try:
            yield
        finally:
            answer.end()
            await asyncio.shield(beat)

    async def _beat(
        self, turn: Opened, answer: Answer, context: Callable[[], dict[str, object] | None], stop: Callable[[], None]
    ) -> None:
        told: dict[str, object] | None = None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECKPOINT_SECONDS):
                    await answer.grown.wait()
            if answer.ended:
                return
            fresh = context() if told is None else None
            try:
                stopped = await self._write(turn, answer, fresh)
            except DatabaseUnavailable:
                # The turn goes on: its end is stored with retries, and the next beat tries again.
                _log.warning("checkpoint_failed", turn=str(turn.answer_id))
                continue
            told = told or fresh
            if stopped:
                stop()

    async def _write(self, turn: Opened, answer: Answer, context: dict[str, object] | None) -> bool:
        async with self._db.as_user(turn.user_id) as tx:
            row = await _sql.checkpoint(
                tx,
                user_id=turn.user_id,
                message_id=turn.answer_id,
                content=answer.saved(),
                context=Jsonb(context) if context is not None else None,
                now=self._clock(),
            )
            return row is None or bool(row[0])
