"""Checkpoints: the text so far and a heartbeat of every running turn, written twice a second. They survive a killed
server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from uuid import UUID

import structlog
from psycopg.types.json import Jsonb

from coach.chat.parts import store
from coach.chat.running import RunningTurn
from coach.database.pool import Database
from coach.database.queries import load
from coach.errors import DatabaseUnavailable
from coach.values.background import end, log_failure

_sql = load("chat")
_log = structlog.get_logger(__name__)

CHECKPOINT_SECONDS = 0.5
CHECKPOINT_BYTES = 2_048
"""What a killed server may lose."""
CONNECT_WITHIN = 5.0
AT_ONCE = 50
"""Turns in one transaction: a few hundred kB of text."""


class CheckpointState:
    """One running turn, and what of it is written. Of one whose text or parts no row takes, the heartbeat alone."""

    def __init__(self, running: RunningTurn) -> None:
        self.running = running
        self._parts = 0
        self._saved = 0
        self.is_refused = False

    @property
    def has_grown(self) -> bool:
        return self.running.answer.bytes - self._saved >= CHECKPOINT_BYTES

    def new_context(self) -> Jsonb | None:
        """All of its parts, where there are more of them than were written."""
        return Jsonb(store(self.running.parts)) if len(self.running.parts) > self._parts else None

    def written(self, size: int, parts: int) -> None:
        self._saved, self._parts = size, parts


class Checkpoints:
    """Writes the checkpoints of all running turns of this process, and learns from that statement which of them must
    stop.

    One task writes for all turns. A transaction for each turn took as much time as its whole stream. It is never
    cancelled: the pool's ``wait_for`` drops a cancellation that meets a connection (Python 3.11), and when each turn
    had a task of its own, one in some hundred turns hung on it at 50 at once.
    """

    def __init__(self, db: Database, clock: Callable[[], datetime]) -> None:
        self._db, self._clock = db.apart(), clock
        self._is_open = False
        self._kept: dict[UUID, CheckpointState] = {}
        self._grown = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def keep(self, running: RunningTurn) -> AsyncIterator[CheckpointState]:
        """While the turn runs. Stops it where that was requested."""
        answer_id = running.turn.answer_id
        kept = self._kept[answer_id] = CheckpointState(running)
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat(), name="checkpoints")
        try:
            yield kept
        finally:
            del self._kept[answer_id]

    def grew(self, kept: CheckpointState) -> None:
        """Call after each piece: a fast model writes 2 KB within half a second."""
        if kept.has_grown:
            self._grown.set()

    async def aclose(self) -> None:
        """When no turn runs any more."""
        await end([self._beating] if self._beating else [])
        await self._db.close()
        self._is_open = False

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
                    await self._write_all(due[start : start + AT_ONCE])
                except DatabaseUnavailable:
                    # The turns go on. The next beat tries again, and the ending of a turn is stored with retries.
                    _log.warning("checkpoint_failed", turns=len(due) - start)
                    break

    async def _write_all(self, due: Sequence[CheckpointState]) -> None:
        """Where one of them breaks the statement, the others are written, and it keeps its heartbeat."""
        await self._connect()
        try:
            await self._write(due)
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - other turns must not become orphans
            log_failure("checkpoint_refused", error, turns=len(due))
            if len(due) > 1:
                for kept in due:
                    await self._write_all([kept])
            elif not due[0].is_refused:
                due[0].is_refused = True
                await self._write_all(due)

    async def _connect(self) -> None:
        """With a connection apart, so that no heartbeat waits for the turns whose it is."""
        if not self._is_open:
            await self._db.open(wait=CONNECT_WITHIN)
            self._is_open = True

    async def _write(self, due: Sequence[CheckpointState]) -> None:
        turns = [kept.running for kept in due]
        texts = [running.answer.text for running in turns]
        sizes = [running.answer.bytes for running in turns]
        parts = [len(running.parts) for running in turns]
        write = _sql.checkpoint.statement(
            user_ids=[running.user_id for running in turns],
            message_ids=[running.turn.answer_id for running in turns],
            contents=[None if kept.is_refused else text for kept, text in zip(due, texts, strict=True)],
            contexts=[None if kept.is_refused else kept.new_context() for kept in due],
            now=self._clock(),
        )
        (((stopping,),),) = await self._db.once(None, write)
        for kept, size, count in zip(due, sizes, parts, strict=True):
            kept.written(size, count)
            answer_id = kept.running.turn.answer_id
            if answer_id in stopping and answer_id in self._kept:
                kept.running.stop("stopped")
